package storetest

import (
	"context"
	"errors"
	"time"

	"pgregory.net/rapid"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// entry is what the model expects of a key.
type entry struct {
	value   string
	version auth.Version
	expires time.Time
}

// world is a store beside the map that it must behave like.
type world struct {
	store auth.Store
	clock *clock
	want  map[string]entry
	old   []auth.Version // versions that must never be right again
}

// model draws operations and compares every answer with a map's. The store is
// one for all draws; each has keys of its own.
func model(f *fixture) {
	round := 0
	rapid.Check(f.T, func(t *rapid.T) {
		round++
		w := &world{store: f.Store, clock: f.clock, want: map[string]entry{}}
		names := []string{key(round, "a"), key(round, "b"), key(round, "c")}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { w.compare(t, names) },
			"swap": func(t *rapid.T) {
				w.swap(t, w.draw(t, names), rapid.SampledFrom([]string{"right", "zero", "old"}).Draw(t, "expected"))
			},
			"put":  func(t *rapid.T) { w.put(t, w.draw(t, names)) },
			"wait": func(t *rapid.T) { w.clock.advance(time.Duration(rapid.IntRange(0, 3).Draw(t, "ms")) * ms) },
		})
	})
}

func key(round int, name string) string {
	return "model/" + name + "/" + time.Duration(round).String()
}

func (w *world) draw(t *rapid.T, names []string) auth.Write {
	out := auth.Write{Key: rapid.SampledFrom(names).Draw(t, "key")}
	if rapid.IntRange(0, 3).Draw(t, "delete") > 0 {
		out.Value = []byte(rapid.StringN(0, 4, 8).Draw(t, "value"))
		if d := rapid.IntRange(-1, 5).Draw(t, "lives"); d > 0 {
			out.Expires = w.clock.Now().Add(time.Duration(d) * ms)
		}
	}
	return out
}

func (w *world) live(key string) entry {
	e := w.want[key]
	if !e.expires.IsZero() && !w.clock.Now().Before(e.expires) {
		return entry{}
	}
	return e
}

func (w *world) note(t *rapid.T, write auth.Write, v auth.Version) {
	if e := w.want[write.Key]; e.version != 0 {
		w.old = append(w.old, e.version)
	}
	delete(w.want, write.Key)
	if write.Value == nil {
		return
	}
	for _, old := range w.old {
		if old == v {
			t.Fatalf("version %d came back", v)
		}
	}
	w.want[write.Key] = entry{string(write.Value), v, write.Expires}
}

func (w *world) swap(t *rapid.T, write auth.Write, how string) {
	current := w.live(write.Key).version
	expected := current
	switch {
	case how == "zero":
		expected = 0
	case how == "old" && len(w.old) > 0:
		expected = w.old[len(w.old)-1]
	}
	v, err := w.store.Swap(context.Background(), expected, write)
	switch {
	case expected != current && !errors.Is(err, auth.ErrConflict):
		t.Fatalf("swap %q with %d over %d: got %v, want a conflict", write.Key, expected, current, err)
	case expected == current && err != nil:
		t.Fatalf("swap %q with the right version: %v", write.Key, err)
	case err == nil:
		w.note(t, write, v)
	}
}

func (w *world) put(t *rapid.T, write auth.Write) {
	if err := w.store.Put(context.Background(), []auth.Write{write}); err != nil {
		t.Fatalf("put: %v", err)
	}
	records, err := w.store.Get(context.Background(), write.Key)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	w.note(t, write, records[0].Version)
}

func (w *world) compare(t *rapid.T, names []string) {
	records, err := w.store.Get(context.Background(), names...)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	for i, r := range records {
		e := w.live(names[i])
		if string(r.Value) != e.value || r.Version != e.version || (r.Value == nil) != (e.version == 0) {
			t.Fatalf("%q: got %q at %d, want %q at %d", names[i], r.Value, r.Version, e.value, e.version)
		}
	}
}
