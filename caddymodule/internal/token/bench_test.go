package token

import (
	"crypto/rand"
	"testing"
)

func BenchmarkVerifyWarm(b *testing.B) {
	c := newClock()
	k := open(b, newStore(), "ES256", c)
	text := sign(b, k, grant(c))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := k.Verify(text); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkVerifyWarmAmongMany is the warm hit when the table is as large as
// on a busy site, so that it does not fit the processor's cache.
func BenchmarkVerifyWarmAmongMany(b *testing.B) {
	c := newClock()
	k := open(b, newStore(), "ES256", c)
	k.ring.Load().cache = newCache(1 << 20)
	var sum [32]byte
	for range 500_000 {
		rand.Read(sum[:])
		k.ring.Load().cache.put(sum, verified{proof: proof, expires: 1 << 40}, 0)
	}
	texts := make([]string, 1000)
	for i := range texts {
		texts[i] = sign(b, k, grant(c))
		k.Verify(texts[i])
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := k.Verify(texts[i%len(texts)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyCold(b *testing.B) {
	for _, alg := range algorithms {
		b.Run(alg, func(b *testing.B) {
			c := newClock()
			k := open(b, newStore(), alg, c)
			text := sign(b, k, grant(c))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.parse(k.ring.Load(), text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range algorithms {
		b.Run(alg, func(b *testing.B) {
			c := newClock()
			k := open(b, newStore(), alg, c)
			b.ReportAllocs()
			for b.Loop() {
				sign(b, k, grant(c))
			}
		})
	}
}

func BenchmarkIsOurs(b *testing.B) {
	c := newClock()
	k := open(b, newStore(), "ES256", c)
	other := open(b, newStore(), "ES256", c)
	other.options.Issuer = "https://idp.example"
	text := sign(b, other, grant(c))
	b.ReportAllocs()
	for b.Loop() {
		k.IsOurs(text)
	}
}

// A warm hit happens for every proxied request, so garbage here is garbage
// there.
func TestWarmVerifyAllocatesNothing(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "ES256", c)
	text := sign(t, k, grant(c))
	k.Verify(text)
	if n := testing.AllocsPerRun(100, func() { k.Verify(text) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
