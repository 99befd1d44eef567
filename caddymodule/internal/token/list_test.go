package token

import (
	"testing"
	"time"
)

func TestList(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "ES256", c)
	if got := k.List(); len(got) != 1 || !got[0].Signs || !got[0].SignFrom.Equal(c.at.Truncate(time.Second)) || got[0].Algorithm != "ES256" || got[0].Kid == "" {
		t.Fatalf("got %+v", got)
	}
	if err := k.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := k.List(); len(got) != 2 || got[0].Signs || !got[1].Signs || got[0].SignFrom.IsZero() {
		t.Errorf("the new one waits: %+v", got)
	}
	c.at = c.at.Add(time.Hour)
	if got := k.List(); !got[0].Signs || got[1].Signs {
		t.Errorf("the new one signs: %+v", got)
	}
}
