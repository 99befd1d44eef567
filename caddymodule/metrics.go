package caddymodule

import (
	"context"
	"errors"
	"slices"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/metrics"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
	"github.com/sidegate/sidegate/caddymodule/internal/token"
)

// meters count for the process, over all its configurations. Each registers
// them with its own registry.
var meters = metrics.New(metrics.Sources{Live: liveCounts, Tokens: tokenCounts, Ready: storesReady})

// tokenUses is shared by the keys of all configurations.
var tokenUses token.Uses

func tokenCounts() (busy, cached, read uint64) {
	t := tokenUses.Totals()
	return t.Busy, t.Cached, t.Read
}

func openEngines() (open []*engine) {
	engines.Range(func(_, value any) bool {
		if e := value.(*lease).engine; !slices.Contains(open, e) { // one that moves has two
			open = append(open, e)
		}
		return true
	})
	return open
}

func liveCounts() (sum auth.Counts) {
	for _, e := range openEngines() {
		c := e.live.Counts()
		sum.Sessions += c.Sessions
		sum.Streams += c.Streams
		sum.Touches += c.Touches
		sum.Written += c.Written
	}
	return sum
}

var errNoStore = errors.New("no store is open")

// storesReady is nil when every store that is in use takes writes.
func storesReady(ctx context.Context) error {
	open := openEngines()
	if len(open) == 0 {
		return errNoStore
	}
	for _, e := range open {
		if err := e.health.Check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tried counts an attempt of the queue.
func tried(a sender.Attempt) {
	meters.Attempt(a.Sender, a.Channel, a.Country, string(a.Outcome), a.Took)
}
