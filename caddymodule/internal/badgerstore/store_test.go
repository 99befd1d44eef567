package badgerstore

import (
	"crypto/aes"
	"crypto/cipher"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/storetest"
)

func TestConformance(t *testing.T) {
	for name, seal := range map[string]Sealer{"in the clear": nil, "sealed": newTestSealer(t)} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, now func() time.Time) auth.Store {
				return openTest(t, Options{Path: t.TempDir(), Now: now, Seal: seal})
			})
		})
	}
}

func TestRotation(t *testing.T) {
	storetest.Rotation(t, func(t *testing.T, now func() time.Time) auth.Store {
		return openTest(t, Options{Path: t.TempDir(), Now: now, Seal: newTestSealer(t)})
	})
}

func TestLimits(t *testing.T) {
	storetest.Limits(t, func(t *testing.T, now func() time.Time) auth.Store {
		return openTest(t, Options{Path: t.TempDir(), Now: now, Seal: newTestSealer(t)})
	})
}

// openTest opens a store and closes it when the test ends.
func openTest(t testing.TB, opt Options) *Store {
	t.Helper()
	if opt.LockWait == 0 {
		opt.LockWait = -1
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

type testSealer struct{ cipher.AEAD }

func newTestSealer(t interface {
	Helper()
	Fatal(...any)
}) testSealer {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return testSealer{aead}
}

func (s testSealer) Seal(key string, plain []byte) []byte {
	return s.AEAD.Seal(nil, nil, plain, []byte(key))
}

func (s testSealer) Open(key string, sealed []byte) ([]byte, error) {
	return s.AEAD.Open(nil, nil, sealed, []byte(key))
}
