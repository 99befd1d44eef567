package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// snapshots is for stores that are a Snapshotter as well.
func snapshots(f *fixture) {
	store, ok := f.Store.(auth.Snapshotter)
	if !ok {
		f.Skip("the store has no Snapshot")
	}
	soon := f.clock.Now().Add(time.Hour)
	want := map[string]auth.Write{}
	for i := range 25 {
		w := auth.Write{Key: fmt.Sprintf("user/%d", i), Value: []byte(fmt.Sprint("value ", i))}
		if i%2 == 1 {
			w.Expires, w.Owner = soon, uint64(i)
		}
		want[w.Key] = w
		f.put(w)
	}
	f.put(auth.Write{Key: "hidden", Value: []byte("no"), Unlisted: true}, write("gone", "no"), auth.Write{Key: "short", Value: []byte("no"), Expires: f.clock.Now().Add(time.Second)})
	f.swap(f.holds("gone", "no"), auth.Write{Key: "gone"})
	f.clock.advance(time.Second)

	seen := map[string]bool{}
	err := store.Snapshot(f.Context(), func(w auth.Write) error {
		if len(seen) == 0 { // what is written meanwhile is of another moment
			f.put(write("user/0", "later"), write("user/9", "later"), write("late", "later"))
		}
		is := want[w.Key]
		if seen[w.Key] || string(w.Value) != string(is.Value) || w.Expires.UnixMilli() != is.Expires.UnixMilli() || w.Owner != is.Owner {
			f.Errorf("%q: got %q until %v of %d, want %q until %v of %d, once", w.Key, w.Value, w.Expires, w.Owner, is.Value, is.Expires, is.Owner)
		}
		seen[w.Key] = true
		return nil
	})
	if err != nil || len(seen) != len(want) {
		f.Errorf("saw %d records, want %d: %v", len(seen), len(want), err)
	}
	stop := errors.New("enough")
	calls := 0
	err = store.Snapshot(f.Context(), func(auth.Write) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		f.Errorf("after an error it went on for %d records: %v", calls, err)
	}
	if err := store.Snapshot(cancelledContext(), func(auth.Write) error { return nil }); err == nil {
		f.Error("a cancelled context was taken")
	}
}
