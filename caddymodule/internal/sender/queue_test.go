package sender_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

var (
	_ auth.Outbox   = (*sender.Queue)(nil)
	_ auth.Admitter = (*sender.Queue)(nil)
)

// fake is a sender whose answer a test decides.
type fake struct {
	name  string
	send  func(ctx context.Context) error
	calls atomic.Int32
	heard atomic.Value // the client's address
}

func (f *fake) Name() string { return f.name }

func (f *fake) Send(ctx context.Context, m auth.Message) error {
	f.calls.Add(1)
	f.heard.Store(m.ClientIP)
	if f.send == nil {
		return nil
	}
	return f.send(ctx)
}

func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func broken(context.Context) error { return errors.New("broken") }

// patient is a fake with a limit of its own.
type patient struct {
	fake
	limit time.Duration
}

func (p *patient) Limit() time.Duration { return p.limit }

var silent = slog.New(slog.DiscardHandler)

// deliver enqueues one message and waits for its outcome. taken is the error
// of Enqueue.
func deliver(q *sender.Queue, m auth.Message) (taken, outcome error) {
	result := make(chan error, 1)
	if err := q.Enqueue(m, func(err error) { result <- err }); err != nil {
		return err, nil
	}
	return nil, <-result
}

func TestQueueTriesSendersInOrder(t *testing.T) {
	refused := func(context.Context) error { return fmt.Errorf("no such number: %w", sender.ErrRefused) }
	panics := func(context.Context) error { panic(code) }
	for _, row := range []struct {
		name    string
		sends   []func(context.Context) error
		calls   []int32
		outcome string // what the error says, empty: delivered
	}{
		{"the first that works is the only one", []func(context.Context) error{nil, nil}, []int32{1, 0}, ""},
		{"a broken one is followed by the next", []func(context.Context) error{broken, nil, nil}, []int32{1, 1, 0}, ""},
		{"one that hangs is followed by the next", []func(context.Context) error{hang, nil}, []int32{1, 1}, ""},
		{"a refusal is followed by the next", []func(context.Context) error{refused, nil}, []int32{1, 1}, ""},
		{"a panic is followed by the next", []func(context.Context) error{panics, nil}, []int32{1, 1}, ""},
		{"when all fail, all are named", []func(context.Context) error{broken, hang, panics}, []int32{1, 1, 1}, "s0: broken\ns1: context deadline exceeded\ns2: panic in sender (string)"},
		{"a sender that hangs ends with the code", []func(context.Context) error{hang, hang}, []int32{1, 1}, "s0: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var senders []sender.Sender
				var fakes []*fake
				for i, send := range row.sends {
					fakes = append(fakes, &fake{name: fmt.Sprintf("s%d", i), send: send})
					senders = append(senders, fakes[i])
				}
				q := sender.NewQueue(sender.Options{Senders: senders, Log: silent})
				taken, err := deliver(q, message())
				if taken != nil || (err == nil) != (row.outcome == "") || (err != nil && !strings.Contains(err.Error(), row.outcome)) {
					t.Errorf("got %v, %v; want %q", taken, err, row.outcome)
				}
				discreet(t, err)
				for i, want := range row.calls {
					if got := fakes[i].calls.Load(); got != want {
						t.Errorf("sender %d: %d calls, want %d", i, got, want)
					}
				}
				if err := q.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestQueueBoundsEachAttemptAndTheWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &patient{fake{name: "patient", send: hang}, 7 * time.Second}
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{slow, &fake{name: "plain", send: hang}}, Timeout: 2 * time.Second, Log: silent})
		defer q.Close(t.Context())
		start := time.Now()
		if _, err := deliver(q, message()); err == nil || time.Since(start) != 9*time.Second {
			t.Errorf("got %v after %v, want an error after 7 s and 2 s", err, time.Since(start))
		}
		start = time.Now()
		m := message()
		m.ExpiresAt = start.Add(8 * time.Second)
		if _, err := deliver(q, m); !errors.Is(err, sender.ErrExpired) || time.Since(start) != 8*time.Second {
			t.Errorf("got %v after %v, want expired after 8 s", err, time.Since(start))
		}
		m.ExpiresAt = time.Now()
		before := slow.calls.Load()
		if _, err := deliver(q, m); !errors.Is(err, sender.ErrExpired) || slow.calls.Load() != before {
			t.Errorf("got %v, want expired without an attempt", err)
		}
	})
}

func TestQueueRecoversAfterAllWereDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		works := atomic.Bool{}
		f := &fake{name: "only", send: func(ctx context.Context) error {
			time.Sleep(time.Second)
			if works.Load() {
				return nil
			}
			return errors.New("broken")
		}}
		var log bytes.Buffer
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		defer q.Close(t.Context())
		for range 3 {
			if taken, err := deliver(q, message()); taken != nil || err == nil {
				t.Fatalf("got %v, %v; want taken and failed", taken, err)
			}
		}
		if taken, _ := deliver(q, message()); !errors.Is(taken, sender.ErrDown) {
			t.Errorf("after three failures: %v, want down", taken)
		}
		time.Sleep(30*time.Second - 1)
		if taken, _ := deliver(q, message()); !errors.Is(taken, sender.ErrDown) {
			t.Errorf("just before 30 s: %v, want down", taken)
		}
		time.Sleep(time.Nanosecond)
		outcome := make(chan error, 1)
		if err := q.Enqueue(message(), func(err error) { outcome <- err }); err != nil {
			t.Errorf("at 30 s: %v, want one probe taken", err)
		}
		if taken, _ := deliver(q, message()); !errors.Is(taken, sender.ErrDown) {
			t.Errorf("during the probe: %v, want down", taken)
		}
		if err := <-outcome; err == nil {
			t.Error("the probe worked, want it failed")
		}
		if taken, _ := deliver(q, message()); !errors.Is(taken, sender.ErrDown) {
			t.Errorf("after a failed probe: %v, want down", taken)
		}
		time.Sleep(30 * time.Second)
		works.Store(true)
		for range 3 {
			if taken, err := deliver(q, message()); taken != nil || err != nil {
				t.Errorf("got %v, %v; want delivered", taken, err)
			}
		}
		if f.calls.Load() != 7 {
			t.Errorf("%d attempts, want 7", f.calls.Load())
		}
		synctest.Wait()
		if text := log.String(); strings.Count(text, "sender is down") != 1 || strings.Count(text, "works again") != 1 || strings.Contains(text, code) {
			t.Errorf("log: %s", text)
		}
	})
}

func TestQueuePassesADownSenderOverAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &fake{name: "first", send: broken}
		second := &fake{name: "second"}
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{first, second}, Log: silent})
		defer q.Close(t.Context())
		for range 10 {
			if taken, err := deliver(q, message()); taken != nil || err != nil {
				t.Fatal(taken, err)
			}
		}
		if first.calls.Load() != 3 || second.calls.Load() != 10 {
			t.Errorf("%d and %d attempts, want 3 and 10", first.calls.Load(), second.calls.Load())
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		first.send = nil
		deliver(q, message())
		deliver(q, message())
		if first.calls.Load() != 5 || second.calls.Load() != 10 {
			t.Errorf("%d and %d attempts, want 5 and 10", first.calls.Load(), second.calls.Load())
		}
	})
}

// Attack: a stranger asks for codes to numbers that the provider refuses. That
// must not switch the sender off for everybody else.
func TestQueueStaysUpWhenMessagesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{name: "only", send: func(context.Context) error { return fmt.Errorf("%s: %w", number, sender.ErrRefused) }}
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f}, Log: silent})
		defer q.Close(t.Context())
		for range 10 {
			taken, err := deliver(q, message())
			if taken != nil || !errors.Is(err, sender.ErrRefused) {
				t.Fatalf("got %v, %v; want taken and refused", taken, err)
			}
			discreet(t, err)
		}
	})
}

// A code that expires in the middle of an attempt says nothing of the sender.
func TestQueueDoesNotBlameASenderForAnExpiredCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{&fake{name: "slow", send: hang}}, Log: silent})
		defer q.Close(t.Context())
		for range 10 {
			m := message()
			m.ExpiresAt = time.Now().Add(time.Second)
			if taken, _ := deliver(q, m); taken != nil {
				t.Fatal(taken)
			}
		}
	})
}

