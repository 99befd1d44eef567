package notify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Attack: while the receiver is down a stranger makes noise, so that it will
// never hear that a session has ended.
func TestNoisePushesOutNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r, l := newStore(), new(receiver), newLedger()
		r.answers(down)
		b := node(store, r, l)
		for n := range 50 {
			b.Tell(ended(auth.SessionID{byte(n)}, fmt.Sprint(n)))
		}
		for n := range 4000 {
			b.Tell(auth.Event{Name: auth.EventSendBlocked, At: time.Now(), Cause: "ip_sends", Subject: fmt.Sprintf("%01000d", n), ClientIP: "192.0.2.1"})
			if n%500 == 0 {
				after(time.Second)
			}
		}
		after(time.Minute)
		dropped, _, waiting := l.read()
		if dropped["full"] == 0 || waiting > 3000 {
			t.Errorf("nothing is bounded: dropped %v, %d waiting", dropped, waiting)
		}
		r.answers(nil)
		after(longestPause)
		own := slices.DeleteFunc(r.take(), func(line string) bool { return !strings.HasPrefix(line, "session_ended") })
		if len(own) != 50 {
			t.Errorf("%d of 50 ends were told", len(own))
		}
		closed(t, b)
	})
}

// A receiver that is down for long: the newest are kept, the rest is counted,
// and no record outgrows the store.
func TestOldestGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r, l := newStore(), new(receiver), newLedger()
		r.answers(down)
		b := node(store, r, l)
		const told = 250
		for n := range told {
			e := ended(sessionA, fmt.Sprint(n))
			e.DeviceID = strings.Repeat("<", 64) // as long as JSON makes it
			b.Tell(e)
		}
		dropped, _, waiting := l.read()
		if waiting < 90 || dropped["full"]+waiting != told || len(dropped) != 1 {
			t.Errorf("dropped %v, %d waiting", dropped, waiting)
		}
		r.answers(nil)
		after(longestPause)
		got := r.take()
		if len(got) != waiting || got[0] != fmt.Sprint("session_ended ", told-waiting) || got[len(got)-1] != fmt.Sprint("session_ended ", told-1) {
			t.Errorf("got %d, from %q to %q", len(got), got[0], got[len(got)-1])
		}
		closed(t, b)
	})
}

// Two holders, one of whom may crash or be slow, act on a lane in any order: a
// notice leaves only when it is done, or was counted as dropped, and while a
// lease lasts no other is given.
func TestLane(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		var l lane
		kept, next := map[string]bool{}, 0
		leased, until := "", now
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			holder := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "holder")
			switch rapid.SampledFrom([]string{"add", "lease", "settle", "pass", "age"}).Draw(t, "step") {
			case "add":
				next++
				n := Notice{ID: fmt.Sprint(next), At: now, Cause: strings.Repeat("x", rapid.IntRange(0, 20<<10).Draw(t, "size"))}
				kept[n.ID] = true
				l.Notices = append(l.Notices, n)
			case "lease":
				got := l.lease(holder, now, time.Minute)
				if want := len(l.Notices) > 0 && (leased == "" || leased == holder || !now.Before(until)); got != want {
					t.Fatalf("lease for %s: got %v, want %v", holder, got, want)
				}
				if got {
					leased, until = holder, now.Add(time.Minute)
				}
			case "settle":
				done := map[string]bool{}
				for _, n := range l.Notices[:rapid.IntRange(0, len(l.Notices)).Draw(t, "done")] {
					done[n.ID] = true
					delete(kept, n.ID)
				}
				l.settle(holder, done)
				if leased == holder {
					leased = ""
				}
			case "pass":
				now = now.Add(time.Duration(rapid.IntRange(1, 120).Draw(t, "seconds")) * time.Second)
			case "age":
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Hour, keptFor}).Draw(t, "days"))
				before := len(l.Notices)
				if dropped := l.age(now); dropped+len(l.Notices) != before {
					t.Fatalf("%d of %d dropped, %d left", dropped, before, len(l.Notices))
				}
				forget(kept, l)
			}
			before := len(l.Notices)
			value, dropped, err := l.encode()
			if err != nil || len(value) > laneBytes+1 {
				t.Fatalf("%d bytes, %v", len(value), err)
			}
			if before-dropped != len(l.Notices) {
				t.Fatalf("%d of %d dropped, %d left", dropped, before, len(l.Notices))
			}
			if dropped > 0 {
				forget(kept, l)
			}
			if value == nil {
				l, leased = lane{}, ""
			} else if l, err = decode(auth.Record{Value: value, Version: 1}); err != nil {
				t.Fatal(err)
			}
			if len(l.Notices) != len(kept) {
				t.Fatalf("%d notices are left of %d", len(l.Notices), len(kept))
			}
			if !slices.IsSortedFunc(l.Notices, func(a, b Notice) int { return a.At.Compare(b.At) }) {
				t.Fatal("out of order")
			}
		}
	})
}

// forget takes out what the lane has dropped.
func forget(kept map[string]bool, l lane) {
	maps.DeleteFunc(kept, func(id string, _ bool) bool {
		return !slices.ContainsFunc(l.Notices, func(n Notice) bool { return n.ID == id })
	})
}

func FuzzDecode(f *testing.F) {
	value, _, _ := (&lane{Notices: []Notice{{ID: "1", Name: auth.EventNewDevice, SessionID: sessionA}}, Holder: "h", Until: 5}).encode()
	for _, seed := range [][]byte{value, nil, {recordFormat}, {2, '{', '}'}, append([]byte{recordFormat}, `{"notices":[{"session_id":"x"}]}`...)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		l, err := decode(auth.Record{Value: value, Version: 1})
		if err != nil {
			return
		}
		if _, _, err := l.encode(); err != nil && len(l.Notices) > 0 {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}

// A record that a later version wrote is left alone.
func TestUnknownRecordIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r, l := newStore(), new(receiver), newLedger()
		b := node(store, r, l)
		at := (&Notice{UserID: 7, SessionID: sessionA}).lane()
		future := []byte{99, 'x'}
		if _, err := store.Swap(t.Context(), 0, auth.Write{Key: b.key(at), Value: future}); err != nil {
			t.Fatal(err)
		}
		b.Tell(ended(sessionA, "one"))
		b.Tell(ended(sessionB, "two"))
		after(time.Hour)
		wantLines(t, "the others", r.take(), "session_ended two")
		got, err := store.Get(context.Background(), b.key(at))
		if err != nil || string(got[0].Value) != string(future) {
			t.Errorf("got %q, %v", got[0].Value, err)
		}
		if dropped, _, _ := l.read(); dropped["store"] != 1 {
			t.Errorf("counted %v", dropped)
		}
		closed(t, b)
	})
}
