package badgerstore

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// A full disk kills a process that writes through mmap, so writes stop before
// it is full; ends of sessions stop last.
func TestLittleSpace(t *testing.T) {
	s := openTest(t, Options{Path: t.TempDir()})
	free := atomic.Uint64{}
	s.space.ask = func() (uint64, error) { return free.Load(), nil }
	write := func(key string, ending bool) error {
		s.space.mu.Lock()
		s.space.until = time.Time{}
		s.space.mu.Unlock()
		w := auth.Write{Key: key, Value: []byte("v"), Ending: ending}
		_, err := s.Swap(t.Context(), 0, w)
		if putErr := s.Put(t.Context(), []auth.Write{{Key: "p", Value: []byte("v"), Ending: ending}}); (putErr == nil) != (err == nil) {
			t.Errorf("swap: %v; put: %v", err, putErr)
		}
		return err
	}
	free.Store(64 << 20)
	if err := write("1", false); err != nil {
		t.Errorf("at the floor: %v", err)
	}
	free.Store(64<<20 - 1)
	wantUnavailable(t, write("2", false), "63 MiB free, 64 MiB needed")
	if err := write("3", true); err != nil {
		t.Errorf("ending below the floor: %v", err)
	}
	free.Store(8<<20 - 1)
	wantUnavailable(t, write("4", true), "disk is full")
	if r, err := s.Get(t.Context(), "1", "3"); err != nil || r[0].Version == 0 || r[1].Version == 0 {
		t.Errorf("reading on a full disk: %v %v", r, err)
	}
	free.Store(1 << 40)
	if err := write("5", false); err != nil {
		t.Errorf("with space again: %v", err)
	}
}

func TestSpaceIsAskedSeldom(t *testing.T) {
	asked, failure := 0, error(nil)
	s := &space{floor: 64 << 20, ask: func() (uint64, error) { asked++; return 1 << 40, failure }}
	for range 1000 {
		if err := s.check(false, 100); err != nil {
			t.Fatal(err)
		}
	}
	if asked > 2 {
		t.Errorf("asked %d times", asked)
	}
	asked = 0
	for range 1000 { // 64 MB within a second would pass the floor unseen
		_ = s.check(false, 64<<10)
	}
	if asked < 7 {
		t.Errorf("asked %d times while 64 MB were written", asked)
	}
	s.until, failure = time.Time{}, errors.New("no such disk")
	wantUnavailable(t, s.check(true, 1), "no such disk")
}

// A node whose disk is below its floor still reads, and is not ready.
func TestFullDiskIsNotHealthy(t *testing.T) {
	s := openTest(t, Options{Path: t.TempDir()})
	free := uint64(1 << 40)
	s.space.ask = func() (uint64, error) { return free, nil }
	now := time.Now()
	h := auth.Health{Store: s, Now: func() time.Time { return now }}
	if err := h.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	free, now = 64<<20-1, now.Add(time.Minute)
	s.space.until = time.Time{}
	wantUnavailable(t, h.Check(t.Context()), "the disk is full")
	if _, err := s.Get(t.Context(), "health"); err != nil {
		t.Errorf("reading: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, h.Check(t.Context()), "closed")
}
