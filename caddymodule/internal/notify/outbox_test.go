package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
)

// receiver is the other side.
type receiver struct {
	mu       sync.Mutex
	got      []Notice
	attempts int
	answer   func(context.Context, Notice) error // nil: takes it
}

func (r *receiver) post(ctx context.Context, id string, body []byte) error {
	var n Notice
	if err := json.Unmarshal(body, &n); err != nil || n.ID != id {
		return fmt.Errorf("id %s, body %s: %w", id, body, err)
	}
	r.mu.Lock()
	r.attempts++
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, n); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, n)
	return nil
}

func (r *receiver) answers(f func(context.Context, Notice) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// take returns what came since the last call, as "name cause".
func (r *receiver) take() (lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.got {
		lines = append(lines, fmt.Sprint(n.Name, " ", n.Cause))
	}
	r.got = nil
	return lines
}

func (r *receiver) tries() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attempts
}

var errDown = errors.New("down")

func down(context.Context, Notice) error { return errDown }

// hang takes nothing, and lets the sender wait.
func hang(ctx context.Context, _ Notice) error {
	<-ctx.Done()
	return ctx.Err()
}

// ledger is a Counter.
type ledger struct {
	mu      sync.Mutex
	dropped map[string]int
	posted  map[string]int
	waiting int
}

func newLedger() *ledger { return &ledger{dropped: map[string]int{}, posted: map[string]int{}} }

func (l *ledger) Dropped(cause string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped[cause] += n
}
func (l *ledger) Posted(outcome string) { l.mu.Lock(); defer l.mu.Unlock(); l.posted[outcome]++ }
func (l *ledger) Waiting(n int)         { l.mu.Lock(); defer l.mu.Unlock(); l.waiting = n }

func (l *ledger) read() (dropped, posted map[string]int, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.dropped), maps.Clone(l.posted), l.waiting
}

// node is a process with an outbox. All have one clock, that of the bubble.
func node(store auth.Store, r *receiver, l *ledger) *Outbox {
	return Open(Options{
		Store: store, Key: "notify/test", Wants: func(n auth.EventName) bool { return n != "unwanted" },
		Post: r.post, Timeout: 5 * time.Second, Counter: l, Log: slog.New(slog.DiscardHandler),
	})
}

// crash ends a node as kill -9 does: what it would do afterwards never happens.
func crash(b *Outbox, store *switchable) {
	store.set(errDown)
	b.cut()
	b.cancel()
	b.done.Wait()
	store.set(nil)
}

// switchable is a store that can be broken.
type switchable struct {
	auth.Store
	mu  sync.Mutex
	err error // errHangs: calls end with their context
}

var errHangs = errors.New("hangs")

func newStore() *switchable { return &switchable{Store: memstore.New(time.Now)} }

func (s *switchable) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *switchable) broken(ctx context.Context) error {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	switch err {
	case nil:
		return nil
	case errHangs:
		<-ctx.Done()
	}
	return errors.Join(auth.ErrUnavailable, err)
}

func (s *switchable) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	if err := s.broken(ctx); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, keys...)
}

func (s *switchable) Swap(ctx context.Context, v auth.Version, w auth.Write) (auth.Version, error) {
	if err := s.broken(ctx); err != nil {
		return 0, err
	}
	return s.Store.Swap(ctx, v, w)
}

var sessionA, sessionB = auth.SessionID{1}, auth.SessionID{2}

func ended(id auth.SessionID, cause string) auth.Event {
	return auth.Event{Name: auth.EventSessionEnded, At: time.Now(), Cause: cause, UserID: 7, SessionID: id}
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func closed(t *testing.T, b *Outbox) {
	t.Helper()
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// after lets a time pass in the bubble, and what is then due happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r, l := newStore(), new(receiver), newLedger()
		b := node(store, r, l)
		b.Tell(ended(sessionA, "one"))
		b.Tell(auth.Event{Name: "unwanted", UserID: 7})
		synctest.Wait()
		wantLines(t, "at once", r.take(), "session_ended one")
		for n := range 50 {
			b.Tell(ended(sessionA, fmt.Sprint(n)))
		}
		b.Tell(auth.Event{Name: auth.EventCodeWrong, At: time.Now(), Subject: "s"})
		synctest.Wait()
		got := r.take()
		if len(got) != 51 {
			t.Errorf("got %d", len(got))
		}
		got = slices.DeleteFunc(got, func(line string) bool { return line == "code_wrong " })
		for n, line := range got {
			if line != fmt.Sprint("session_ended ", n) {
				t.Fatalf("out of order: %q", got)
			}
		}
		closed(t, b)
		if dropped, posted, waiting := l.read(); len(dropped) > 0 || posted["delivered"] != 52 || waiting != 0 {
			t.Errorf("counted %v, %v, %d waiting", dropped, posted, waiting)
		}
		if left, _ := store.Get(t.Context(), b.key((&Notice{UserID: 7, SessionID: sessionA}).lane())); left[0].Version != 0 {
			t.Error("an empty lane stays in the store")
		}
	})
}

