package auth

import (
	"runtime"
	"testing"
	"time"
)

// BenchmarkCollector measures what a million live sessions cost the garbage
// collector, in the table as it is and in one of the usual kind. A request pays
// for it whenever the collector runs beside it.
func BenchmarkCollector(b *testing.B) {
	const sessions = 1_000_000
	b.Run("none", collect)
	b.Run("table", func(b *testing.B) {
		l := NewLive(2 * sessions)
		profile := l.profiles.number("customer", []string{"customer"})
		for range sessions {
			id := NewSessionID()
			l.insert(entry{id: id, profile: profile}, l.stamp(id))
		}
		collect(b)
		runtime.KeepAlive(l)
	})
	b.Run("pointers", func(b *testing.B) {
		type session struct {
			id, device, kind    string
			roles               []string
			created, last, ends time.Time
		}
		table := map[SessionID]*session{}
		for range sessions {
			id, now := NewSessionID(), time.Now()
			table[id] = &session{id.String(), NewSessionID().String(), "customer", []string{"customer"}, now, now, now}
		}
		collect(b)
		runtime.KeepAlive(table)
	})
}

func collect(b *testing.B) {
	runtime.GC()
	for b.Loop() {
		runtime.GC()
	}
}
