package badgerstore

import (
	"fmt"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Logs are 16 MiB. The store must follow them, or a commit at the end of a full
// one would be answered before it is on the disk.
func TestSyncFollowsTheLogs(t *testing.T) {
	s := openTest(t, Options{Path: t.TempDir()})
	first := s.wal.number
	for _, c := range []struct {
		name      string
		megabytes int
	}{{"one log on", 20}, {"several logs come and gone", 100}, {"none", 1}} {
		for i := range c.megabytes {
			writes := make([]auth.Write, 16)
			for n := range writes {
				writes[n] = auth.Write{Key: fmt.Sprint(i%4, "/", n), Value: make([]byte, 64<<10)}
			}
			if err := s.Put(t.Context(), writes); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Sync(t.Context()); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		numbers, err := logNumbers(s.wal.dir)
		if err != nil || s.wal.number != numbers[len(numbers)-1] {
			t.Errorf("%s: at log %d of %v, %v", c.name, s.wal.number, numbers, err)
		}
	}
	if s.wal.number < first+4 {
		t.Errorf("only %d logs passed", s.wal.number-first)
	}
}

func TestIdleSyncIsFree(t *testing.T) {
	s := openTest(t, Options{Path: t.TempDir()})
	if _, err := s.Swap(t.Context(), 0, auth.Write{Key: "k", Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	s.wal.mu.Lock() // a sync would hang
	defer s.wal.mu.Unlock()
	if err := s.Sync(t.Context()); err != nil {
		t.Error(err)
	}
}
