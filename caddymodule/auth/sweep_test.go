package auth

import (
	"fmt"
	"testing"
	"time"
)

type nobody struct{}

func (nobody) Cut(EndReason) {}

// BenchmarkSweep is one look at all that is in flight: ten requests of each
// session, in a table that has a million.
func BenchmarkSweep(b *testing.B) {
	const sessions = 1_000_000
	now := time.Now()
	s := &Service{Live: NewLive(2 * sessions), Settings: Settings{IdleTimeout: time.Hour}, Now: func() time.Time { return now }}
	ids := make([]SessionID, sessions)
	for i := range ids {
		ids[i] = NewSessionID()
		at := now.UnixMilli()
		s.Live.insert(entry{id: ids[i], lastActivity: at, expiresAt: at + time.Hour.Milliseconds()}, s.Live.stamp(ids[i]))
	}
	for _, flights := range []int{0, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("flights=%d", flights), func(b *testing.B) {
			aboard := make([]*Flight, flights)
			for i := range aboard {
				aboard[i] = new(Flight)
				s.Live.Board(aboard[i], ids[i/10], nobody{})
			}
			for b.Loop() {
				s.Sweep(b.Context())
			}
			for _, f := range aboard {
				f.Leave()
			}
		})
	}
}

// BenchmarkBoard is what every request pays for being on board, by many at once.
func BenchmarkBoard(b *testing.B) {
	live := NewLive(1000)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var f Flight
		for id := NewSessionID(); pb.Next(); {
			live.Board(&f, id, nobody{})
			f.Leave()
		}
	})
}
