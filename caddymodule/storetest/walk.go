package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// walks is for stores that are a Walker as well.
func walks(f *fixture) {
	store, ok := f.Store.(auth.Walker)
	if !ok {
		f.Skip("the store has no Walk")
	}
	soon := f.clock.Now().Add(time.Hour)
	want := map[string]auth.Write{}
	for i := range 2500 { // more than a page of any engine
		w := auth.Write{Key: fmt.Sprintf("user/%d", i), Value: []byte(fmt.Sprint("value ", i)), Owner: uint64(i % 5)}
		if i%2 == 1 {
			w.Expires = soon
		}
		want[w.Key] = w
		f.put(w)
	}
	empty := auth.Write{Key: "empty", Value: []byte{}}
	want["empty"] = empty
	f.put(empty, write("gone", "no"), auth.Write{Key: "short", Value: []byte("no"), Expires: f.clock.Now().Add(time.Second)})
	f.swap(f.holds("gone", "no"), auth.Write{Key: "gone"})
	hidden := auth.Write{Key: "challenge/1", Value: []byte("hidden"), Expires: soon, Unlisted: true}
	f.put(hidden)
	if eraser, ok := f.Store.(auth.Eraser); ok {
		f.put(of(99, "user/erased", "no"), auth.Write{Key: "challenge/2", Value: []byte("no"), Owner: 99, Unlisted: true})
		if err := eraser.Erase(f.Context(), 99, f.clock.Now()); err != nil {
			f.Fatal(err)
		}
	}
	f.clock.advance(time.Second)

	seen := map[string]bool{}
	err := store.Walk(f.Context(), func(w auth.Write) error {
		if len(seen) == 0 { // what is written meanwhile may be seen or not
			f.put(write("late", "late"))
		}
		if w.Key != "late" {
			same(f, "walk", w, want[w.Key])
			seen[w.Key] = true
		}
		return nil
	})
	if err != nil || len(seen) != len(want) {
		f.Errorf("saw %d records, want %d: %v", len(seen), len(want), err)
	}
	fetched, err := store.Fetch(f.Context(), "user/3", "gone", "empty", "short", "user/4", "challenge/1", "challenge/2", "user/erased")
	if err != nil || len(fetched) != 8 {
		f.Fatalf("fetched %d records: %v", len(fetched), err)
	}
	for i, w := range []auth.Write{want["user/3"], {Key: "gone"}, empty, {Key: "short"}, want["user/4"], hidden, {Key: "challenge/2"}, {Key: "user/erased"}} {
		same(f, "fetch", fetched[i], w)
	}
	if n, err := store.Estimate(f.Context()); n < 0 || err != nil {
		f.Errorf("about %d records: %v", n, err)
	}
	walkEnds(f, store)
	if err := store.Clear(f.Context(), "empty"); err != nil {
		f.Fatal(err)
	}
	f.missing("challenge/1")
	f.missing("user/4")
	f.holds("empty", "")
	f.swap(0, of(3, "user/4", "again"))
	f.holds("user/4", "again")
}

func same(f *fixture, what string, got, want auth.Write) {
	f.Helper()
	if got.Key != want.Key || got.Owner != want.Owner || got.Unlisted != want.Unlisted || string(got.Value) != string(want.Value) || (got.Value == nil) != (want.Value == nil) ||
		got.Expires.IsZero() != want.Expires.IsZero() || !got.Expires.IsZero() && got.Expires.UnixMilli() != want.Expires.UnixMilli() {
		f.Errorf("%s %q: got %q until %v, want %q until %v", what, want.Key, got.Value, got.Expires, want.Value, want.Expires)
	}
}

// walkEnds wants a walk to end when whoever asked wants it to.
func walkEnds(f *fixture, store auth.Walker) {
	f.Helper()
	stop := errors.New("enough")
	calls := 0
	err := store.Walk(f.Context(), func(auth.Write) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		f.Errorf("after an error it went on for %d records: %v", calls, err)
	}
	if err := store.Walk(cancelledContext(), func(auth.Write) error { return nil }); err == nil {
		f.Error("a cancelled context was taken by Walk")
	}
	if _, err := store.Fetch(cancelledContext(), "user/1"); err == nil {
		f.Error("a cancelled context was taken by Fetch")
	}
}
