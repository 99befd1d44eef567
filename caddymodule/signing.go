package caddymodule

import (
	"context"
	"log/slog"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// headStart is how long a new signing key is known before it signs; 0 is the
// default of package token. Tests cannot wait so long.
var headStart time.Duration

// begin keeps the signing keys until end: another node may rotate them, or it
// is time to.
func (rt *runtime) begin(log *slog.Logger) {
	ctx, stop := context.WithCancel(context.Background())
	rt.stop = stop
	before := rt.keys()
	rotated := func() {
		log.Info("there is a new signing key, as the schedule wants")
		now := rt.keys()
		rt.service.As("schedule").Tell(auth.Event{Name: auth.EventKeysRotated, Cause: "schedule", Before: before, After: now})
		before = now
	}
	rt.keepers.Go(func() {
		rt.tokens.Keep(ctx, rotated, func(err error) { log.Error("the signing keys stay as they were", "error", err) })
	})
}

func (rt *runtime) end() {
	rt.stop()
	rt.keepers.Wait()
}
