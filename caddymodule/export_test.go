package caddymodule

import (
	"context"
	"testing"

	"github.com/caddyserver/caddy/v2"

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
			engine = value.(*lease).engine
		}
		return engine == nil
	})
	holders, _ = engines.References(address)
	return engine, holders
}

// Overhear has the configuration in use tell the test of what happens too.
func Overhear(t *testing.T, tell func(auth.Event)) {
	t.Helper()
	app, err := caddy.ActiveContext().AppIfConfigured("sidegate")
	if err != nil {
		t.Fatal(err)
	}
	service := app.(*App).running.Load().service
	others := service.Tell
	service.Tell = func(e auth.Event) {
		tell(e)
		if others != nil {
			others(e)
		}
	}
}

// HeraldRoom is how many events may wait for their handlers.
const HeraldRoom = heraldRoom

// Meters are the metrics of the process.
var Meters = meters

// Span begins a span in the trace of the context.
var Span = span

// CookieOf is what the cookie of a session in its first generation holds.
func CookieOf(a *App, id auth.SessionID) string {
	return a.running.Load().engine.vault.Ticket(auth.Ticket{Kind: auth.CookieTicket, SessionID: id, Generation: 1})
}
