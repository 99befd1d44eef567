package badgerstore

import (
	"context"
	"sync"
)

// group lets everyone who needs a sync share one: a round serves all who joined
// before it began. So 64 callers pay for one sync, not for 64.
type group struct {
	sync func() error

	mu     sync.Mutex
	next   *round // who joins now waits for this one
	closed bool
	wake   chan struct{}
	ended  chan struct{}
}

type round struct {
	done chan struct{}
	err  error
}

func newGroup(sync func() error) *group {
	g := &group{sync: sync, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go g.serve()
	return g
}

// join waits for a round that begins after the call.
func (g *group) join() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return errClosed
	}
	if g.next == nil {
		g.next = &round{done: make(chan struct{})}
		g.wake <- struct{}{} // never blocks: serve took the last one with its round
	}
	r := g.next
	g.mu.Unlock()
	<-r.done
	return r.err
}

func (g *group) serve() {
	defer close(g.ended)
	for range g.wake {
		g.mu.Lock()
		r := g.next
		g.next = nil
		g.mu.Unlock()
		r.err = guard(g.sync)
		close(r.done)
	}
}

// close serves who has joined, refuses the rest, and waits.
func (g *group) close() {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		close(g.wake)
	}
	g.mu.Unlock()
	<-g.ended
}

// Sync implements auth.Store.
func (s *Store) Sync(ctx context.Context) error {
	_, err := run(ctx, &s.calls, func() (struct{}, error) { return struct{}{}, s.durable() })
	return err
}

// durable returns when every commit that has ended is on the disk. It is free
// when there was none since the last sync.
func (s *Store) durable() error {
	if s.begun.Load() == s.clean.Load() {
		return nil
	}
	return s.group.join()
}

// sync is one round of the group.
func (s *Store) sync() error {
	ended := s.ended.Load() // first: equal to begun only if none was running
	begun, reached := s.begun.Load(), s.reached.Load()
	if err := s.wal.sync(); err != nil {
		return err
	}
	if err := s.progress.note(reached); err != nil {
		s.opt.Log.Warn("keeping the store", "error", err) // its answers are as safe as they were
	}
	if ended == begun {
		s.clean.Store(begun)
	}
	return nil
}
