package token

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// A node that nobody tells of a rotation must know the new key before the first
// token is signed with it.
func TestKeepLearnsOfRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		a, b := openNow(t, store, 0), openNow(t, store, 0)
		ctx, cancel := context.WithCancel(t.Context())
		var kept sync.WaitGroup
		var faults atomic.Int64
		kept.Go(func() { b.Keep(ctx, func([]Info) { t.Error("rotated") }, func(error) { faults.Add(1) }) })
		if err := a.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		kid := a.ring.Load().keys[0].kid
		time.Sleep(ReloadEvery)
		synctest.Wait()
		if !strings.Contains(string(b.JWKS()), kid) {
			t.Error("the other node does not know the new key")
		}
		store.mutex.Lock()
		store.err = auth.ErrUnavailable
		store.mutex.Unlock()
		time.Sleep(2 * ReloadEvery)
		synctest.Wait()
		if n := faults.Load(); n != 2 || !strings.Contains(string(b.JWKS()), kid) {
			t.Errorf("%d faults told, want 2, and the keys as they were", n)
		}
		cancel()
		kept.Wait()
	})
}

func openNow(t *testing.T, store auth.Store, every time.Duration) *Keys {
	t.Helper()
	k, err := Open(t.Context(), store, Options{Algorithm: "EdDSA", RotateEvery: every, CacheSize: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Four nodes keep the keys of one store for three rotations: one of them rotates
// when it is time, no token that lives is ever refused by any, and a key that
// no token can have any more is gone.
func TestScheduledRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 6 * time.Hour
		store, begin := newStore(), time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		var kept sync.WaitGroup
		var rotations atomic.Int64
		var nodes []*Keys
		for range 4 {
			k := openNow(t, store, every)
			nodes = append(nodes, k)
			kept.Go(func() {
				k.Keep(ctx, func([]Info) { rotations.Add(1) }, func(err error) { t.Error(err) })
			})
			time.Sleep(time.Second)
		}
		first := nodes[0].List()[0].Kid
		g := auth.Grant{AccessTTL: time.Hour, Identity: auth.Identity{UserID: 1, SessionID: auth.NewSessionID()}}
		const step = 5 * time.Minute
		var alive []string
		for time.Since(begin) < 3*every+every/2 {
			for _, k := range nodes {
				g.Now = time.Now()
				text, err := k.Sign(g)
				if err != nil {
					t.Fatal(err)
				}
				alive = append(alive, text)
			}
			time.Sleep(step - time.Second)
			for _, text := range alive {
				for i, k := range nodes {
					if _, err := k.Verify(text); err != nil {
						t.Fatalf("after %v node %d: %v", time.Since(begin), i, err)
					}
				}
			}
			alive = nil
		}
		if n := rotations.Load(); n != 3 {
			t.Errorf("%d rotations, want 3", n)
		}
		for _, k := range nodes {
			if list := k.List(); len(list) != 1 || list[0].Kid == first {
				t.Errorf("keys %v", list)
			}
		}
		cancel()
		kept.Wait()
	})
}

// The new key is published before it signs and the old one until its last token
// has expired.
func TestOverlap(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "ES256", c)
	k.options.RotateEvery = 24 * time.Hour
	old := k.List()[0].Kid
	for _, row := range []struct {
		name    string
		after   time.Duration
		rotates bool
		shown   int
		oldSign bool
	}{
		{"young", time.Hour, false, 1, true},
		{"a day old", 23 * time.Hour, true, 2, true},
		{"once is enough", time.Second, false, 2, true},
		{"the new one signs", headStart, false, 2, false},
		{"old tokens live", retention - time.Minute, false, 2, false},
		{"none is left", 2 * time.Minute, false, 1, false},
	} {
		c.at = c.at.Add(row.after)
		rotated, err := k.settle(t.Context())
		list := k.List()
		if err != nil || rotated != row.rotates || len(list) != row.shown || strings.Count(string(k.JWKS()), `"kid"`) != row.shown {
			t.Errorf("%s: rotated %v, keys %v, %v", row.name, rotated, list, err)
		}
		if signs := strings.HasPrefix(sign(t, k, grant(c)), k.ring.Load().keys[len(list)-1].header); list[len(list)-1].Kid == old && signs != row.oldSign {
			t.Errorf("%s: the old key signs: %v", row.name, signs)
		}
	}
	k.options.RotateEvery = 0
	c.at = c.at.Add(10000 * time.Hour)
	if rotated, err := k.settle(t.Context()); rotated || err != nil {
		t.Errorf("rotated although it should not: %v", err)
	}
}

// A node that is overtaken leaves it at that.
func TestSettleIsOvertaken(t *testing.T) {
	c, store := newClock(), newStore()
	k := open(t, store, "EdDSA", c)
	k.options.RotateEvery = time.Hour
	c.at = c.at.Add(2 * time.Hour)
	k.store = racingStore{store}
	if rotated, err := k.settle(t.Context()); rotated || err != nil {
		t.Errorf("got %v, %v", rotated, err)
	}
}
