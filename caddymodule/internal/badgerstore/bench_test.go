package badgerstore

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// BenchmarkDurableSwap measures answered swaps of 300 bytes. 64 callers share
// their syncs.
func BenchmarkDurableSwap(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := openTest(b, Options{Path: b.TempDir(), Seal: newTestSealer(b)})
			b.ReportAllocs()
			var next atomic.Int64
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					w, v := auth.Write{Key: fmt.Sprint("session/", i), Value: make([]byte, 300)}, auth.Version(0)
					for next.Add(1) <= int64(b.N) {
						var err error
						if v, err = s.Swap(b.Context(), v, w); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "swaps/s")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := openTest(b, Options{Path: b.TempDir(), Seal: newTestSealer(b)})
	if _, err := s.Swap(b.Context(), 0, auth.Write{Key: "k", Value: make([]byte, 300)}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(b.Context(), "k"); err != nil {
			b.Fatal(err)
		}
	}
}
