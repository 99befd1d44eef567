package move_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/move"
)

// crowd writes to a mirror all the time, by many goroutines, and knows what must
// be there.
type crowd struct {
	mirror *move.Mirror
	keys   int // that are counted on, by all; the fewer, the more conflicts
	over   atomic.Bool
	calls  atomic.Int64
	faults atomic.Pointer[error]

	mu     sync.Mutex
	counts map[string]int    // how often a counter was raised, as answers told
	last   map[string]string // what a key of one writer was set to; empty: deleted
}

func (c *crowd) failed(err error) {
	if err != nil {
		c.faults.Store(&err)
	}
}

// raise adds one to a counter, as the domain changes its records.
func (c *crowd) raise(ctx context.Context, key string) {
	for {
		records, err := c.mirror.Get(ctx, key)
		if err != nil {
			c.failed(err)
			return
		}
		n, _ := strconv.Atoi(string(records[0].Value))
		_, err = c.mirror.Swap(ctx, records[0].Version, auth.Write{Key: key, Value: strconv.AppendInt(nil, int64(n+1), 10)})
		if errors.Is(err, auth.ErrConflict) {
			continue
		}
		c.failed(err)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.counts[key]++
		return
	}
}

// set puts some keys of one writer, or deletes them.
func (c *crowd) set(ctx context.Context, writer int, draw *rand.Rand) {
	var writes []auth.Write
	for i := range 1 + draw.IntN(5) {
		w := auth.Write{Key: fmt.Sprintf("touch/%d/%d", writer, draw.IntN(10)*5+i)}
		if draw.IntN(3) > 0 {
			w.Value = strconv.AppendUint(nil, draw.Uint64(), 36)
		}
		if draw.IntN(2) > 0 {
			w.Expires = time.Now().Add(time.Hour)
		}
		writes = append(writes, w)
	}
	c.failed(c.mirror.Put(ctx, writes))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range writes {
		c.last[w.Key] = string(w.Value)
	}
}

func (c *crowd) write(ctx context.Context, writer int, draw *rand.Rand) {
	for !c.over.Load() {
		if draw.IntN(2) > 0 {
			c.raise(ctx, fmt.Sprint("session/", draw.IntN(c.keys)))
		} else {
			c.set(ctx, writer, draw)
		}
		c.calls.Add(1)
	}
}

// wait lets the crowd do something.
func (c *crowd) wait(calls int64) {
	for until := c.calls.Load() + calls; c.calls.Load() < until && c.faults.Load() == nil; {
		time.Sleep(100 * time.Microsecond)
	}
}

// Whatever many writers do while a store is moved, handed over and taken back:
// every answered write counts, in both stores.
func TestAnyMoveKeepsAllWrites(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		writers, keys := rapid.IntRange(1, 6).Draw(rt, "writers"), rapid.IntRange(1, 40).Draw(rt, "keys")
		records, turns := rapid.IntRange(0, 2000).Draw(rt, "records"), rapid.IntRange(0, 4).Draw(rt, "turns")
		seed := rapid.Uint64().Draw(rt, "seed")
		c := newTrial(t)
		fillStore(t, c.mirror, records)
		for i := range records { // counters begin anew
			if err := c.mirror.Put(t.Context(), []auth.Write{{Key: fmt.Sprint("session/", i), Value: []byte("0")}}); err != nil {
				rt.Fatal(err)
			}
		}
		all := &crowd{mirror: c.mirror, keys: keys, counts: map[string]int{}, last: map[string]string{}}
		var writing sync.WaitGroup
		for i := range writers {
			writing.Go(func() { all.write(t.Context(), i, rand.New(rand.NewPCG(seed, uint64(i)))) })
		}
		all.wait(20)
		c.begin()
		c.reach(move.InStep)
		for i := range turns {
			all.wait(20)
			turn := c.move.HandOver
			if i%2 == 1 {
				turn = c.move.TakeBack
			}
			if err := turn(t.Context()); err != nil {
				rt.Fatalf("turn %d: %v", i, err)
			}
		}
		all.wait(20)
		all.over.Store(true)
		writing.Wait()
		c.compare(rt, all)
		c.end()
	})
}

// compare wants both stores to hold what was answered, and nothing else.
func (c *trial) compare(rt *rapid.T, want *crowd) {
	if fault := want.faults.Load(); fault != nil {
		rt.Fatalf("a write failed: %v", *fault)
	}
	if a, b := all(rt, c.source), all(rt, c.target); !maps.Equal(a, b) {
		rt.Fatalf("the stores differ:\n%v\n%v", a, b)
	}
	for key, n := range want.counts {
		c.equal(rt, key, strconv.Itoa(n))
	}
	for key, value := range want.last {
		c.equal(rt, key, value)
	}
}

func (c *trial) equal(rt *rapid.T, key, want string) {
	records, err := c.mirror.Get(c.Context(), key)
	if err != nil || string(records[0].Value) != want {
		rt.Fatalf("%s: got %q, want %q: %v", key, records[0].Value, want, err)
	}
}
