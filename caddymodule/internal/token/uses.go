package token

import "sync/atomic"

// Uses counts how Verify came to know tokens. Several Keys may share one, so
// that a total grows over reloads. Each use counts in a place of its token's
// own, more or less: requests that meet there meet at the session's lock too,
// and all others must not meet at a counter.
type Uses struct {
	busy   [stripes]stripe // by their text, in hot
	cached [stripes]stripe // by their hash, in cache
	read   atomic.Uint64   // by a signature, which costs a thousand times more than counting
}

const stripes = 64

type stripe struct {
	n atomic.Uint64
	_ [56]byte // keeps neighbours on other cache lines
}

// Totals are what Uses has counted.
type Totals struct{ Busy, Cached, Read uint64 }

// Totals adds up.
func (u *Uses) Totals() (t Totals) {
	for i := range stripes {
		t.Busy += u.busy[i].n.Load()
		t.Cached += u.cached[i].n.Load()
	}
	t.Read = u.read.Load()
	return t
}
