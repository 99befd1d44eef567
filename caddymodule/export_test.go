package caddymodule

import (
	"context"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// WatchesUnverified tells whether codes of a country that are not brought back
// are watched, with a sender for each of free.
func WatchesUnverified(l Limits, free ...bool) bool {
	a := &App{Limits: l}
	for _, f := range free {
		a.senders = append(a.senders, costly(!f))
	}
	limits, err := l.Rules()
	l.standFor(&limits, a.allFree())
	return err == nil && len(limits.CountryUnverified) > 0
}

// costly is a sender whose messages cost something, or not.
type costly bool

func (costly) Name() string                             { return "test" }
func (costly) Send(context.Context, auth.Message) error { return nil }
func (c costly) Free() bool                             { return !bool(c) }

// Engine tells which open store is at an address, nil for none, and how many
// configurations hold it.
func Engine(address string) (engine any, holders int) {
	engines.Range(func(key, value any) bool {
		if key == address {
			engine = value
		}
		return engine == nil
	})
	holders, _ = engines.References(address)
	return engine, holders
}

// CookieOf is what the cookie of a session in its first generation holds.
func CookieOf(a *App, id auth.SessionID) string {
	return a.running.Load().engine.vault.Ticket(auth.Ticket{Kind: auth.CookieTicket, SessionID: id, Generation: 1})
}
