package vault

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
)

func testRing(store auth.Store) *Keyring {
	return &Keyring{Store: store, Now: time.Now, Witnesses: []string{"keys/ES256", "keys/EdDSA"}}
}

func (k *Keyring) mustOpen(t *testing.T, m *Master) *Vault {
	t.Helper()
	v, err := k.Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (k *Keyring) refuses(t *testing.T, when string, m *Master, says string) {
	t.Helper()
	if _, err := k.Open(t.Context(), m); !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got %v, want %q", when, err, says)
	}
}

func TestRootIsMadeOnce(t *testing.T) {
	store := memstore.New(time.Now)
	prints := make([]string, 16)
	var group sync.WaitGroup
	for i := range prints {
		group.Go(func() {
			v, err := testRing(store).Open(t.Context(), testMaster(t, 1))
			if err != nil {
				t.Error(err)
				return
			}
			prints[i] = v.Fingerprint()
		})
	}
	group.Wait()
	for i, print := range prints {
		if print != prints[0] || print == "" {
			t.Errorf("node %d has another root key", i)
		}
	}
	if other := testRing(memstore.New(time.Now)).mustOpen(t, testMaster(t, 1)); other.Fingerprint() == prints[0] {
		t.Error("two stores have the same root key")
	}
}

// Rotation overlaps: until the old key is retired, a node with either one opens
// the same root.
func TestMasterKeysOverlap(t *testing.T) {
	ring, a, b, c := testRing(memstore.New(time.Now)), testMaster(t, 1), testMaster(t, 2), testMaster(t, 3)
	root := ring.mustOpen(t, a).Fingerprint()
	if err := ring.Add(t.Context(), b, b); !errors.Is(err, ErrOtherMaster) {
		t.Errorf("a key that opens nothing let itself in: %v", err)
	}
	for range 2 { // the second time it is there already
		if err := ring.Add(t.Context(), a, b); err != nil {
			t.Fatal(err)
		}
	}
	if ring.mustOpen(t, a).Fingerprint() != root || ring.mustOpen(t, b).Fingerprint() != root {
		t.Error("the keys open different roots")
	}
	ring.refuses(t, "a third key", c, "another master key")
	if err := ring.Retire(t.Context(), c); !errors.Is(err, ErrOtherMaster) {
		t.Errorf("a key that opens nothing locked everybody out: %v", err)
	}
	for range 2 {
		if err := ring.Retire(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	ring.refuses(t, "the retired key", a, "another master key")
	if ring.mustOpen(t, b).Fingerprint() != root {
		t.Error("another root")
	}
	if list, err := ring.Wraps(t.Context()); err != nil || len(list) != 1 || list[0].Fingerprint != b.Fingerprint() {
		t.Errorf("listed %v, %v", list, err)
	}
}

// Attack, or a lost file: a store without its root key would get a new one, and
// with it everything that is sealed were noise for good.
func TestALostRootIsNotMadeAnew(t *testing.T) {
	for name, seal := range map[string]bool{"open": false, "sealed": true} {
		records := memstore.New(time.Now)
		var store auth.Store = records
		if seal {
			store = lateStore{records, new(Late)}
		}
		if _, err := records.Swap(t.Context(), 0, auth.Write{Key: "keys/EdDSA", Value: []byte("sealed")}); err != nil {
			t.Fatal(err)
		}
		ring := testRing(store)
		ring.refuses(t, name, testMaster(t, 1), "that of the root key is gone; restore a backup")
		if _, err := ring.Wraps(t.Context()); !errors.Is(err, errNoRoot) {
			t.Errorf("%s: listed with %v", name, err)
		}
	}
}

// lateStore reads through a sealer that has no vault yet, as engines do.
type lateStore struct {
	auth.Store
	late *Late
}

func (s lateStore) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	records, err := s.Store.Get(ctx, keys...)
	for i := range records {
		if records[i].Version != 0 && err == nil {
			records[i].Value, err = s.late.Open(keys[i], records[i].Value, nil)
		}
	}
	return records, err
}

func TestLateSealer(t *testing.T) {
	late := new(Late)
	open := func(key string, sealed []byte) (string, error) {
		plain, err := late.Open(key, sealed, nil)
		return string(plain), err
	}
	wrapped := late.Seal(auth.Write{Key: RootRecord, Value: []byte("wrapped")}, 0, nil)
	if !bytes.Contains(wrapped, []byte("wrapped")) {
		t.Errorf("the root's record is sealed: %q", wrapped)
	}
	if got, err := open(RootRecord, wrapped); err != nil || got != "wrapped" {
		t.Errorf("got %q, %v", got, err)
	}
	sealed := testVault(t, 1).mustSeal(t, auth.Write{Key: "user/1", Value: []byte("value")}, nil)
	if _, err := open("user/1", sealed); !errors.Is(err, ErrLocked) || !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("before there is a vault: %v", err)
	}
	if _, err := late.Reveal(sealed, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("before there is a vault: %v", err)
	}
	for what, do := range map[string]func(){
		"a record was written in the clear": func() { late.Seal(auth.Write{Key: "user/1", Value: []byte("value")}, 0, nil) },
		"a key was shown":                   func() { late.Name("user/1") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error(what)
				}
			}()
			do()
		}()
	}
	if name := late.Name(RootRecord); !bytes.Equal(name, testVault(t, 1).Name(RootRecord)) {
		t.Error("the root's record is elsewhere before there is a vault")
	}
	late.Use(testVault(t, 1))
	if got, err := open("user/1", sealed); err != nil || got != "value" {
		t.Errorf("got %q, %v", got, err)
	}
	if w, err := late.Reveal(wrapped, nil); err != nil || w.Key != RootRecord || string(w.Value) != "wrapped" {
		t.Errorf("the root's record shows as %v, %v", w, err)
	}
	// Attack: a record that the sealer lets pass is moved to another name.
	if _, err := open("user/1", wrapped); err == nil {
		t.Error("an open record was taken for a sealed one")
	}
	if _, err := open(RootRecord, sealed); err == nil {
		t.Error("another's record was taken for the root's")
	}
}

