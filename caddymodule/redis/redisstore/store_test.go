package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/vault"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
	"github.com/sidegate/sidegate/caddymodule/storetest"
)

// start begins servers that end with the test.
func start[T interface{ Close() error }](t *testing.T, begin func(dir string, args ...string) (T, error), args ...string) T {
	t.Helper()
	redistest.Need(t)
	servers, err := begin(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	return servers
}

// topologies are the ways in which Redis runs.
func topologies(t *testing.T, test func(t *testing.T, opt Options)) {
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		test(t, Options{Addresses: []string{start(t, redistest.Start).Address}})
	})
	t.Run("Sentinel", func(t *testing.T) {
		t.Parallel()
		test(t, Options{Addresses: start(t, redistest.StartWatched).Addresses(), Master: redistest.Master, Replicas: 1})
	})
	t.Run("Cluster", func(t *testing.T) {
		t.Parallel()
		test(t, Options{Addresses: start(t, redistest.StartCluster).Addresses()[:2], Replicas: 1})
	})
}

var opened atomic.Int64

// openTest opens a store with a prefix of its own, so that it is empty.
func openTest(t testing.TB, opt Options) *Store {
	t.Helper()
	opt.Prefix = freshPrefix()
	return openAt(t, opt)
}

func freshPrefix() string { return fmt.Sprintf("test%d:", opened.Add(1)) }

func openAt(t testing.TB, opt Options) *Store {
	t.Helper()
	if opt.Seal == nil {
		opt.Seal = testVault(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := Open(ctx, opt)
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

func testVault(t testing.TB) *vault.Vault {
	t.Helper()
	v, err := vault.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestConformance(t *testing.T) {
	topologies(t, func(t *testing.T, opt Options) {
		open := func(t *testing.T, now func() time.Time) auth.Store {
			opt.Now = now
			return openTest(t, opt)
		}
		storetest.Run(t, open)
		t.Run("rotation", func(t *testing.T) { storetest.Rotation(t, open) })
		t.Run("limits", func(t *testing.T) { storetest.Limits(t, open) })
	})
}

func TestClosedStoreIsUnavailable(t *testing.T) {
	s := openTest(t, Options{Addresses: []string{start(t, redistest.Start).Address}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "k"); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
}
