package storetest

import (
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const ms = time.Millisecond

func (f *fixture) until(key, value string, d time.Duration) auth.Write {
	return auth.Write{Key: key, Value: []byte(value), Expires: f.clock.Now().Add(d)}
}

func expiryInstant(f *fixture) {
	f.swap(0, f.until("swap", "v", 1500*ms))
	f.put(f.until("put", "v", 1500*ms), f.until("fraction", "v", 1500*ms+999*time.Microsecond))
	f.swap(0, write("never", "v"))
	f.clock.advance(1499 * ms)
	f.holds("swap", "v")
	f.holds("put", "v")
	f.clock.advance(ms)
	f.missing("swap")
	f.missing("put")
	f.missing("fraction") // precision is a millisecond
	f.clock.advance(100 * 365 * 24 * time.Hour)
	f.holds("never", "v")
}

func swapOverExpired(f *fixture) {
	v := f.swap(0, f.until("k", "old", time.Second))
	f.swap(0, f.until("gone", "old", time.Second))
	f.clock.advance(time.Second)
	f.conflict(v, write("k", "x"))
	f.conflict(v, auth.Write{Key: "k"})
	if next := f.swap(0, write("k", "new")); next == v {
		f.Errorf("version %d came back", v)
	}
	f.holds("k", "new")
	f.swap(0, auth.Write{Key: "gone"})
	f.missing("gone")
}

func expiryMoves(f *fixture) {
	v := f.swap(0, f.until("k", "1", time.Second))
	v = f.swap(v, f.until("k", "2", time.Minute))
	f.clock.advance(59 * time.Second)
	f.holds("k", "2")
	v = f.swap(v, write("k", "3"))
	f.clock.advance(time.Hour)
	f.holds("k", "3")
	f.swap(v, f.until("k", "4", ms))
	f.clock.advance(ms)
	f.missing("k")
}

func writtenExpired(f *fixture) {
	f.swap(0, f.until("now", "v", 0))
	f.missing("now")
	f.swap(0, f.until("past", "v", -time.Hour))
	f.missing("past")
	f.swap(0, auth.Write{Key: "1970", Value: []byte("v"), Expires: time.UnixMilli(0)})
	f.missing("1970")
	f.swap(0, auth.Write{Key: "1969", Value: []byte("v"), Expires: time.UnixMilli(-5)})
	f.missing("1969")
	f.swap(0, write("now", "again"))
	f.holds("now", "again")
}
