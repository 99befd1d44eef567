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
			s := openTest(b, Options{Path: b.TempDir()})
			b.ReportAllocs()
			var next atomic.Int64
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					w, v := auth.Write{Key: fmt.Sprint("session/", i), Value: make([]byte, 300), Owner: uint64(i + 1)}, auth.Version(0)
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

// BenchmarkPut measures a batch of 500 touches, each of another user.
func BenchmarkPut(b *testing.B) {
	s := openTest(b, Options{Path: b.TempDir()})
	touches := make([]auth.Write, 500)
	for i := range touches {
		touches[i] = auth.Write{Key: fmt.Sprint("touch/", i), Value: make([]byte, 21), Owner: uint64(i + 1)}
	}
	if err := s.Put(b.Context(), touches); err != nil { // the first time makes their data keys
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Put(b.Context(), touches); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkErase measures erasures, which wait for the disk twice.
func BenchmarkErase(b *testing.B) {
	s := openTest(b, Options{Path: b.TempDir()})
	writes := make([]auth.Write, b.N)
	for i := range writes {
		writes[i] = ownedBy(uint64(i + 1))
	}
	if err := s.Put(b.Context(), writes); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for i := range writes {
		if err := s.Erase(b.Context(), uint64(i+1), s.opt.Now()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := openTest(b, Options{Path: b.TempDir()})
	if _, err := s.Swap(b.Context(), 0, auth.Write{Key: "k", Value: make([]byte, 300), Owner: 7}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(b.Context(), "k"); err != nil {
			b.Fatal(err)
		}
	}
}
