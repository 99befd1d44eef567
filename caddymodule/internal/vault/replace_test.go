package vault

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
)

// opens starts anew: with the key that the file has, the same root.
func opens(t *testing.T, when string, ring *Keyring, path, root string) *Master {
	t.Helper()
	key, err := loadKey(path)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	m, err := NewMaster(key)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ring.Open(t.Context(), m)
	if err != nil || v.Fingerprint() != root {
		t.Fatalf("%s: the key of the file does not open the root: %v", when, err)
	}
	return m
}

func startWithFile(t *testing.T, store auth.Store) (ring *Keyring, path, root string, m *Master) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "master.key")
	key, err := LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = NewMaster(key); err != nil {
		t.Fatal(err)
	}
	ring = testRing(store)
	return ring, path, ring.mustOpen(t, m).Fingerprint(), m
}

// A kill after each step leaves a key file that opens the store, and the next
// replacement works.
func TestKillBetweenTheStepsOfAReplacement(t *testing.T) {
	ring, path, root, _ := startWithFile(t, memstore.New(time.Now))
	steps := len((&replacement{}).steps())
	for n := range steps + 1 {
		m := opens(t, "before", ring, path, root)
		r := &replacement{ring: ring, path: path, old: m, key: NewKey()}
		for _, step := range r.steps()[:n] {
			if err := step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		m = opens(t, "killed", ring, path, root)
		if err := ring.Retire(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		opens(t, "killed, the others retired", ring, path, root)
		if err := ring.ReplaceKey(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if now := opens(t, "replaced", ring, path, root); now.Fingerprint() == m.Fingerprint() {
			t.Error("the key is the same as before")
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("killed after %d steps: a key is left beside the file: %v, %v", n, entries, err)
		}
	}
}

// Whichever call of the store fails, the file's key opens the store.
func TestReplacementOnABrokenStore(t *testing.T) {
	store := memstore.New(time.Now)
	_, path, root, _ := startWithFile(t, store)
	for n := 0; ; n++ {
		s := &stumbling{store, n, auth.ErrUnavailable}
		err := testRing(s).ReplaceKey(t.Context(), path)
		opens(t, "after the fault", testRing(store), path, root)
		if s.n >= 0 {
			if err != nil || n < 2 {
				t.Errorf("%d calls, %v", n, err)
			}
			return
		}
		if !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("call %d: got %v", n, err)
		}
	}
}

func TestReplacedKeyFile(t *testing.T) {
	ring, path, root, first := startWithFile(t, memstore.New(time.Now))
	if err := ring.ReplaceKey(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("temporary files are left: %v", entries)
	}
	key, err := SettledKey(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMaster(key)
	if err != nil || m.Fingerprint() == first.Fingerprint() {
		t.Errorf("the same key, %v", err)
	}
	if v := ring.mustOpen(t, first); v.Fingerprint() != root {
		t.Error("the old key opens another root")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := ring.ReplaceKey(t.Context(), path); err == nil || !strings.Contains(err.Error(), "reading master key") {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := SettledKey(path); err == nil {
		t.Error("a missing file gives a key")
	}
}
