package token

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// countingStore counts how often the keys are read.
type countingStore struct {
	*mapStore
	reads atomic.Int64
}

func (s *countingStore) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	if len(keys) > 1 {
		s.reads.Add(1)
	}
	return s.mapStore.Get(ctx, keys...)
}

// A key that another node has made a moment ago, since it was revoked or since
// that node has another algorithm, signs at once: this node must take its tokens
// before its next turn to reload.
func TestUnknownKeysAreLearnedAtOnce(t *testing.T) {
	for name, act := range map[string]func(t *testing.T, store auth.Store, a *Keys) *Keys{
		"the other node has revoked": func(t *testing.T, _ auth.Store, a *Keys) *Keys {
			if err := a.Revoke(t.Context()); err != nil {
				t.Fatal(err)
			}
			return a
		},
		"the other node has another algorithm now": func(t *testing.T, store auth.Store, _ *Keys) *Keys {
			k, err := Open(t.Context(), store, Options{Algorithm: "ES256", CacheSize: 64})
			if err != nil {
				t.Fatal(err)
			}
			return k
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &countingStore{mapStore: newStore()}
				a, b := openNow(t, store, 0), openNow(t, store, 0)
				g := auth.Grant{AccessTTL: time.Hour, Now: time.Now(), Identity: auth.Identity{UserID: 1, SessionID: auth.NewSessionID()}}
				text, err := act(t, store, a).Sign(g)
				if err != nil {
					t.Fatal(err)
				}
				store.reads.Store(0)
				var group sync.WaitGroup
				for range 100 { // all at once
					group.Go(func() {
						if _, err := b.Verify(text); err != nil {
							t.Errorf("refused: %v", err)
						}
					})
				}
				group.Wait()
				if n := store.reads.Load(); n > 2 {
					t.Errorf("the keys were read %d times", n)
				}
				back, err := b.Sign(g)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := a.Verify(back); err != nil {
					t.Errorf("the other way: %v", err)
				}
			})
		})
	}
}

// strange is a token in our form with a key of nobody's.
func strange(t *testing.T, n int) string {
	t.Helper()
	h, err := header("ES256", fmt.Sprintf("%043d", n))
	if err != nil {
		t.Fatal(err)
	}
	return h + "." + base64url.EncodeToString([]byte("{}")) + "." + strings.Repeat("A", 86)
}

// Attack: strangers make up key ids, so that each request reads the store.
func TestStrangersCannotMakeUsReadMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &countingStore{mapStore: newStore()}
		k := openNow(t, store, 0)
		store.reads.Store(0)
		begin := time.Now()
		var group sync.WaitGroup
		for i := range 200 {
			group.Go(func() {
				for j := range 10 {
					if _, err := k.Verify(strange(t, 10*i+j)); !errors.Is(err, auth.Refuse(auth.CodeTokenInvalid)) {
						t.Errorf("got %v", err)
					}
				}
			})
		}
		group.Wait()
		took := time.Since(begin)
		if n, most := store.reads.Load(), int64(took/learnEvery)+1; n > most {
			t.Errorf("%d readings in %v, want at most %d", n, took, most)
		}
		if took > 12*2*learnEvery {
			t.Errorf("ten requests one after the other took %v", took)
		}
	})
}

// After a revocation every client comes with a token of a key that is gone.
// Looking for it once a second is enough, and none of them waits for it.
func TestKeysThatAreGoneAreNotLookedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &countingStore{mapStore: newStore()}
		k := openNow(t, store, 0)
		store.reads.Store(0)
		begin := time.Now()
		for range 1000 {
			if _, err := k.Verify(strange(t, 1)); !errors.Is(err, auth.Refuse(auth.CodeTokenInvalid)) {
				t.Fatalf("got %v", err)
			}
		}
		if n := store.reads.Load(); n != 1 || time.Since(begin) > learnEvery {
			t.Errorf("%d readings, in %v", n, time.Since(begin))
		}
		time.Sleep(strangeFor)
		_, _ = k.Verify(strange(t, 1))
		if n := store.reads.Load(); n != 2 {
			t.Errorf("a second later: %d readings", n)
		}
	})
}

// A store that cannot be asked is a fault of ours: whoever has a token of a new
// key must not be told that it is a bad one. Garbage is garbage all the same.
func TestUnknownKeysOnABrokenStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		k := openNow(t, store, 0)
		store.err = auth.ErrUnavailable
		if _, err := k.Verify(strange(t, 1)); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		text := strange(t, 1)
		for name, text := range map[string]string{
			"no token":            "x.y.z",
			"another spelling":    "+" + text[1:],
			"a short kid":         base64url.EncodeToString([]byte(`{"alg":"ES256","kid":"x","typ":"at+jwt"}`)) + text[strings.Index(text, "."):],
			"another algorithm":   base64url.EncodeToString([]byte(`{"alg":"none","kid":"`+strings.Repeat("0", 43)+`","typ":"at+jwt"}`)) + text[strings.Index(text, "."):],
			"more in the header":  base64url.EncodeToString([]byte(`{"alg":"ES256","kid":"`+strings.Repeat("0", 43)+`","typ":"at+jwt","x":1}`)) + text[strings.Index(text, "."):],
			"spaces in the kid":   base64url.EncodeToString([]byte(`{"alg":"ES256","kid":"`+strings.Repeat(" ", 43)+`","typ":"at+jwt"}`)) + text[strings.Index(text, "."):],
			"a header of numbers": base64url.EncodeToString([]byte(`{"alg":1}`)) + text[strings.Index(text, "."):],
		} {
			if _, err := k.Verify(text); !errors.Is(err, auth.Refuse(auth.CodeTokenInvalid)) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	})
}