// Probes that are cut short, or whose turn never comes, leave room for another.
func TestQueueNeverLosesTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{name: "only", send: broken}
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f}, Log: silent})
		defer q.Close(t.Context())
		for range 3 {
			deliver(q, message())
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		f.send = hang
		late, short := message(), message()
		late.ExpiresAt = time.Now()
		short.ExpiresAt = time.Now().Add(time.Second)
		for _, m := range []auth.Message{late, short} {
			if taken, err := deliver(q, m); taken != nil || !errors.Is(err, sender.ErrExpired) {
				t.Fatalf("got %v, %v; want taken and expired", taken, err)
			}
			synctest.Wait()
		}
		f.send = nil
		if taken, err := deliver(q, message()); taken != nil || err != nil {
			t.Errorf("got %v, %v; want delivered", taken, err)
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{name: "slow", send: hang}
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f}, Workers: 2, Capacity: 3, Log: silent})
		defer q.Close(t.Context())
		var outcomes atomic.Int32
		enqueue := func() error { return q.Enqueue(message(), func(error) { outcomes.Add(1) }) }
		for range 2 {
			if err := enqueue(); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // both are on their way
		for range 3 {
			if err := enqueue(); err != nil {
				t.Fatal(err)
			}
		}
		if err := enqueue(); !errors.Is(err, sender.ErrFull) {
			t.Errorf("got %v, want full", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if outcomes.Load() != 5 {
			t.Errorf("%d outcomes, want 5", outcomes.Load())
		}
	})
}

func TestQueueWithoutSendersIsDown(t *testing.T) {
	q := sender.NewQueue(sender.Options{})
	if err := q.Enqueue(message(), nil); !errors.Is(err, sender.ErrDown) {
		t.Errorf("got %v, want down", err)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Asking whether a message would be taken answers as Enqueue does, and takes
// neither a place nor the one try of a sender that is down.
func TestAdmitsAnswersAsEnqueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{name: "s", send: broken}
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f}, Workers: 1, Capacity: 1, Log: silent})
		admits := func(when string, want error) {
			t.Helper()
			for range 3 {
				if err := q.Admits(message()); !errors.Is(err, want) || want == nil && err != nil {
					t.Errorf("%s: got %v, want %v", when, err, want)
				}
			}
		}
		elsewhere := message()
		elsewhere.Channel = "voice"
		if err := q.Admits(elsewhere); !errors.Is(err, sender.ErrNoRoute) {
			t.Errorf("got %v, want no route", err)
		}
		admits("while the sender works", nil)
		for range 3 {
			deliver(q, message())
		}
		admits("while it is down", sender.ErrDown)
		time.Sleep(30 * time.Second)
		admits("when it may be tried", nil)
		f.send = hang
		if err := q.Enqueue(message(), func(error) {}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		admits("while one tries it", sender.ErrDown)
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
		admits("when it is closed", sender.ErrClosed)

		q = sender.NewQueue(sender.Options{Senders: []sender.Sender{&fake{name: "slow", send: hang}}, Workers: 1, Capacity: 1, Log: silent})
		for range 2 {
			if err := q.Enqueue(message(), func(error) {}); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		admits("when it is full", sender.ErrFull)
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseDeliversWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{name: "slow", send: func(context.Context) error { time.Sleep(time.Second); return nil }}
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f}, Workers: 2, Log: silent})
		var delivered atomic.Int32
		for range 10 {
			q.Enqueue(message(), func(err error) {
				if err == nil {
					delivered.Add(1)
				}
			})
		}
		if err := q.Close(t.Context()); err != nil || delivered.Load() != 10 {
			t.Errorf("%v, %d delivered; want nil and 10", err, delivered.Load())
		}
		if err := q.Enqueue(message(), nil); !errors.Is(err, sender.ErrClosed) {
			t.Errorf("after Close: %v, want closed", err)
		}
		if err := q.Close(t.Context()); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestCloseGivesUpWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &closer{fake: fake{name: "slow", send: hang}}
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f, &fake{name: "next"}}, Workers: 2, Timeout: time.Hour, Log: silent})
		var mu sync.Mutex
		var outcomes []error
		for range 10 {
			q.Enqueue(message(), func(err error) {
				mu.Lock()
				defer mu.Unlock()
				outcomes = append(outcomes, err)
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := q.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want a deadline after 1 s", err, time.Since(start))
		}
		given := func(err error) bool { return errors.Is(err, sender.ErrClosed) }
		if len(outcomes) != 10 || slices.IndexFunc(outcomes, func(err error) bool { return !given(err) }) >= 0 {
			t.Errorf("outcomes %v, want 10 times closed", outcomes)
		}
		if !f.closed {
			t.Error("the sender is not closed")
		}
	})
}

