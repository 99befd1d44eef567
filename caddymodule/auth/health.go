package auth

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Health says whether a store takes writes. Reading is not enough: a disk that
// is full, or a replica that only reads, still answers Get, while nobody can
// sign in. So it writes a record of its own, but seldom: a balancer that asks
// every second must not wear a disk out, and neither must a stranger.
//
// It belongs to a store and outlives a configuration. It is safe for concurrent
// use.
type Health struct {
	Store Store
	Now   func() time.Time

	mu     sync.Mutex
	good   time.Time     // when a write last succeeded
	err    error         // of the last probe
	flight chan struct{} // closed when the probe that is under way has ended; nil: none is
}

// healthyFor is how long one write proves that the next one would work. A
// failure proves nothing for the future and is not kept.
const healthyFor = 5 * time.Second

// Check returns nil when the store takes writes, and otherwise what keeps it
// from that. All who ask at the same time wait for one probe.
func (h *Health) Check(ctx context.Context) error {
	h.mu.Lock()
	if age := h.Now().Sub(h.good); age >= 0 && age < healthyFor {
		h.mu.Unlock()
		return nil
	}
	if h.flight == nil {
		h.flight = make(chan struct{})
		go h.probe(context.WithoutCancel(ctx)) // the others wait for it too
	}
	flight := h.flight
	h.mu.Unlock()
	select {
	case <-flight:
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// sign is the record that the probe writes.
type sign struct {
	At time.Time `json:"at"`
}

// probe reads and writes as a sign-in does. It ends by the store's own bounds,
// or by that of lasting.
func (h *Health) probe(ctx context.Context) {
	ctx, cancel := lasting(ctx)
	defer cancel()
	now := h.Now()
	_, err := update(ctx, h.Store, "health", func(v *sign, _ bool) (Write, error) {
		v.At = now.UTC()
		return Write{Expires: now.Add(time.Minute)}, nil
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err = err; err == nil {
		h.good = now
	}
	close(h.flight)
	h.flight = nil
}
