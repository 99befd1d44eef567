package caddymodule

import (
	"context"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// These are the doors that the gate knocks at. They open the store when a
// request comes before Start.

// Authenticate implements gate.Sessions.
func (a *App) Authenticate(ctx context.Context, p auth.Proof, use auth.Use) (auth.Identity, error) {
	rt, err := a.runtime()
	if err != nil {
		return auth.Identity{}, err
	}
	return rt.service.Authenticate(ctx, p, use)
}

// AuthenticateCookie implements gate.Sessions.
func (a *App) AuthenticateCookie(ctx context.Context, value string, use auth.Use, rotate bool) (auth.Identity, string, time.Duration, error) {
	rt, err := a.runtime()
	if err != nil {
		return auth.Identity{}, "", 0, err
	}
	return rt.service.AuthenticateCookie(ctx, value, use, rotate)
}

// Board implements gate.Sessions. What boards has been authenticated, so the
// store is open.
func (a *App) Board(f *auth.Flight, id auth.SessionID, c auth.Cutter) {
	a.running.Load().engine.live.Board(f, id, c)
}

// Active implements gate.Sessions.
func (a *App) Active(id auth.SessionID, at time.Time) { a.running.Load().engine.live.Active(id, at) }

// Verify implements gate.Tokens.
func (a *App) Verify(text string) (auth.Proof, error) {
	rt, err := a.runtime()
	if err != nil {
		return auth.Proof{}, err
	}
	return rt.tokens.Verify(text)
}

// IsOurs implements gate.Tokens. Without keys every token may be ours.
func (a *App) IsOurs(text string) bool {
	rt, err := a.runtime()
	return err != nil || rt.tokens.IsOurs(text)
}
