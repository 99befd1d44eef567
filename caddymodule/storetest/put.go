package storetest

import (
	"fmt"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func putIsBlind(f *fixture) {
	f.put()
	f.put(write("k", "1"))
	v := f.holds("k", "1")
	f.put(write("k", "2"), write("other", "o"))
	if f.holds("k", "2") == v {
		f.Error("a put left the version as it was")
	}
	f.holds("other", "o")
	f.put(auth.Write{Key: "k"})
	f.missing("k")
	f.put(write("twice", "first"), write("twice", "last"))
	f.holds("twice", "last")
}

func putLarge(f *fixture) {
	const n = 3000
	writes := make([]auth.Write, 0, n+50)
	for i := range n {
		writes = append(writes, write(fmt.Sprintf("touch/%d", i), fmt.Sprint(i)))
	}
	for i := range 50 { // over three megabytes, more than an engine takes at once
		writes = append(writes, auth.Write{Key: fmt.Sprintf("big/%d", i), Value: make([]byte, 64<<10)})
	}
	f.put(writes...)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("touch/%d", i)
	}
	for i, r := range f.getAll(keys...) {
		if string(r.Value) != fmt.Sprint(i) || r.Version == 0 {
			f.Fatalf("%s: got %q", keys[i], r.Value)
		}
	}
	if n := len(f.get("big/49").Value); n != 64<<10 {
		f.Errorf("last large record: %d bytes", n)
	}
}

// putAgainstSwap: a put between reading and swapping is a change like any
// other.
func putAgainstSwap(f *fixture) {
	v := f.swap(0, write("k", "1"))
	f.put(write("k", "2"))
	f.conflict(v, write("k", "x"))
	f.swap(f.holds("k", "2"), write("k", "3"))
	f.put(auth.Write{Key: "k"})
	f.conflict(v, write("k", "x"))
	f.swap(0, write("k", "4"))
	f.holds("k", "4")
}
