// Package move takes the records of a store to another one while both the store
// and those who use it go on. Everybody works with a Mirror; while a Move is
// under way it repeats in the second store what it writes to the first. So the
// copy of what was there before, which takes its time, misses nothing, and the
// change of stores is one moment between two writes.
package move

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Mirror is the auth.Store that everybody works with. It is as good as the store
// behind it, which can change. It is safe for concurrent use.
type Mirror struct {
	first atomic.Pointer[side] // the one that answers

	// gate is held for reading by every write, and for writing by whoever changes
	// where writes go: so no write is half done at that moment.
	gate sync.RWMutex
	move *Move // nil: nothing is moved
	pair *pair // nil: writes go to the first store alone
}

// NewMirror makes a mirror before a store.
func NewMirror(store auth.Store) *Mirror {
	m := new(Mirror)
	m.first.Store(&side{Store: store})
	return m
}

// Store is the one that answers now.
func (m *Mirror) Store() auth.Store { return m.first.Load().Store }

// Get implements auth.Store.
func (m *Mirror) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	first := m.first.Load()
	records, err := first.Get(ctx, keys...)
	for i := range records {
		records[i].Version = first.shown(records[i].Version)
	}
	return records, err
}

// Swap implements auth.Store.
func (m *Mirror) Swap(ctx context.Context, expected auth.Version, w auth.Write) (v auth.Version, err error) {
	m.gate.RLock()
	defer m.gate.RUnlock()
	first := m.first.Load()
	if m.pair != nil {
		v, err = m.pair.swap(ctx, first.kept(expected), w)
	} else {
		v, err = first.Swap(ctx, first.kept(expected), w)
	}
	return first.shown(v), err
}

// Put implements auth.Store.
func (m *Mirror) Put(ctx context.Context, writes []auth.Write) error {
	m.gate.RLock()
	defer m.gate.RUnlock()
	if m.pair != nil {
		return m.pair.put(ctx, writes)
	}
	return m.first.Load().Put(ctx, writes)
}

// Erase implements auth.Eraser, where the store is one.
func (m *Mirror) Erase(ctx context.Context, owner uint64, until time.Time) error {
	m.gate.RLock()
	defer m.gate.RUnlock()
	first := m.first.Load()
	if m.pair != nil {
		return m.pair.erase(ctx, owner, until)
	}
	return first.erase(ctx, owner, until)
}

// Sync implements auth.Store.
func (m *Mirror) Sync(ctx context.Context) error { return m.first.Load().Sync(ctx) }

// List implements auth.Lister, where the store is one.
func (m *Mirror) List(ctx context.Context, prefix, after string, limit int) ([]auth.Listed, error) {
	first := m.first.Load()
	lister, ok := first.Store.(auth.Lister)
	if !ok {
		return nil, auth.ErrCannotList
	}
	list, err := lister.List(ctx, prefix, after, limit)
	for i := range list {
		list[i].Version = first.shown(list[i].Version)
	}
	return list, err
}

// Snapshot implements auth.Snapshotter, where the store is one.
func (m *Mirror) Snapshot(ctx context.Context, visit func(auth.Write) error) error {
	snapshotter, ok := m.Store().(auth.Snapshotter)
	if !ok {
		return fmt.Errorf("%w: this store cannot show one moment of all its records", auth.ErrUnavailable)
	}
	return snapshotter.Snapshot(ctx, visit)
}

// side is one of the two stores of a move.
type side struct {
	auth.Store
	mask auth.Version // 0: versions are shown as they are
}

func (s *side) erase(ctx context.Context, owner uint64, until time.Time) error {
	eraser, ok := s.Store.(auth.Eraser)
	if !ok {
		return auth.ErrCannotErase
	}
	return eraser.Erase(ctx, owner, until)
}

// shown and kept translate versions. The one that a reader has from the first
// store must not happen to be right in the second: there it names another state
// of the record, or none.
func (s *side) shown(v auth.Version) auth.Version {
	if v == 0 || v == s.mask {
		return v // 0 is no record, so the version that would become 0 keeps its place
	}
	return v ^ s.mask
}

func (s *side) kept(v auth.Version) auth.Version { return s.shown(v) }

var (
	_ auth.Store       = (*Mirror)(nil)
	_ auth.Lister      = (*Mirror)(nil)
	_ auth.Snapshotter = (*Mirror)(nil)
	_ auth.Eraser      = (*Mirror)(nil)
)