// stumbling is a store whose n-th call fails, or is overtaken.
type stumbling struct {
	auth.Store
	n   int
	err error
}

func (s *stumbling) trip() error {
	s.n--
	if s.n == -1 {
		return s.err
	}
	return nil
}

func (s *stumbling) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	if err := s.trip(); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, keys...)
}

func (s *stumbling) Swap(ctx context.Context, v auth.Version, w auth.Write) (auth.Version, error) {
	if err := s.trip(); err != nil {
		return 0, err
	}
	return s.Store.Swap(ctx, v, w)
}

func (s *stumbling) Sync(ctx context.Context) error {
	if err := s.trip(); err != nil {
		return err
	}
	return s.Store.Sync(ctx)
}

// Whichever call fails, the fault is told, and the next try works.
func TestKeyringOnABrokenStore(t *testing.T) {
	a, b := testMaster(t, 1), testMaster(t, 2)
	acts := []struct {
		name string
		do   func(*Keyring) error
	}{
		{"opening", func(k *Keyring) error { _, err := k.Open(t.Context(), a); return err }},
		{"adding", func(k *Keyring) error { return k.Add(t.Context(), a, b) }},
		{"retiring", func(k *Keyring) error { return k.Retire(t.Context(), b) }},
		{"listing", func(k *Keyring) error { _, err := k.Wraps(t.Context()); return err }},
	}
	store := memstore.New(time.Now)
	for _, act := range acts {
		broken := 0
		for n := 0; ; n++ {
			s := &stumbling{store, n, auth.ErrUnavailable}
			err := act.do(testRing(s))
			if s.n >= 0 { // it was not reached
				if err != nil {
					t.Errorf("%s: %v", act.name, err)
				}
				break
			}
			broken++
			if !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("%s, call %d: got %v", act.name, n, err)
			}
		}
		if broken == 0 {
			t.Errorf("%s: nothing broke", act.name)
		}
	}
	// Overtaken once, a change is made anew.
	if err := testRing(&stumbling{store, 1, auth.ErrConflict}).Add(t.Context(), b, a); err != nil {
		t.Error(err)
	}
	if list, err := testRing(store).Wraps(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
}

// Two nodes change the record at the same time, again and again: neither change
// is lost.
func TestKeyringRaces(t *testing.T) {
	store, a := memstore.New(time.Now), testMaster(t, 1)
	testRing(store).mustOpen(t, a)
	var group sync.WaitGroup
	for i := range maxWraps - 1 {
		group.Go(func() {
			if err := testRing(store).Add(t.Context(), a, testMaster(t, byte(i+2))); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if list, err := testRing(store).Wraps(t.Context()); err != nil || len(list) != maxWraps {
		t.Errorf("%d keys, %v", len(list), err)
	}
}

// A store that is made of another one's backup has its root key, under a master
// key of its own.
func TestRootMovesToAnotherStore(t *testing.T) {
	from, to, a, b := testRing(memstore.New(time.Now)), testRing(memstore.New(time.Now)), testMaster(t, 1), testMaster(t, 2)
	want := from.mustOpen(t, a)
	if _, err := from.Root(t.Context(), b); err == nil {
		t.Error("a master key that does not open the store got its root key")
	}
	root, err := from.Root(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Plant(t.Context(), root[1:], b); err == nil {
		t.Error("half a root key was taken")
	}
	planted, err := to.Plant(t.Context(), root, b)
	if err != nil || planted.Fingerprint() != want.Fingerprint() {
		t.Fatalf("another root key was planted: %v", err)
	}
	if got := to.mustOpen(t, b); got.Fingerprint() != want.Fingerprint() || got.Index("phone", "+46701234567") != want.Index("phone", "+46701234567") {
		t.Error("the root key is another one at the next start")
	}
	to.refuses(t, "under the first store's master key", a, "another master key")
	if _, err := to.Plant(t.Context(), NewKey(), b); err == nil {
		t.Error("the root key of a store was replaced")
	}
}
