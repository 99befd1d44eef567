// Package memstore is an auth.Store in memory. It forgets everything when the
// process ends, so it is for tests and trials.
package memstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Limits of the contract. Refusing here what an engine refuses lets a test
// find it.
const (
	maxKey   = 512
	maxValue = 64 << 10
	maxOwner = 1<<63 - 1
)

// Store keeps records in a map. It is safe for concurrent use.
type Store struct {
	now func() time.Time

	mu      sync.Mutex
	records map[string]record
	erased  map[uint64]time.Time // owners who were, and until when nothing is written of them
	version auth.Version
	prune   int // size of the map at which expired records are looked for
}

type record struct {
	value    []byte
	version  auth.Version
	expires  int64 // Unix milliseconds; 0: never
	owner    uint64
	unlisted bool
}

const firstPrune = 1024

// New makes an empty store whose time is now.
func New(now func() time.Time) *Store {
	return &Store{now: now, records: map[string]record{}, erased: map[uint64]time.Time{}, prune: firstPrune}
}

// Get implements auth.Store.
func (s *Store) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	if err := given(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]auth.Record, len(keys))
	for i, key := range keys {
		if r, ok := s.live(key); ok {
			out[i] = auth.Record{Value: clone(r.value), Version: r.version}
		}
	}
	return out, nil
}

// Swap implements auth.Store.
func (s *Store) Swap(ctx context.Context, expected auth.Version, w auth.Write) (auth.Version, error) {
	if err := given(ctx, w); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, _ := s.live(w.Key); r.version != expected {
		return 0, auth.ErrConflict
	}
	return s.write(w), nil
}

// Put implements auth.Store.
func (s *Store) Put(ctx context.Context, writes []auth.Write) error {
	if err := given(ctx, writes...); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range writes {
		s.write(w)
	}
	return nil
}

// Sync implements auth.Store. Memory survives nothing; there is nothing to do.
func (s *Store) Sync(ctx context.Context) error { return given(ctx) }

// List implements auth.Lister, in the order of the keys' bytes.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) (out []auth.Listed, err error) {
	if err := given(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.records)) {
		if r, ok := s.live(key); ok && !r.unlisted && strings.HasPrefix(key, prefix) && key > after && len(out) < limit {
			out = append(out, auth.Listed{Key: key, Record: auth.Record{Value: clone(r.value), Version: r.version}})
		}
	}
	return out, nil
}

// Snapshot implements auth.Snapshotter.
func (s *Store) Snapshot(ctx context.Context, visit func(auth.Write) error) error {
	for _, w := range s.all() {
		if err := given(ctx); err != nil {
			return err
		}
		if err := visit(w); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) all() (all []auth.Write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.records)) {
		if r, ok := s.live(key); ok && !r.unlisted {
			all = append(all, r.write(key))
		}
	}
	return all
}

// Erase implements auth.Eraser. Nothing that is deleted lies anywhere still.
func (s *Store) Erase(ctx context.Context, owner uint64, until time.Time) error {
	if err := given(ctx); err != nil {
		return err
	}
	if owner == 0 {
		return fmt.Errorf("%w: records of nobody cannot be erased", auth.ErrUnavailable)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.records, func(_ string, r record) bool { return r.owner == owner })
	maps.DeleteFunc(s.erased, func(_ uint64, until time.Time) bool { return !s.now().Before(until) })
	s.erased[owner] = until
	return nil
}

// live returns the record of a key, and the zero record when there is none.
func (s *Store) live(key string) (record, bool) {
	r, ok := s.records[key]
	if !ok || s.expired(r) {
		return record{}, false
	}
	return r, true
}

func (s *Store) expired(r record) bool { return r.expires != 0 && s.now().UnixMilli() >= r.expires }

func (s *Store) write(w auth.Write) auth.Version {
	if w.Value == nil || s.now().Before(s.erased[w.Owner]) {
		delete(s.records, w.Key)
		return 0
	}
	s.forget()
	s.version++
	r := record{value: clone(w.Value), version: s.version, owner: w.Owner, unlisted: w.Unlisted}
	if !w.Expires.IsZero() {
		r.expires = max(1, w.Expires.UnixMilli()) // 0 would mean never
	}
	s.records[w.Key] = r
	return r.version
}

// forget drops expired records whenever the map has doubled, so each write
// pays a constant share.
func (s *Store) forget() {
	if len(s.records) < s.prune {
		return
	}
	for key, r := range s.records {
		if s.expired(r) {
			delete(s.records, key)
		}
	}
	s.prune = max(firstPrune, 2*len(s.records))
}

// given refuses what no store takes.
func given(ctx context.Context, writes ...auth.Write) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
	}
	for _, w := range writes {
		if len(w.Key) > maxKey || len(w.Value) > maxValue || w.Owner > maxOwner {
			return fmt.Errorf("%w: key of %d bytes, value of %d bytes or owner %d is too large", auth.ErrUnavailable, len(w.Key), len(w.Value), w.Owner)
		}
	}
	return nil
}

// clone copies; an empty value stays one that is not nil.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

var (
	_ auth.Store       = (*Store)(nil)
	_ auth.Lister      = (*Store)(nil)
	_ auth.Snapshotter = (*Store)(nil)
	_ auth.Eraser      = (*Store)(nil)
)
