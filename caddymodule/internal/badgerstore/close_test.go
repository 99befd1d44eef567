package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestClosedStoreIsUnavailable(t *testing.T) {
	s := openTest(t, Options{Path: t.TempDir()})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, getErr := s.Get(t.Context(), "k")
	_, swapErr := s.Swap(t.Context(), 0, auth.Write{Key: "k", Value: []byte("v")})
	for _, err := range []error{getErr, swapErr, s.Sync(t.Context()), s.Put(t.Context(), []auth.Write{{Key: "k"}})} {
		wantUnavailable(t, err, "closed")
	}
}

// A reload closes the store under requests that are still running: each of
// them gets an answer, and what was answered with yes is there afterwards.
func TestCloseUnderLoad(t *testing.T) {
	path := t.TempDir()
	s := openTest(t, Options{Path: path})
	var wg sync.WaitGroup
	written := [32]int{}
	started := make(chan struct{}, len(written))
	for i := range written {
		wg.Go(func() {
			for n, v := 1, auth.Version(0); ; n++ {
				next, err := s.Swap(context.Background(), v, auth.Write{Key: fmt.Sprint(i), Value: []byte(fmt.Sprint(n))})
				if err != nil {
					wantUnavailable(t, err, "")
					return
				}
				if v, written[i] = next, n; n == 1 {
					started <- struct{}{}
				}
			}
		})
	}
	for range written {
		<-started
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	s = openTest(t, Options{Path: path})
	for i, n := range written {
		if r, err := s.Get(t.Context(), fmt.Sprint(i)); err != nil || string(r[0].Value) != fmt.Sprint(n) {
			t.Errorf("key %d: answered %d, found %q, %v", i, n, r[0].Value, err)
		}
	}
}

// A disk that hangs must not hang whoever has a deadline.
func TestStalledSyncHonoursTheContext(t *testing.T) {
	s := openTest(t, Options{Path: t.TempDir()})
	s.wal.mu.Lock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := s.Swap(ctx, 0, auth.Write{Key: "k", Value: []byte("v")})
	if wantUnavailable(t, err, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Get(t.Context(), "k"); err != nil {
		t.Errorf("reading while a sync hangs: %v", err)
	}
	s.wal.mu.Unlock()
	if err := s.Sync(t.Context()); err != nil {
		t.Error(err)
	}
}

// After a failed fsync the kernel may have dropped what was to be written and
// report success next time, so nothing is answered any more.
func TestFailedSyncIsForEver(t *testing.T) {
	s, err := Open(Options{Path: t.TempDir(), Seal: testSeal()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.wal.mu.Lock()
	s.wal.file.Close()
	s.wal.mu.Unlock()
	for i := range 2 {
		_, err := s.Swap(t.Context(), 0, auth.Write{Key: fmt.Sprint(i), Value: []byte("v")})
		wantUnavailable(t, err, "syncing the log")
	}
}

// When its directory is gone the engine tries to write for ever. Who closes the
// store hears of it instead of waiting: it may be a reload.
func TestCloseWithoutTheDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s, err := Open(Options{Path: path, Seal: testSeal()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Swap(t.Context(), 0, auth.Write{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	s.engineWait = 100 * time.Millisecond
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "the engine has not ended") {
		t.Errorf("got %v", err)
	}
	_, err = s.Get(t.Context(), "k")
	wantUnavailable(t, err, "closed")
}

func TestPanicsAreErrors(t *testing.T) {
	var c calls
	_, err := run(t.Context(), &c, func() (int, error) { panic("engine") })
	wantUnavailable(t, err, "the engine failed: engine")
	select {
	case <-c.close():
	case <-time.After(time.Second):
		t.Error("the call is still counted")
	}
}

func TestGroupSharesRounds(t *testing.T) { synctest.Test(t, groupSharesRounds) }

func groupSharesRounds(t *testing.T) {
	var rounds atomic.Int32
	first, release := make(chan struct{}), make(chan struct{})
	g := newGroup(func() error {
		if rounds.Add(1) == 1 {
			close(first)
			<-release
		}
		return nil
	})
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.join() })
	<-first
	for range 100 { // they come while a round runs, so that one is not theirs
		wg.Go(func() {
			if err := g.join(); err != nil {
				t.Error(err)
			}
		})
	}
	synctest.Wait()
	close(release)
	wg.Wait()
	g.close()
	if n := rounds.Load(); n != 2 {
		t.Errorf("%d rounds for 101 callers", n)
	}
	if err := g.join(); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("joining a closed group: %v", err)
	}
}
