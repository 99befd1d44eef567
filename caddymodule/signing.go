package caddymodule

import (
	"context"
	"log/slog"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/admin"
	"github.com/sidegate/sidegate/caddymodule/internal/token"
)

// headStart is how long a new signing key is known before it signs; 0 is the
// default of package token. Tests cannot wait so long.
var headStart time.Duration

// begin keeps the signing keys until end: another node may rotate them, or it
// is time to.
func (rt *runtime) begin(log *slog.Logger) {
	ctx, stop := context.WithCancel(context.Background())
	rt.stop = stop
	rotated := func(before []token.Info) {
		log.Info("there is a new signing key, as the schedule wants")
		rt.service.As("schedule").Tell(auth.Event{Name: auth.EventKeysRotated, Cause: "schedule", Before: shown(before), After: rt.keys()})
	}
	rt.keepers.Go(func() {
		rt.tokens.Keep(ctx, rotated, func(err error) { log.Error("the signing keys stay as they were", "error", err) })
	})
}

func (rt *runtime) end() {
	rt.stop()
	rt.keepers.Wait()
}

func (rt *runtime) keys() []admin.Key { return shown(rt.tokens.List()) }

// shown is how operators see signing keys.
func shown(list []token.Info) []admin.Key {
	keys := make([]admin.Key, len(list))
	for i, k := range list {
		keys[i] = admin.Key(k)
	}
	return keys
}
