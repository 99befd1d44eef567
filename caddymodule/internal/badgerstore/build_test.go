package badgerstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// fillWith puts one record.
func fillWith(t *testing.T, value string) func(*Store) error {
	return func(s *Store) error {
		return s.Put(t.Context(), []auth.Write{{Key: "user/1", Value: []byte(value)}})
	}
}

func holds(t *testing.T, opt Options, want string) {
	t.Helper()
	got, err := openTest(t, opt).Get(t.Context(), "user/1")
	if err != nil || string(got[0].Value) != want {
		t.Errorf("the store holds %q, want %q: %v", got[0].Value, want, err)
	}
}

func TestBuiltStoreOpens(t *testing.T) {
	opt := Options{Path: filepath.Join(t.TempDir(), "new"), Seal: testSeal(), LockWait: -1}
	if err := Build(opt, fillWith(t, "alice")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(opt.Path, "growing")); err == nil {
		t.Error("something is left of the building")
	}
	holds(t, opt, "alice")
}

func TestBuildingIsWholeOrNotAtAll(t *testing.T) {
	opt := Options{Path: t.TempDir(), Seal: testSeal(), LockWait: -1}
	fault := errors.New("a damaged backup")
	if err := Build(opt, func(s *Store) error { return errors.Join(fillWith(t, "half")(s), fault) }); !errors.Is(err, fault) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(opt.Path); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	// What a kill leaves is no hindrance: in the middle, and between the last steps.
	for _, file := range []string{"growing/db/000001.mem", "epoch"} {
		name := filepath.Join(opt.Path, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte("99\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(opt); err == nil {
		t.Error("a store without its database opens")
	}
	if err := os.Remove(filepath.Join(opt.Path, "db")); err != nil { // Open has made it
		t.Fatal(err)
	}
	if err := Build(opt, fillWith(t, "whole")); err != nil {
		t.Fatal(err)
	}
	holds(t, opt, "whole")
}

func TestAStoreIsNotBuiltOver(t *testing.T) {
	opt := Options{Path: t.TempDir(), Seal: testSeal(), LockWait: -1}
	if err := Build(opt, fillWith(t, "first")); err != nil {
		t.Fatal(err)
	}
	if err := Build(opt, fillWith(t, "second")); err == nil || !strings.Contains(err.Error(), "there is a store already") {
		t.Errorf("got %v", err)
	}
	s := openTest(t, opt)
	if err := Build(opt, fillWith(t, "second")); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("while it is open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dbDir(opt.Path)); err != nil {
		t.Fatal(err)
	}
	if err := Build(opt, fillWith(t, "second")); err == nil {
		t.Error("an epoch without a database is one of a store that was lost")
	}
}
