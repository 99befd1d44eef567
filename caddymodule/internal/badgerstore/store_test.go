package badgerstore

import (
	"bytes"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/vault"
	"github.com/sidegate/sidegate/caddymodule/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) auth.Store {
		return openTest(t, Options{Path: t.TempDir(), Now: now})
	})
}

func TestRotation(t *testing.T) {
	storetest.Rotation(t, func(t *testing.T, now func() time.Time) auth.Store {
		return openTest(t, Options{Path: t.TempDir(), Now: now})
	})
}

func TestLimits(t *testing.T) {
	storetest.Limits(t, func(t *testing.T, now func() time.Time) auth.Store {
		return openTest(t, Options{Path: t.TempDir(), Now: now})
	})
}

// openTest opens a store and closes it when the test ends.
func openTest(t testing.TB, opt Options) *Store {
	t.Helper()
	if opt.LockWait == 0 {
		opt.LockWait = -1
	}
	if opt.Seal == nil {
		opt.Seal = testSeal()
	}
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// testSeal seals under a root key that everybody knows.
func testSeal() *vault.Vault { return sealOf(1) }

func sealOf(root byte) *vault.Vault {
	v, err := vault.New(bytes.Repeat([]byte{root}, vault.KeySize))
	if err != nil {
		panic(err)
	}
	return v
}
