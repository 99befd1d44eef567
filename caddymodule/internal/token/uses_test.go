package token

import "testing"

func TestUsesAreCounted(t *testing.T) {
	c, store, uses := newClock(), newStore(), new(Uses)
	o := Options{Now: c.now, Uses: uses}
	const tokens, times = 100, 50
	for range 2 { // a reload makes new Keys
		k, err := Open(t.Context(), store, o)
		if err != nil {
			t.Fatal(err)
		}
		for range tokens {
			text := sign(t, k, grant(c))
			for range times {
				if _, err := k.Verify(text); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, _ = k.Verify("garbage")
	}
	got := uses.Totals()
	if got.Read != 2*(tokens+1) || got.Busy+got.Cached != 2*tokens*(times-1) || got.Busy == 0 || got.Cached == 0 {
		t.Errorf("got %+v", got)
	}
}
