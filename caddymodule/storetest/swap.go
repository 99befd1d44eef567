package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func swapVersions(f *fixture) {
	v1 := f.swap(0, write("k", "1"))
	if got := f.holds("k", "1"); got != v1 {
		f.Errorf("get shows version %d, swap returned %d", got, v1)
	}
	f.conflict(0, write("k", "x"))
	f.conflict(v1+1, write("k", "x"))
	v2 := f.swap(v1, write("k", "2"))
	f.conflict(v1, write("k", "x"))
	f.conflict(v1, auth.Write{Key: "k"})
	f.conflict(0, auth.Write{Key: "k"})
	if got := f.holds("k", "2"); got != v2 {
		f.Errorf("get shows version %d, swap returned %d", got, v2)
	}
	f.swap(v2, auth.Write{Key: "k"})
	f.missing("k")
	f.conflict(v2, write("k", "x"))
	f.conflict(v2, write("never there", "x"))
	// Two answers to one question are equal.
	f.swap(0, write("k", "3"))
	if a, b := f.get("k").Version, f.get("k").Version; a != b {
		f.Errorf("an untouched record has versions %d and %d", a, b)
	}
}

func deleteMissing(f *fixture) {
	f.swap(0, auth.Write{Key: "k"})
	f.conflict(7, auth.Write{Key: "k"})
	v := f.swap(0, write("k", "1"))
	f.swap(v, auth.Write{Key: "k"})
	f.swap(0, auth.Write{Key: "k"})
	f.put(auth.Write{Key: "k"})
	f.put(auth.Write{Key: "other"})
	f.missing("k")
}

func versionsAreNew(f *fixture) {
	seen := map[auth.Version]bool{}
	note := func(v auth.Version) {
		f.Helper()
		if seen[v] {
			f.Fatalf("version %d came back", v)
		}
		seen[v] = true
	}
	for range 50 {
		v := f.swap(0, write("k", "same"))
		note(v)
		v = f.swap(v, write("k", "same"))
		note(v)
		f.put(write("k", "same"))
		v = f.get("k").Version
		note(v)
		f.swap(v, auth.Write{Key: "k"})
		f.put(auth.Write{Key: "k", Value: []byte("same"), Expires: f.clock.Now().Add(ms)})
		note(f.get("k").Version)
		f.clock.advance(ms)
	}
}

func oneCreator(f *fixture) {
	var won atomic.Int32
	parallel(64, func(i int) {
		_, err := f.Swap(f.Context(), 0, write("k", strconv.Itoa(i)))
		switch {
		case err == nil:
			won.Add(1)
		case !errors.Is(err, auth.ErrConflict):
			f.Errorf("swap: %v", err)
		}
	})
	if won.Load() != 1 {
		f.Errorf("%d of 64 created the record", won.Load())
	}
}

func countedIncrements(f *fixture) {
	const workers, each = 64, 5
	parallel(workers, func(int) {
		for range each {
			if err := increment(f.Context(), f.Store, "n"); err != nil {
				f.Error(err)
				return
			}
		}
	})
	f.holds("n", strconv.Itoa(workers*each))
}

// increment adds one to a counter, trying again after a conflict.
func increment(ctx context.Context, s auth.Store, key string) error {
	for {
		records, err := s.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("get: %w", err)
		}
		n, _ := strconv.Atoi(string(records[0].Value))
		v, err := s.Swap(ctx, records[0].Version, write(key, strconv.Itoa(n+1)))
		if err == nil && v == records[0].Version {
			return fmt.Errorf("swap returned the old version %d", v)
		}
		if !errors.Is(err, auth.ErrConflict) {
			return err
		}
	}
}

func apart(f *fixture) {
	parallel(32, func(i int) {
		key, v := fmt.Sprintf("key/%d", i), auth.Version(0)
		for n := range 8 {
			next, err := f.Swap(f.Context(), v, write(key, strconv.Itoa(n)))
			if err != nil {
				f.Errorf("%s: %v", key, err)
				return
			}
			v = next
		}
	})
	for i := range 32 {
		f.holds(fmt.Sprintf("key/%d", i), "7")
	}
}

func parallel(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}
