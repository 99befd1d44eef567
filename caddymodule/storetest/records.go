package storetest

import (
	"bytes"
	"errors"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func getInOrder(f *fixture) {
	f.swap(0, write("b", "two"))
	f.swap(0, write("a", "one"))
	var got []string
	for _, r := range f.getAll("a", "missing", "b", "a") {
		got = append(got, string(r.Value))
	}
	if strings.Join(got, ",") != "one,,two,one" {
		f.Errorf("got %q", got)
	}
	f.missing("missing")
	if n := len(f.getAll()); n != 0 {
		f.Errorf("no keys: got %d records", n)
	}
}

func values(f *fixture) {
	large := make([]byte, 64<<10)
	for i := range large {
		large[i] = byte(i * 7)
	}
	for key, value := range map[string][]byte{"empty": {}, "zeros": make([]byte, 9), "large": large} {
		f.swap(0, auth.Write{Key: key, Value: value})
		if r := f.get(key); r.Version == 0 || r.Value == nil || !bytes.Equal(r.Value, value) {
			f.Errorf("%s by swap: got %d bytes at version %d", key, len(r.Value), r.Version)
		}
		f.put(auth.Write{Key: key + " put", Value: value})
		if r := f.get(key + " put"); r.Version == 0 || r.Value == nil || !bytes.Equal(r.Value, value) {
			f.Errorf("%s by put: got %d bytes at version %d", key, len(r.Value), r.Version)
		}
	}
}

func keys(f *fixture) {
	all := []string{"", "a", "a\x00", "a\x00b", "A", "!badger!x", "{a}", "a*", "\xff", strings.Repeat("k", 512)}
	for _, key := range all {
		f.swap(0, write(key, "is "+key))
	}
	for _, key := range all {
		f.holds(key, "is "+key)
	}
}

func tooLarge(f *fixture) {
	for name, w := range map[string]auth.Write{
		"key":   write(strings.Repeat("k", 513), "v"),
		"value": {Key: "k", Value: make([]byte, 64<<10+1)},
		"owner": {Key: "k", Value: []byte("v"), Owner: 1 << 63},
	} {
		if _, err := f.Swap(f.Context(), 0, w); !errors.Is(err, auth.ErrUnavailable) {
			f.Errorf("swap with too large a %s: got %v", name, err)
		}
		if err := f.Put(f.Context(), []auth.Write{w}); !errors.Is(err, auth.ErrUnavailable) {
			f.Errorf("put with too large a %s: got %v", name, err)
		}
	}
}

func aliasing(f *fixture) {
	swapped, put := []byte("value"), []byte("value")
	f.swap(0, auth.Write{Key: "swap", Value: swapped})
	f.put(auth.Write{Key: "put", Value: put})
	swapped[0], put[0] = 'X', 'X'
	for _, key := range []string{"swap", "put"} {
		r := f.get(key)
		f.holds(key, "value")
		r.Value[0] = 'Y'
		_ = append(r.Value, 'Z')
		f.holds(key, "value")
	}
	two := f.getAll("swap", "swap")
	two[0].Value[0] = 'Y'
	if string(two[1].Value) != "value" {
		f.Error("two records of one answer share a slice")
	}
}

// cancelled: whoever has given up gets an error that says so, and the store
// works on.
func cancelled(f *fixture) {
	ctx := cancelledContext()
	_, getErr := f.Get(ctx, "k")
	_, swapErr := f.Swap(ctx, 0, write("k", "v"))
	for name, err := range map[string]error{
		"get": getErr, "swap": swapErr, "put": f.Put(ctx, []auth.Write{write("k", "v")}), "sync": f.Sync(ctx),
	} {
		if !errors.Is(err, auth.ErrUnavailable) || errors.Is(err, auth.ErrConflict) {
			f.Errorf("%s: got %v, want unavailable", name, err)
		}
	}
	f.missing("k") // given up before it began: nothing may be written
	f.swap(0, write("k", "later"))
	f.holds("k", "later")
}

func syncs(f *fixture) {
	for _, step := range []func(){
		func() {},
		func() { f.put(write("a", "1")) },
		func() { f.swap(0, write("b", "1")) },
		func() {},
	} {
		step()
		if err := f.Sync(f.Context()); err != nil {
			f.Fatalf("sync: %v", err)
		}
	}
}
