package token

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Attack: a signing key has leaked. What it has signed is refused from the very
// moment of the revocation, also a token that was verified a thousand times; on
// another node, from its next reload.
func TestRevokedKeyIsForgottenAtOnce(t *testing.T) {
	c, store := newClock(), newStore()
	a, b := open(t, store, "ES256", c), open(t, store, "ES256", c)
	text := sign(t, a, grant(c))
	makeHot(t, a, text)
	makeHot(t, b, text)
	if err := a.Revoke(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused(t, a, "after the revocation", text)
	if _, err := a.VerifyIgnoringExpiry(text); !errors.Is(err, auth.Refuse(auth.CodeTokenInvalid)) {
		t.Errorf("a revoked key's token still logs out: %v", err)
	}
	next := sign(t, a, grant(c))
	if _, err := a.Verify(next); err != nil {
		t.Errorf("the new key does not sign at once: %v", err)
	}
	if err := b.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused(t, b, "on the other node", text)
	if _, err := b.Verify(next); err != nil {
		t.Errorf("the other node refuses the new key: %v", err)
	}
	if list := a.List(); len(list) != 1 || !list[0].Signs {
		t.Errorf("keys: %v", list)
	}
}

func TestRevokeTakesEveryAlgorithm(t *testing.T) {
	c, store := newClock(), newStore()
	var texts []string
	for _, alg := range algorithms[1:] {
		texts = append(texts, sign(t, open(t, store, alg, c), grant(c)))
	}
	other := open(t, store, "EdDSA", c)
	k := open(t, store, "ES256", c)
	for _, text := range texts {
		if _, err := k.Verify(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Revoke(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		refused(t, k, algorithms[i+1], text)
	}
	// A node that is configured with another algorithm gets a new key of it.
	if err := other.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused(t, other, "on a node with another algorithm", texts[0])
	if _, err := other.Verify(sign(t, other, grant(c))); err != nil {
		t.Error(err)
	}
}

// Attack: a request that was being verified while the key was revoked leaves
// its token where later ones look.
func TestSlowVerificationLeavesNothingBehind(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "EdDSA", c)
	text := sign(t, k, grant(c))
	before := k.ring.Load()
	if err := k.Revoke(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := k.parse(before, text) // begun before
	if err != nil {
		t.Fatal(err)
	}
	before.hot.slots[slotOf(k, text)].Store(&hotToken{0, text, v})
	refused(t, k, "after the slow one", text)
}

// pausingStore holds one Get back after it has read.
type pausingStore struct {
	*mapStore
	read, goOn chan struct{}
}

func (s *pausingStore) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	records, err := s.mapStore.Get(ctx, keys...)
	if ctx.Value(s) != nil && len(keys) > 1 {
		s.read <- struct{}{}
		<-s.goOn
	}
	return records, err
}

// A reload that has read the keys before they were revoked, and goes on after,
// must not bring them back.
func TestSlowReloadBringsNothingBack(t *testing.T) {
	c := newClock()
	store := &pausingStore{newStore(), make(chan struct{}), make(chan struct{})}
	k := open(t, store, "EdDSA", c)
	text := sign(t, k, grant(c))
	slow, revoked := make(chan error), make(chan error)
	go func() { slow <- k.Reload(context.WithValue(t.Context(), store, true)) }()
	<-store.read
	go func() { revoked <- k.Revoke(t.Context()) }()
	close(store.goOn)
	if err := errors.Join(<-slow, <-revoked); err != nil {
		t.Fatal(err)
	}
	refused(t, k, "after both", text)
}

// In an emergency we do not give way to somebody who rotates at the same time.
func TestRevokeGoesOnAfterAConflict(t *testing.T) {
	c, store := newClock(), newStore()
	k := open(t, store, "EdDSA", c)
	text := sign(t, k, grant(c))
	k.store = &overtakenStore{store, 3}
	if err := k.Revoke(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused(t, k, "after the revocation", text)
	store.err = auth.ErrUnavailable
	if err := k.Revoke(t.Context()); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// Nor to a node with another algorithm, whose keys are taken from it.
func TestRevokeGoesOnAfterAConflictWithAnotherAlgorithm(t *testing.T) {
	c, store := newClock(), newStore()
	text := sign(t, open(t, store, "HS256", c), grant(c))
	k := open(t, store, "EdDSA", c)
	k.store = &undeletable{store, 2}
	if err := k.Revoke(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused(t, k, "after the revocation", text)
}

// undeletable is a store in which somebody is faster than the next deletions.
type undeletable struct {
	*mapStore
	times int
}

func (s *undeletable) Swap(ctx context.Context, v auth.Version, w auth.Write) (auth.Version, error) {
	if w.Value == nil {
		if s.times--; s.times >= 0 {
			return 0, auth.ErrConflict
		}
	}
	return s.mapStore.Swap(ctx, v, w)
}

type overtakenStore struct {
	*mapStore
	times int
}

func (s *overtakenStore) Swap(ctx context.Context, v auth.Version, w auth.Write) (auth.Version, error) {
	if s.times--; s.times >= 0 {
		return 0, auth.ErrConflict
	}
	return s.mapStore.Swap(ctx, v, w)
}

// Rotation keeps what was verified: a new key is no reason to check a million
// signatures anew.
func TestRotationKeepsWhatWasVerified(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "EdDSA", c)
	text := sign(t, k, grant(c))
	makeHot(t, k, text)
	before := k.ring.Load()
	if err := k.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := k.ring.Load(); now == before || now.cache != before.cache || now.hot != before.hot {
		t.Error("the caches are new")
	}
	if !strings.Contains(string(k.JWKS()), before.keys[0].kid) {
		t.Error("the old key is not published any more")
	}
}