type closer struct {
	fake
	closed bool
}

func (c *closer) Close() error {
	c.closed = true
	return nil
}

// Many goroutines enqueue while the queue closes: every message that was taken
// has one outcome, and none that was not.
func TestQueueCallsDoneExactlyOnce(t *testing.T) {
	f := &fake{name: "f"}
	f.send = func(context.Context) error {
		if f.calls.Load()%5 == 0 {
			return errors.New("broken")
		}
		return nil
	}
	q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f, &fake{name: "g"}}, Capacity: 16, Log: silent})
	var taken, outcomes atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				if q.Enqueue(message(), func(error) { outcomes.Add(1) }) == nil {
					taken.Add(1)
				}
			}
		})
	}
	all.Go(func() { q.Close(t.Context()) })
	all.Wait()
	if taken.Load() != outcomes.Load() {
		t.Errorf("%d taken, %d outcomes", taken.Load(), outcomes.Load())
	}
}

func TestQueueFailsOverFromARealServer(t *testing.T) {
	var got atomic.Int32
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		io.Copy(w, r.Body) // repeats the code
	}))
	defer bad.Close()
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got.Add(1) }))
	defer good.Close()
	var log bytes.Buffer
	q := sender.NewQueue(sender.Options{
		Senders: []sender.Sender{webhook(t, sender.WebhookOptions{URL: bad.URL}), webhook(t, sender.WebhookOptions{URL: good.URL})},
		Log:     slog.New(slog.NewTextHandler(&log, nil)),
	})
	for range 5 {
		if taken, err := deliver(q, message()); taken != nil || err != nil {
			t.Fatal(taken, err)
		}
	}
	if err := q.Close(t.Context()); err != nil || got.Load() != 5 {
		t.Errorf("%v, %d delivered; want 5", err, got.Load())
	}
	if text := log.String(); !strings.Contains(text, "answered 500") || strings.Contains(text, code) || strings.Contains(text, number[1:]) {
		t.Errorf("log: %s", text)
	}
}

func BenchmarkQueue(b *testing.B) {
	q := sender.NewQueue(sender.Options{Senders: []sender.Sender{&fake{name: "f"}}, Log: silent})
	defer q.Close(b.Context())
	b.ReportAllocs()
	for b.Loop() {
		if taken, err := deliver(q, message()); taken != nil || err != nil {
			b.Fatal(taken, err)
		}
	}
}

// What a sender says of a message goes to the log, and must not hold the code
// or the number, in whatever way it writes them.
func TestErrorsThatTellAreWithheld(t *testing.T) {
	for text, want := range map[string]bool{
		"cannot reach " + number:                                 true,
		"The 'To' number " + number[1:] + " is not valid":        true,
		"number " + number[:6] + " " + number[6:]:                true,
		"number (0)" + number[3:]:                                true,
		"code " + code:                                           true,
		"code " + code[:3] + "-" + code[3:]:                      true,
		"answered 503 after 12 ms, request 7f3a2b9911 of 120934": false,
	} {
		f := &fake{name: "chatty", send: func(context.Context) error { return errors.New(text) }}
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f}, Log: silent})
		failed := make(chan error, 1)
		if err := q.Enqueue(message(), func(err error) { failed <- err }); err != nil {
			t.Fatal(err)
		}
		err := <-failed
		if got := strings.Contains(err.Error(), "withheld"); got != want || got == strings.Contains(err.Error(), text) {
			t.Errorf("%q became %q", text, err)
		}
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
