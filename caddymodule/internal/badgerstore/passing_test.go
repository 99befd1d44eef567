package badgerstore

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// What has expired cannot be read from the files two days later, not even by
// someone who has every key and knows what it was called.
func TestExpiredRecordsAreNoise(t *testing.T) {
	var passed atomic.Int64
	start := time.Date(2027, 3, 1, 22, 0, 0, 0, time.UTC)
	now := func() time.Time { return start.Add(time.Duration(passed.Load())) }
	opt := Options{Path: t.TempDir(), Now: now}
	s := openTest(t, opt)
	write := func(key string, lives time.Duration, owner uint64, unlisted bool) auth.Write {
		w := auth.Write{Key: key, Value: []byte("secret of " + key), Owner: owner, Unlisted: unlisted}
		if lives != 0 {
			w.Expires = start.Add(lives)
		}
		return w
	}
	for _, w := range []auth.Write{
		write("challenge/known", 5*time.Minute, 0, true), write("notify/lane", 72*time.Hour, 0, false),
		write("keys/kept", 0, 0, false), write("session/owned", 5*time.Minute, 7, false),
	} {
		if _, err := s.Swap(t.Context(), 0, w); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name     string
		at       time.Duration
		readable map[string]bool
	}{
		{"a day after the first expiry", 25 * time.Hour, map[string]bool{"challenge/known": true, "notify/lane": true, "keys/kept": true, "session/owned": true}},
		{"at the end of the second day", 26*time.Hour + 2*time.Hour, map[string]bool{"notify/lane": true, "keys/kept": true, "session/owned": true}},
		{"after the other one", 72*time.Hour + 2*dayLength, map[string]bool{"keys/kept": true, "session/owned": true}},
	} {
		passed.Store(int64(c.at))
		s.stop()
		s.keeping.Wait() // the keeper may be sweeping
		if err := s.sweep(); err != nil {
			t.Fatal(err)
		}
		opened := bytes.Join(carve(t, opt.Path, testSeal(), []string{"challenge/known"}), []byte("\n"))
		for _, key := range []string{"challenge/known", "notify/lane", "keys/kept", "session/owned"} {
			if got := bytes.Contains(opened, []byte("secret of "+key)); got != c.readable[key] {
				t.Errorf("%s: %s can be read: %v", c.name, key, got)
			}
		}
	}
	// The clock is set back: a record that is gone for good reads as missing.
	passed.Store(0)
	r, err := s.Get(t.Context(), "challenge/known", "notify/lane", "keys/kept")
	if err != nil || r[0].Version != 0 || r[1].Version != 0 || r[2].Version == 0 {
		t.Errorf("got %v, %v", r, err)
	}
	if _, err := s.Swap(t.Context(), 0, write("challenge/known", time.Minute, 0, true)); err != nil {
		t.Error(err)
	}
	if r, err := s.Get(t.Context(), "challenge/known"); err != nil || r[0].Version == 0 {
		t.Errorf("what is written then is lost: %v, %v", r, err)
	}
}
