package redisstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const (
	// beat is how often a server proves that it is heard.
	beat = 400 * time.Millisecond
	// trust is how long a proof is good: below the 2 s of the contract, above a
	// beat and the patience for a slow one.
	trust = 1900 * time.Millisecond
)

// follower hears of the changes at all servers that take writes.
//
// Each is followed over a connection of its own, on which the server announces
// every change of a tracked key (RESP3, CLIENT TRACKING in broadcasting mode).
// A connection that is only silent proves nothing, so each beat writes a key of
// ours and waits for its announcement: it comes behind all earlier ones.
type follower struct {
	store    *Store
	prefixes []string
	listener auth.Listener
	began    time.Time
	first    chan error // the first trust, or why there will be none

	mu      sync.Mutex
	proofs  map[string]proof
	faults  map[string]error // of servers that are not heard
	trusted time.Time
	deaf    bool // and the log knows
}

// proof is what a server has shown: by this instant it held these slots, and
// all changes before were heard.
type proof struct {
	at    time.Time
	spans []span
}

// Follow implements auth.Follower.
func (s *Store) Follow(ctx context.Context, prefixes []string, l auth.Listener) error {
	f := &follower{
		store: s, prefixes: append(slices.Clone(prefixes), ownerPrefix, slotPrefix), listener: attentive{l, &s.known},
		began: time.Now(), first: make(chan error, 1),
		proofs: map[string]proof{}, faults: map[string]error{},
	}
	s.follow.Go(func() { f.run(s.ended) })
	select {
	case err := <-f.first:
		return err
	case <-ctx.Done():
		return unavailable("hearing of other nodes", errors.Join(append(f.reasons(), ctx.Err())...))
	}
}

// run follows the servers that there are, until the store is closed.
func (f *follower) run(ctx context.Context) {
	var followed sync.WaitGroup
	defer followed.Wait()
	stops := map[string]context.CancelFunc{}
	for ctx.Err() == nil {
		nodes := f.store.client.Nodes()
		for address, node := range nodes {
			if stops[address] == nil {
				var one context.Context
				one, stops[address] = context.WithCancel(ctx)
				followed.Go(func() { f.keep(one, address, node) })
			}
		}
		for address, stop := range stops {
			if nodes[address] == nil {
				stop()
				delete(stops, address)
				f.forget(address)
			}
		}
		f.watch()
		pause(ctx, beat/2)
	}
	for _, stop := range stops {
		stop()
	}
}

// keep follows one server, again and again.
func (f *follower) keep(ctx context.Context, address string, node rueidis.Client) {
	for ctx.Err() == nil {
		f.fault(address, f.hear(ctx, address, node))
		pause(ctx, beat/2)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// prove notes what a server has shown. Trust reaches as far as the oldest proof
// among those that the slots need.
func (f *follower) prove(address string, p proof) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.proofs[address] = p
	var known coverage
	for _, p := range f.proofs {
		known.add(p.spans, int64(p.at.Sub(f.began))+1)
	}
	least := known.least()
	until := f.began.Add(time.Duration(least) + trust)
	if least == 0 || !until.After(f.trusted) {
		return
	}
	f.trusted = until
	f.listener.TrustUntil(until)
	f.begin(nil)
	if f.deaf && time.Now().Before(until) {
		f.deaf = false
		f.store.opt.Log.Info("other nodes are heard again")
	}
}

// begin answers Follow, once.
func (f *follower) begin(err error) {
	select {
	case f.first <- err:
	default:
	}
}

// fault keeps why a server is not heard; nil when it is.
func (f *follower) fault(address string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults[address] = err; err == nil {
		delete(f.faults, address)
	}
}

func (f *follower) forget(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.proofs, address)
	delete(f.faults, address)
}

// watch tells the log when trust is over.
func (f *follower) watch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.deaf || f.trusted.IsZero() || time.Now().Before(f.trusted) {
		return
	}
	f.deaf = true
	f.store.opt.Log.Error("Redis cannot be heard: who is signed in gets 503 until it can", "error", errors.Join(f.why()...))
}

func (f *follower) reasons() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why()
}

func (f *follower) why() (all []error) {
	for address, err := range maps.All(f.faults) {
		all = append(all, fmt.Errorf("%s: %w", address, err))
	}
	return all
}

var _ auth.Follower = (*Store)(nil)
