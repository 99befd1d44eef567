package token

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Two nodes share a store; one rotates. At no time may one refuse what the
// other signs.
func TestRotationSignsNobodyOut(t *testing.T) {
	c, store := newClock(), newStore()
	a, b := open(t, store, "ES256", c), open(t, store, "ES256", c)
	old := a.ring.Load().keys[0]
	before := sign(t, a, grant(c))
	if err := a.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	bothTake := func(when, text string) {
		t.Helper()
		for _, k := range []*Keys{a, b} {
			if _, err := k.Verify(text); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	bothTake("signed before", before)
	now := sign(t, a, grant(c))
	bothTake("signed right after the rotation", now)
	if !strings.HasPrefix(now, old.header) {
		t.Error("the new key signs before other nodes can know it")
	}
	if !strings.Contains(string(a.JWKS()), a.ring.Load().keys[0].kid) {
		t.Error("the new key is not published")
	}

	c.at = c.at.Add(ReloadEvery)
	if err := b.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.at = c.at.Add(headStart)
	later := sign(t, a, grant(c))
	if strings.HasPrefix(later, old.header) {
		t.Error("the old key still signs")
	}
	bothTake("signed by the new key", later)
	bothTake("signed before, checked after", before)
}

func TestRetiredKeysLeave(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "EdDSA", c)
	first := k.ring.Load().keys[0].kid
	for _, row := range []struct {
		after time.Duration
		want  int
	}{{0, 2}, {time.Minute, 3}, {retention + headStart + time.Second, 2}, {retention + headStart + time.Second, 2}} {
		c.at = c.at.Add(row.after)
		if err := k.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := len(k.ring.Load().keys); got != row.want {
			t.Errorf("after %v: %d keys, want %d", row.after, got, row.want)
		}
	}
	if strings.Contains(string(k.JWKS()), first) {
		t.Error("the first key is still published")
	}
}

// racingStore lets somebody else write between a read and the swap.
type racingStore struct{ *mapStore }

func (s racingStore) Swap(context.Context, auth.Version, auth.Write) (auth.Version, error) {
	return 0, auth.ErrConflict
}

func TestRotateRefusals(t *testing.T) {
	c, store := newClock(), newStore()
	k := open(t, store, "EdDSA", c)
	text := sign(t, k, grant(c))
	good := store.records["keys/EdDSA"]
	for _, row := range []struct {
		name   string
		record auth.Record
		err    error // of the store
		race   bool
		want   error
	}{
		{"somebody else was faster", good, nil, true, auth.ErrConflict},
		{"the store does not answer", good, auth.ErrUnavailable, false, auth.ErrUnavailable},
		{"the record is damaged", auth.Record{Value: []byte("?"), Version: 9}, nil, false, auth.ErrUnavailable},
	} {
		store.records["keys/EdDSA"], store.err, k.store = row.record, row.err, store
		if row.race {
			k.store = racingStore{store}
		}
		if err := k.Rotate(t.Context()); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v", row.name, err)
		}
		if row.race {
			continue
		}
		if err := k.Reload(t.Context()); !errors.Is(err, row.want) {
			t.Errorf("%s: Reload gave %v", row.name, err)
		}
		if _, err := k.parse(k.ring.Load(), text); err != nil {
			t.Errorf("%s: the keys are lost: %v", row.name, err)
		}
	}
}
