package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/move"
)

// lease is an engine under one of its addresses: that of the store it has opened
// and, once its records were taken to another store, of that one too. So two
// configurations, the one from before and the one from after, have one engine
// between them.
type lease struct {
	engine  *engine
	address string
}

func (e *engine) lease(address string) *lease {
	e.moving.Lock()
	defer e.moving.Unlock()
	e.leases[address] = true
	return &lease{e, address}
}

// Destruct is called when no configuration uses the address any more.
func (l *lease) Destruct() error {
	e := l.engine
	e.moving.Lock()
	delete(e.leases, l.address)
	last := len(e.leases) == 0
	e.moving.Unlock()
	if last {
		return e.shut()
	}
	return e.leave(l.address)
}

// destinations are the addresses that records are on their way to.
var destinations struct {
	mu      sync.Mutex
	engines map[string]*engine
}

func (e *engine) expect(address string) {
	destinations.mu.Lock()
	defer destinations.mu.Unlock()
	if destinations.engines == nil {
		destinations.engines = map[string]*engine{}
	}
	destinations.engines[address] = e
}

func forgetDestination(address string) {
	destinations.mu.Lock()
	defer destinations.mu.Unlock()
	delete(destinations.engines, address)
}

// arrived finds the engine whose records were taken to an address, and has it go
// on there. It is nil when none was.
func arrived(ctx context.Context, address string, source masterSource) (*engine, error) {
	destinations.mu.Lock()
	e := destinations.engines[address]
	destinations.mu.Unlock()
	if e == nil {
		return nil, nil
	}
	if err := e.sameKey(ctx, source); err != nil {
		return nil, err
	}
	return e, e.handOver(ctx, address)
}

// handOver has the new store answer from now on.
func (e *engine) handOver(ctx context.Context, address string) error {
	e.moving.Lock()
	defer e.moving.Unlock()
	t := e.transfer
	if t == nil || t.to.address != address {
		return errors.New("the move to this store is over; begin it anew")
	}
	if t.Phase() == move.Moved {
		return nil
	}
	if t.Phase() != move.InStep {
		return fmt.Errorf("the records are not moved to this store yet (%s); wait for in_step: caddy sidegate migrate status", t.Phase())
	}
	follower, _ := t.to.store.(auth.Follower)
	back := func() {}
	if follower != nil { // before the first answer that another node could change
		var err error
		if back, err = e.live.Turn(ctx, follower); err != nil {
			return err
		}
	}
	if err := t.HandOver(ctx); err != nil {
		back()
		return err
	}
	if follower == nil {
		back, _ = e.live.Turn(ctx, nil) // nobody is followed, so nothing fails
	}
	t.back = back
	e.log.Info("the records are in their new store", "from", t.from.place, "to", t.to.place)
	e.tell(auth.Event{Name: auth.EventStoreMoved, Before: t.from.place, After: t.to.place})
	return nil
}

// leave is for the end of one of two configurations.
func (e *engine) leave(address string) error {
	e.moving.Lock()
	defer e.moving.Unlock()
	t := e.transfer
	if t == nil || t.Phase() != move.Moved {
		return nil
	}
	if address == t.from.address {
		e.home = t.to
		return t.finish()
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	if err := t.TakeBack(ctx); err != nil {
		e.log.Error("the records stay in their new store, which the configuration in use does not name; put it there", "store", t.to.place, "error", err)
		return nil
	}
	t.back()
	e.log.Warn("the new configuration did not start, so the records are where they were", "store", t.from.place)
	return nil
}

// tell tells an event to whom the newest configuration tells its own.
func (e *engine) tell(event auth.Event) {
	if s := e.newest(); s != nil {
		s.As("").Tell(event)
	}
}