// A receiver that is down for hours gets all of it afterwards, and is not asked
// more often than every few minutes meanwhile.
func TestReceiverIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := new(receiver), newLedger()
		r.answers(down)
		b := node(newStore(), r, l)
		b.Tell(ended(sessionA, "one"))
		b.Tell(ended(sessionB, "two"))
		after(4 * time.Hour)
		if n := r.tries(); n < 40 || n > 140 {
			t.Errorf("%d attempts in four hours", n)
		}
		if _, posted, waiting := l.read(); posted["failed"] != r.tries() || waiting != 2 {
			t.Errorf("counted %v, %d waiting", posted, waiting)
		}
		r.answers(nil)
		after(longestPause)
		got := r.take()
		slices.Sort(got)
		wantLines(t, "afterwards", got, "session_ended one", "session_ended two")
		b.Tell(ended(sessionA, "three"))
		after(time.Second)
		wantLines(t, "then", r.take(), "session_ended three")
		closed(t, b)
	})
}

// One notice that the receiver always fails on holds up no other session's.
func TestOneThatFailsHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := new(receiver), newLedger()
		r.answers(func(_ context.Context, n Notice) error {
			switch n.Cause {
			case "poison":
				return errDown
			case "unwelcome":
				return fmt.Errorf("422: %w", ErrRefused)
			}
			return nil
		})
		b := node(newStore(), r, l)
		for _, cause := range []string{"poison", "behind it"} {
			old := ended(sessionA, cause)
			old.At = old.At.Add(time.Hour - keptFor)
			b.Tell(old)
		}
		synctest.Wait()
		for n := range 300 { // every lane
			b.Tell(ended(auth.SessionID{3, byte(n), byte(n >> 8)}, "good"))
		}
		b.Tell(ended(sessionB, "unwelcome"))
		after(time.Minute)
		behind := (&Notice{UserID: 7, SessionID: sessionA}).lane()
		free := 0
		for n := range 300 {
			if (&Notice{UserID: 7, SessionID: auth.SessionID{3, byte(n), byte(n >> 8)}}).lane() != behind {
				free++
			}
		}
		if got := len(r.take()); got != free {
			t.Errorf("got %d of the %d that are in other lanes", got, free)
		}
		if dropped, posted, _ := l.read(); posted["refused"] != 1 || len(dropped) > 0 {
			t.Errorf("counted %v, %v", posted, dropped)
		}
		after(2 * time.Hour)
		if dropped, _, waiting := l.read(); dropped["old"] != 2 || waiting != 0 {
			t.Errorf("when they are three days old: %v, %d waiting", dropped, waiting)
		}
		closed(t, b)
	})
}

// Whatever was told is delivered after a crash: by the same node when it is
// back, or by another one.
func TestCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r, l := newStore(), new(receiver), newLedger()
		r.answers(hang)
		first := node(store, r, l)
		first.Tell(ended(sessionA, "one"))
		synctest.Wait()
		first.Tell(ended(sessionA, "two")) // while the first is on its way
		crash(first, store)
		r.answers(nil)
		second := node(store, r, l)
		after(lookEvery)
		wantLines(t, "while the dead node holds the lane", r.take())
		after(time.Minute)
		wantLines(t, "then", r.take(), "session_ended one", "session_ended two")
		closed(t, second)
	})
}

