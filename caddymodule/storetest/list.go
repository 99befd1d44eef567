package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// lists is for stores that are a Lister as well.
func lists(f *fixture) {
	lister, ok := f.Store.(auth.Lister)
	if !ok {
		f.Skip("the store has no List")
	}
	want := map[string]string{}
	for i := range 25 {
		key := fmt.Sprintf("user/%d", i)
		want[key] = fmt.Sprint("value ", i)
		f.put(write(key, want[key]))
	}
	f.put(write("user", "no"), write("users/1", "no"), write("use", "no"), write("v", "no"), write("user/gone", "no"))
	f.swap(f.holds("user/gone", "no"), auth.Write{Key: "user/gone"})
	f.put(auth.Write{Key: "user/short", Value: []byte("no"), Expires: f.clock.Now().Add(time.Second)})
	f.clock.advance(time.Second)

	first := walk(f, lister, "user/", 7)
	if !slices.Equal(first, walk(f, lister, "user/", 1000)) {
		f.Error("the order changes with the size of the pages")
	}
	if len(first) != len(want) {
		f.Errorf("walked %d records, want %d", len(first), len(want))
	}
	for _, r := range first {
		if want[r.key] != r.value || r.value == "" {
			f.Errorf("%q: got %q, want %q", r.key, r.value, want[r.key])
		}
	}
	for _, user := range []string{"7", "77"} {
		for i := range 10 {
			f.put(write(fmt.Sprintf("device/%s/%d", user, i), user))
		}
	}
	devices := walk(f, lister, "device/7/", 3)
	if len(devices) != 10 || slices.ContainsFunc(devices, func(r listed) bool { return r.value != "7" }) {
		f.Errorf("of one user's ten devices: %v", devices)
	}
	if left := walk(f, lister, "device/0/", 5); len(left) != 0 {
		f.Errorf("of nothing: %v", left)
	}
	if _, err := lister.List(cancelledContext(), "user/", "", 5); err == nil {
		f.Error("a cancelled context was taken")
	}
}

type listed struct{ key, value string }

// walk reads all pages.
func walk(f *fixture, lister auth.Lister, prefix string, size int) (all []listed) {
	f.Helper()
	for after := ""; ; {
		page, err := lister.List(f.Context(), prefix, after, size)
		if err != nil || len(page) > size {
			f.Fatalf("list: %d records, %v", len(page), err)
		}
		for _, r := range page {
			if r.Version != f.get(r.Key).Version {
				f.Errorf("%q is listed at version %d", r.Key, r.Version)
			}
			all = append(all, listed{r.Key, string(r.Value)})
			after = r.Key
		}
		if len(page) < size {
			return all
		}
	}
}
