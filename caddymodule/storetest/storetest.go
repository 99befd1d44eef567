// Package storetest holds every auth.Store to its contract. An engine's test
// calls Run; what Run does not check, the domain must not rely on.
package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Run checks the stores that open makes against the contract of auth.Store.
// open gives a fresh, empty store whose time is now; it closes the store with
// t.Cleanup.
func Run(t *testing.T, open func(t *testing.T, now func() time.Time) auth.Store) {
	for _, c := range []struct {
		name string
		test func(*fixture)
	}{
		{"get answers in the order of the keys", getInOrder},
		{"a value may be empty, large or binary", values},
		{"keys differ in every byte", keys},
		{"too large a key or value is refused", tooLarge},
		{"slices are not shared with the caller", aliasing},
		{"a cancelled context is refused", cancelled},
		{"sync without and with writes", syncs},
		{"swap writes under the expected version only", swapVersions},
		{"deleting what is not there is no error", deleteMissing},
		{"a version never comes back", versionsAreNew},
		{"of many creators one wins", oneCreator},
		{"of many swappers every increment counts", countedIncrements},
		{"swaps of different keys do not disturb each other", apart},
		{"put writes whatever the version", putIsBlind},
		{"put takes thousands of writes", putLarge},
		{"put and swap see each other", putAgainstSwap},
		{"a record ends at the very millisecond", expiryInstant},
		{"an expired record does not exist for swap", swapOverExpired},
		{"a write sets the expiry anew", expiryMoves},
		{"a record can be written that has expired already", writtenExpired},
		{"list walks what begins with a prefix", lists},
		{"a snapshot is of one moment", snapshots},
		{"a record that is unlisted is found by its key alone", unlisted},
		{"what an erased owner had does not exist", erasedIsMissing},
		{"what is written of an erased owner is lost until then", erasedLeavesNothing},
		{"owners come by the thousands", manyOwners},
		{"an erasure among writes leaves nothing", eraseAmongWrites},
		{"walk shows all records as the writes that make them", walks},
		{"any sequence of operations behaves like a map", model},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := newClock()
			c.test(&fixture{T: t, Store: open(t, clock.Now), clock: clock, open: open})
		})
	}
}

// fixture is one test's store, with calls that must succeed.
type fixture struct {
	*testing.T
	auth.Store
	clock *clock
	open  func(*testing.T, func() time.Time) auth.Store
}

func (f *fixture) get(key string) auth.Record {
	f.Helper()
	return f.getAll(key)[0]
}

func (f *fixture) getAll(keys ...string) []auth.Record {
	f.Helper()
	records, err := f.Get(f.Context(), keys...)
	if err != nil {
		f.Fatalf("get: %v", err)
	}
	if len(records) != len(keys) {
		f.Fatalf("get of %d keys: %d records", len(keys), len(records))
	}
	return records
}

func (f *fixture) swap(expected auth.Version, w auth.Write) auth.Version {
	f.Helper()
	v, err := f.Swap(f.Context(), expected, w)
	if err != nil {
		f.Fatalf("swap: %v", err)
	}
	if w.Value != nil && v == 0 {
		f.Fatal("swap returned version 0 for a record that exists")
	}
	return v
}

func (f *fixture) conflict(expected auth.Version, w auth.Write) {
	f.Helper()
	if _, err := f.Swap(f.Context(), expected, w); !errors.Is(err, auth.ErrConflict) {
		f.Errorf("swap with expected %d: got %v, want a conflict", expected, err)
	}
}

func (f *fixture) put(writes ...auth.Write) {
	f.Helper()
	if err := f.Put(f.Context(), writes); err != nil {
		f.Fatalf("put: %v", err)
	}
}

func (f *fixture) missing(key string) {
	f.Helper()
	if r := f.get(key); r.Version != 0 || r.Value != nil {
		f.Errorf("%q: got version %d and %d bytes, want the zero record", key, r.Version, len(r.Value))
	}
}

func (f *fixture) holds(key, value string) auth.Version {
	f.Helper()
	r := f.get(key)
	if r.Version == 0 || string(r.Value) != value {
		f.Errorf("%q: got %.40q at version %d, want %.40q", key, r.Value, r.Version, value)
	}
	return r.Version
}

func write(key, value string) auth.Write { return auth.Write{Key: key, Value: []byte(value)} }

// clock is a time that the test moves, forward only. It starts at the real
// time, because an engine may collect its garbage by a clock of its own.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().Truncate(time.Millisecond)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func cancelledContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
