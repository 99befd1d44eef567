package token

import (
	"errors"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// makeHot puts a token into every slot, so that every other text meets it.
func makeHot(t *testing.T, k *Keys, text string) {
	t.Helper()
	if _, err := k.Verify(text); err != nil {
		t.Fatal(err)
	}
	for k.ring.Load().hot.slots[slotOf(k, text)].Load() == nil { // a chance of one in hotAfter each time
		k.Verify(text)
	}
	one := k.ring.Load().hot.slots[slotOf(k, text)].Load()
	for i := range k.ring.Load().hot.slots {
		k.ring.Load().hot.slots[i].Store(one)
	}
}

func slotOf(k *Keys, text string) uint64 {
	_, hash, _ := k.ring.Load().hot.get(text)
	return hash % hotSlots
}

// Attack: a forged token, or one of another session, is answered with what was
// verified of the busy one in its slot.
func TestBusyTokenVouchesForItselfAlone(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "ES256", c)
	text := sign(t, k, grant(c))
	makeHot(t, k, text)
	if got, err := k.Verify(text); err != nil || got != proof {
		t.Errorf("the token itself: got %v, %v", got, err)
	}
	other := grant(c)
	other.Identity.SessionID = auth.NewSessionID()
	if got, err := k.Verify(sign(t, k, other)); err != nil || got.SessionID != other.Identity.SessionID {
		t.Errorf("another session's token: got %v, %v", got, err)
	}
	for i := range text {
		changed := []byte(text)
		changed[i] ^= 1
		refused(t, k, "one letter changed", string(changed))
	}
}

func TestBusyTokenExpires(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "ES256", c)
	text := sign(t, k, grant(c))
	makeHot(t, k, text)
	c.at = c.at.Add(time.Hour)
	if _, err := k.Verify(text); !errors.Is(err, auth.Refuse(auth.CodeTokenExpired)) {
		t.Errorf("got %v, want token_expired", err)
	}
}
