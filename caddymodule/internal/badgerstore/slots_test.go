package badgerstore

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// owners makes a store with records of ten owners, and returns its path.
func owners(t *testing.T) string {
	t.Helper()
	path := t.TempDir()
	s := openTest(t, Options{Path: path})
	for n := range 10 {
		if _, err := s.Swap(t.Context(), 0, ownedBy(uint64(n+1))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func ownedBy(owner uint64) auth.Write {
	return auth.Write{Key: fmt.Sprint("user/", owner), Value: []byte("somebody"), Owner: owner}
}

// A file of data keys that lost something does not open, and the operator is
// told what to do. Otherwise new keys would get the numbers of lost ones.
func TestDamagedSlotsFile(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, name string)
		why    string // empty: opens
	}{
		{"untouched", func(*testing.T, string) {}, ""},
		{"a part of a slot, which a crash has left", func(t *testing.T, name string) {
			data := append(readFile(t, name), make([]byte, 17)...)
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"missing", remove, "is missing: restore a backup"},
		{"empty", func(t *testing.T, name string) { cut(t, name, to(0)) }, "is damaged"},
		{"cut in its head", func(t *testing.T, name string) { cut(t, name, to(30)) }, "is damaged"},
		{"only a head", func(t *testing.T, name string) { cut(t, name, to(slotSize)) }, "was cut short, it has 0 keys and had 10"},
		{"the last slot is gone", func(t *testing.T, name string) { cut(t, name, to(10*slotSize)) }, "was cut short, it has 9 keys and had 10"},
		{"the last byte is gone", func(t *testing.T, name string) { cut(t, name, func(n int64) int64 { return n - 1 }) }, "was cut short"},
		{"of another format", func(t *testing.T, name string) { flip(t, name, func(int) int { return 27 }) }, "of another version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := owners(t)
			c.damage(t, slotsFile(path))
			if c.why != "" {
				refused(t, Options{Path: path}, c.why)
				refused(t, Options{Path: path}, c.why) // refusing repairs nothing
				return
			}
			s := openTest(t, Options{Path: path})
			if _, err := s.Swap(t.Context(), 0, ownedBy(11)); err != nil {
				t.Fatal(err)
			}
			if r, err := s.Get(t.Context(), "user/1", "user/10", "user/11"); err != nil || string(r[2].Value) != "somebody" {
				t.Errorf("got %v, %v", r, err)
			}
		})
	}
}

// One slot that is damaged, or half overwritten, is a fault for the records of
// one owner, and never looks as if the owner had been erased.
func TestDamagedSlot(t *testing.T) {
	for name, damage := range map[string]func(held []byte) []byte{
		"a flipped bit":    func(held []byte) []byte { held[40] ^= 1; return held },
		"a hole":           func([]byte) []byte { return make([]byte, slotSize) },
		"half overwritten": func(held []byte) []byte { return append(testSeal().ErasedSlot(3)[:32], held[32:]...) },
		"another's":        func([]byte) []byte { return testSeal().NewSlot(4) },
		"another's erased": func([]byte) []byte { return testSeal().ErasedSlot(4) },
	} {
		t.Run(name, func(t *testing.T) {
			path := owners(t)
			data := readFile(t, slotsFile(path))
			copy(data[3*slotSize:], damage(data[3*slotSize:4*slotSize:4*slotSize]))
			if err := os.WriteFile(slotsFile(path), data, 0o600); err != nil {
				t.Fatal(err)
			}
			s := openTest(t, Options{Path: path})
			_, getErr := s.Get(t.Context(), "user/3")
			_, swapErr := s.Swap(t.Context(), 0, auth.Write{Key: "device/3", Value: []byte("v"), Owner: 3})
			_, listErr := s.List(t.Context(), "user/", "", 20)
			for _, err := range []error{getErr, swapErr, listErr} {
				wantUnavailable(t, err, "the data key 3 is damaged")
			}
			if _, err := s.Get(t.Context(), "user/2", "user/4"); err != nil {
				t.Error(err)
			}
			if _, err := s.Swap(t.Context(), 0, auth.Write{Key: "device/4", Value: []byte("v"), Owner: 4}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSlotsFileIsPrivate(t *testing.T) {
	if info, err := os.Stat(slotsFile(owners(t))); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// A kill between any two steps of an erasure leaves the owner erased or not, and
// the same call finishes it.
func TestKillBetweenTheStepsOfAnErasure(t *testing.T) {
	until := time.Now().Add(time.Minute)
	steps := []func(s *Store) error{
		func(s *Store) error { return s.slots.overwrite(3, s.opt.Seal.ErasedSlot(3)) },
		func(s *Store) error { return s.noteErased(3, 3, until) },
		func(s *Store) error { return s.durable() },
	}
	for n := range len(steps) + 1 {
		s := openTest(t, Options{Path: owners(t)})
		for _, step := range steps[:n] {
			if err := step(s); err != nil {
				t.Fatal(err)
			}
		}
		killed := t.TempDir()
		if err := os.CopyFS(killed, os.DirFS(s.opt.Path)); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, Options{Path: killed})
		r, err := s.Get(t.Context(), "user/3", "user/4")
		if err != nil || (r[0].Version == 0) != (n > 0) || r[1].Version == 0 {
			t.Fatalf("after %d steps: %v, %v", n, r, err)
		}
		if n == 1 { // the owner may come back at once
			if _, err := s.Swap(t.Context(), 0, ownedBy(3)); err != nil {
				t.Fatal(err)
			}
			if r, err := s.Get(t.Context(), "user/3"); err != nil || r[0].Version == 0 {
				t.Fatalf("what is written then is lost: %v, %v", r, err)
			}
		}
		if err := s.Erase(t.Context(), 3, until); err != nil {
			t.Fatal(err)
		}
		for _, plain := range carve(t, killed, testSeal(), nil) {
			if string(plain) == "user/3 somebody" {
				t.Errorf("after %d steps: it opens", n)
			}
		}
	}
}

// The process is killed at any moment, again and again: what was answered as
// erased is, and everything else goes on.
func TestKilledWhileErasing(t *testing.T) {
	path := t.TempDir()
	erased, kept := map[string]bool{}, map[string]bool{}
	for range 4 {
		lines, kill := child(t, "erase", path)
		for n := 0; n < 60 && lines.Scan(); n++ {
			noteErasure(t, lines.Text(), erased, kept)
		}
		kill()
		for lines.Scan() {
			noteErasure(t, lines.Text(), erased, kept)
		}
	}
	s := openTest(t, Options{Path: path, LockWait: 5 * time.Second})
	for key := range kept {
		if r, err := s.Get(t.Context(), key); err != nil || r[0].Version == 0 {
			t.Errorf("%s is lost: %v", key, err)
		}
	}
	opened := map[string]bool{}
	for _, plain := range carve(t, path, testSeal(), nil) {
		opened[string(plain)] = true
	}
	for key := range erased {
		if opened[key+" somebody"] {
			t.Errorf("%s was erased and opens", key)
		}
	}
	if len(erased) < 20 || len(kept) < 20 {
		t.Errorf("%d erased, %d kept", len(erased), len(kept))
	}
}

func noteErasure(t *testing.T, line string, erased, kept map[string]bool) {
	t.Helper()
	var word, key string
	if n, _ := fmt.Sscan(line, &word, &key); n < 2 {
		return // cut by the kill
	}
	switch word {
	case "erased":
		erased[key] = true
	case "kept":
		kept[key] = true
	default:
		t.Fatalf("child: %s", line)
	}
}
