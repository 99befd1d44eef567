package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func (f *fixture) eraser() auth.Eraser {
	f.Helper()
	eraser, ok := f.Store.(auth.Eraser)
	if !ok {
		f.Skip("the store has no Erase")
	}
	return eraser
}

func of(owner uint64, key, value string) auth.Write {
	return auth.Write{Key: key, Value: []byte(value), Owner: owner}
}

// erase erases an owner, who may come back after a minute.
func (f *fixture) erase(owner uint64) {
	f.Helper()
	if err := f.eraser().Erase(f.Context(), owner, f.clock.Now().Add(time.Minute)); err != nil {
		f.Fatalf("erase: %v", err)
	}
}

func erasedIsMissing(f *fixture) {
	f.eraser()
	v := f.swap(0, of(7, "user/7", "one"))
	f.put(of(7, "device/7/a", "two"), of(8, "user/8", "other"), of(0, "user/9", "nobody's"), of(7, "given/away", "three"), of(8, "taken/over", "four"))
	f.put(of(8, "given/away", "now of 8"), of(7, "taken/over", "now of 7"))
	f.erase(7)
	for range 2 {
		f.missing("user/7")
		f.missing("device/7/a")
		f.missing("taken/over")
		f.holds("user/8", "other")
		f.holds("user/9", "nobody's")
		f.holds("given/away", "now of 8")
		f.conflict(v, of(0, "user/7", "x"))
		f.erase(7) // once more, without harm
	}
	f.swap(0, of(0, "user/7", "a tombstone"))
	f.holds("user/7", "a tombstone")
	if lister, ok := f.Store.(auth.Lister); ok {
		if all := walk(f, lister, "device/", 5); len(all) != 0 {
			f.Errorf("listed after the erasure: %v", all)
		}
		if all := walk(f, lister, "user/", 5); len(all) != 3 {
			f.Errorf("listed: %v", all)
		}
	}
	for name, err := range map[string]error{
		"nobody":              f.eraser().Erase(f.Context(), 0, f.clock.Now()),
		"a cancelled context": f.eraser().Erase(cancelledContext(), 8, f.clock.Now()),
	} {
		if !errors.Is(err, auth.ErrUnavailable) {
			f.Errorf("%s: got %v", name, err)
		}
	}
	f.holds("user/9", "nobody's")
	f.holds("user/8", "other")
}

// What was under way when its owner was erased leaves nothing behind, and later
// the owner is one like any other.
func erasedLeavesNothing(f *fixture) {
	f.eraser()
	f.put(of(7, "touch/1", "before"), of(0, "touch/2", "before"))
	f.erase(7)
	f.erase(9) // who has nothing yet
	f.put(of(7, "touch/1", "late"), of(7, "touch/2", "late"), of(9, "touch/4", "late"), of(8, "touch/5", "other"))
	if _, err := f.Swap(f.Context(), 0, of(7, "touch/3", "late")); err != nil {
		f.Errorf("swap: %v", err)
	}
	f.clock.advance(time.Minute - ms)
	f.put(of(7, "touch/1", "late"))
	for n := range 4 {
		f.missing(fmt.Sprint("touch/", n+1))
	}
	f.holds("touch/5", "other")
	f.clock.advance(ms)
	for n := range 4 {
		f.missing(fmt.Sprint("touch/", n+1))
	}
	f.put(of(7, "touch/1", "again"))
	f.swap(0, of(9, "touch/4", "again"))
	f.holds("touch/1", "again")
	f.holds("touch/4", "again")
	f.erase(7)
	f.missing("touch/1")
	f.holds("touch/4", "again")
}

// Thousands come with one import.
func manyOwners(f *fixture) {
	f.eraser()
	writes := make([]auth.Write, 3000)
	for i := range writes {
		writes[i] = of(uint64(i+1), fmt.Sprint("user/", i+1), fmt.Sprint("value ", i))
	}
	f.put(writes...)
	f.put(writes[:10]...)
	f.erase(5)
	for _, i := range []int{0, 3, 5, 1999, 2999} {
		f.holds(writes[i].Key, string(writes[i].Value))
	}
	f.missing("user/5")
}

// However an erasure and the writes of many meet: afterwards there is nothing.
func eraseAmongWrites(f *fixture) {
	eraser := f.eraser()
	until := f.clock.Now().Add(time.Minute)
	parallel(24, func(i int) {
		switch {
		case i%6 == 5:
			if err := eraser.Erase(f.Context(), 7, until); err != nil {
				f.Errorf("erase: %v", err)
			}
		case i%2 == 0:
			for n := range 4 {
				_, err := f.Swap(f.Context(), 0, of(7, fmt.Sprintf("session/%d/%d", i, n), "v"))
				if err != nil {
					f.Errorf("swap: %v", err)
				}
			}
		default:
			if err := f.Put(f.Context(), []auth.Write{of(7, fmt.Sprint("device/", i), "v"), of(8, fmt.Sprint("other/", i), "v")}); err != nil {
				f.Errorf("put: %v", err)
			}
		}
	})
	for i := range 24 {
		switch {
		case i%6 == 5:
		case i%2 == 0:
			for n := range 4 {
				f.missing(fmt.Sprintf("session/%d/%d", i, n))
			}
		default:
			f.missing(fmt.Sprint("device/", i))
			f.holds(fmt.Sprint("other/", i), "v")
		}
	}
}

func unlisted(f *fixture) {
	secret := func(key, value string) auth.Write {
		return auth.Write{Key: key, Value: []byte(value), Unlisted: true}
	}
	f.swap(0, secret("device/7/1", "one"))
	f.put(secret("device/7/2", "two"), write("device/7/3", "three"), write("device/7/4", "four"), auth.Write{Key: "device/7/5", Value: []byte("five"), Unlisted: true, Owner: 7})
	f.put(secret("device/7/4", "hidden now"))
	v := f.swap(f.holds("device/7/1", "one"), secret("device/7/1", "one again"))
	f.conflict(v+1, secret("device/7/1", "x"))
	f.holds("device/7/1", "one again")
	f.holds("device/7/2", "two")
	f.holds("device/7/4", "hidden now")
	f.holds("device/7/5", "five")
	if lister, ok := f.Store.(auth.Lister); ok {
		if all := walk(f, lister, "device/7/", 2); len(all) != 1 || all[0].key != "device/7/3" {
			f.Errorf("listed: %v", all)
		}
	}
	f.swap(v, write("device/7/1", "to be seen"))
	if lister, ok := f.Store.(auth.Lister); ok {
		if all := walk(f, lister, "device/7/", 2); len(all) != 2 {
			f.Errorf("listed: %v", all)
		}
	}
	f.swap(f.holds("device/7/2", "two"), auth.Write{Key: "device/7/2"})
	f.missing("device/7/2")
}