// Two nodes on one store: each notice is delivered once while nothing fails, by
// whoever has the lane.
func TestTwoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r, l := newStore(), new(receiver), newLedger()
		r.answers(func(context.Context, Notice) error { time.Sleep(100 * time.Millisecond); return nil })
		a, b := node(store, r, l), node(store, r, l)
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				[]*Outbox{a, b}[n%2].Tell(ended(auth.SessionID{byte(n % 10)}, fmt.Sprint(n)))
			})
		}
		wg.Wait()
		after(time.Minute)
		got := r.take()
		slices.Sort(got)
		if len(got) != 200 || len(slices.Compact(got)) != 200 {
			t.Errorf("%d deliveries of %d", len(got), len(slices.Compact(got)))
		}
		closed(t, a)
		closed(t, b)
	})
}

// A store that fails just when something is told: it is kept in memory and
// written as soon as that works.
func TestStoreFailsAtTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r, l := newStore(), new(receiver), newLedger()
		b := node(store, r, l)
		store.set(errDown)
		b.Tell(ended(sessionA, "one"))
		after(10 * time.Second)
		store.set(nil)
		after(time.Minute)
		wantLines(t, "afterwards", r.take(), "session_ended one")

		store.set(errDown)
		b.Tell(ended(sessionA, "two"))
		after(2 * time.Hour) // a lane that stays broken holds nobody up for ever
		const more = laterRoom + 2*atOnce
		for range more {
			b.Tell(ended(sessionA, "more"))
		}
		synctest.Wait()
		dropped, _, _ := l.read()
		if dropped["store"] != 1 || dropped["full"] == 0 {
			t.Errorf("counted %v", dropped)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_ = b.Close(ctx)
		b.Tell(ended(sessionA, "late"))
		dropped, _, _ = l.read()
		if sum := dropped["store"] + dropped["full"]; sum != more+2 {
			t.Errorf("of %d that were lost %d were counted: %v", more+2, sum, dropped)
		}
	})
}

// Attack: who measures how long an answer takes learns of a number what an event
// about it costs. So what strangers cause waits for no store; and what is about
// a user does not wait for one that hangs for long.
func TestTellIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r, l := newStore(), new(receiver), newLedger()
		b := node(store, r, l)
		synctest.Wait()
		store.set(errHangs)
		for _, row := range []struct {
			event auth.Event
			most  time.Duration
		}{
			{auth.Event{Name: auth.EventSendBlocked, At: time.Now(), Cause: "suppressed", Subject: "s", ClientIP: "192.0.2.1"}, 0},
			{auth.Event{Name: auth.EventTokenRefused, At: time.Now(), SessionID: sessionA}, 0},
			{ended(sessionA, "logout"), writeWait},
		} {
			began := time.Now()
			b.Tell(row.event)
			if took := time.Since(began); took > row.most {
				t.Errorf("%s took %v, want at most %v", row.event.Name, took, row.most)
			}
		}
		store.set(nil)
		after(time.Minute)
		if got := len(r.take()); got != 3 {
			t.Errorf("%d of 3 were told in the end", got)
		}
		closed(t, b)
	})
}

// What is in memory when Caddy stops is written.
func TestCloseWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r, l := newStore(), new(receiver), newLedger()
		r.answers(down)
		b := node(store, r, l)
		b.Tell(ended(sessionA, "one")) // fails: everyone pauses
		synctest.Wait()
		for n := range 100 {
			b.Tell(auth.Event{Name: auth.EventCodeWrong, At: time.Now(), Subject: fmt.Sprint(n)})
		}
		closed(t, b)
		r.answers(nil)
		b = node(store, r, l)
		synctest.Wait()
		if got := len(r.take()); got != 101 {
			t.Errorf("%d of 101 survived", got)
		}
		closed(t, b)
	})
}

// Close waits for an attempt, but not for ever.
func TestCloseWaitsForAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r, l := newStore(), new(receiver), newLedger()
		r.answers(func(context.Context, Notice) error { time.Sleep(time.Second); return nil })
		b := node(store, r, l)
		b.Tell(ended(sessionA, "one"))
		synctest.Wait()
		closed(t, b)
		wantLines(t, "the attempt under way", r.take(), "session_ended one")

		r.answers(hang)
		b = node(store, r, l)
		b.Tell(ended(sessionA, "two"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := b.Close(ctx); err == nil || time.Since(began) != time.Second {
			t.Errorf("closed after %v: %v", time.Since(began), err)
		}
		r.answers(nil)
		b = node(store, r, l)
		synctest.Wait() // the lease was given back
		wantLines(t, "the one that was cut", r.take(), "session_ended two")
		closed(t, b)
	})
}
