package sender_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// verdict is a screen whose answer a test decides.
type verdict struct {
	judge   func(ctx context.Context) (bool, error)
	lenient bool
	closed  bool
	calls   atomic.Int32
	heard   auth.Inquiry
}

func (*verdict) Name() string           { return "v" }
func (*verdict) Limit() time.Duration   { return 2 * time.Second }
func (v *verdict) AllowOnFailure() bool { return v.lenient }
func (v *verdict) Close() error         { v.closed = true; return nil }

func (v *verdict) Judge(ctx context.Context, i auth.Inquiry) (bool, error) {
	if v.calls.Add(1) == 1 {
		v.heard = i
	}
	return v.judge(ctx)
}

func allows(context.Context) (bool, error)     { return true, nil }
func denies(context.Context) (bool, error)     { return false, nil }
func cannotTell(context.Context) (bool, error) { return true, errors.New("no idea") }
func cannotSay(context.Context) (bool, error)  { return false, errors.New("no idea") }
func waits(ctx context.Context) (bool, error)  { <-ctx.Done(); return true, ctx.Err() }
func blowsUp(context.Context) (bool, error)    { panic(number) }
func chats(context.Context) (bool, error)      { return true, errors.New("no " + number) }

func TestScreenDecidesBeforeAnySender(t *testing.T) {
	for _, row := range []struct {
		name    string
		judge   func(context.Context) (bool, error)
		lenient bool
		sent    int32
		outcome string // what the error says; empty: delivered
	}{
		{"an allowed message is sent", allows, false, 1, ""},
		{"a denied one is not", denies, false, 0, "denied"},
		{"nor where failures let messages out", denies, true, 0, "denied"},
		{"one that the screen cannot judge is not sent", cannotTell, false, 0, "risk hook v: no idea"},
		{"nor one of which it says no besides", cannotSay, false, 0, "risk hook v: no idea"},
		{"nor one that it is too slow for", waits, false, 0, "deadline"},
		{"nor one that it breaks at", blowsUp, false, 0, "panic"},
		{"an error that tells too much is withheld", chats, false, 0, "withheld"},
		{"a lenient screen that cannot judge lets it out", cannotTell, true, 1, ""},
		{"also when it says no besides", cannotSay, true, 1, ""},
		{"and one that is too slow", waits, true, 1, ""},
		{"and one that breaks", blowsUp, true, 1, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, v := &fake{name: "f"}, &verdict{judge: row.judge, lenient: row.lenient}
				var log bytes.Buffer
				q := sender.NewQueue(sender.Options{
					Senders: []sender.Sender{f}, Screen: v, Log: slog.New(slog.NewTextHandler(&log, nil)),
					Country: func(string) string { return "SE" },
				})
				m := message()
				m.ClientIP = "192.0.2.1"
				taken, err := deliver(q, m)
				if taken != nil || (err == nil) != (row.outcome == "") || (err != nil && !strings.Contains(err.Error(), row.outcome)) {
					t.Errorf("got %v, %v; want %q", taken, err, row.outcome)
				}
				discreet(t, err)
				discreet(t, errors.New(log.String()))
				if errors.Is(err, auth.ErrDenied) != (row.outcome == "denied") {
					t.Errorf("%v passes for a denial, or a denial for a failure", err)
				}
				if f.calls.Load() != row.sent {
					t.Errorf("sent %d times, want %d", f.calls.Load(), row.sent)
				}
				if got := f.heard.Load(); got != nil && got != "" {
					t.Errorf("the sender heard of %v", got)
				}
				if want := (auth.Inquiry{ID: "c1.1", Phone: number, Country: "SE", Channel: "sms", ClientIP: "192.0.2.1"}); v.heard != want {
					t.Errorf("it heard %+v, want %+v", v.heard, want)
				}
				if err := q.Close(t.Context()); err != nil || !v.closed {
					t.Errorf("%v; closed: %v", err, v.closed)
				}
			})
		})
	}
}

// A hook that is down costs three messages their time, and no more, until one
// message tries it again.
func TestScreenThatIsDownIsNotAsked(t *testing.T) {
	for _, lenient := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f, v := &fake{name: "f"}, &verdict{judge: waits, lenient: lenient}
			var log bytes.Buffer
			q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f}, Screen: v, Log: slog.New(slog.NewTextHandler(&log, nil))})
			defer q.Close(t.Context())
			for range 3 {
				deliver(q, message())
			}
			start := time.Now()
			for range 100 {
				taken, err := deliver(q, message())
				if lenient != (taken == nil && err == nil) || !lenient && !errors.Is(taken, sender.ErrDown) {
					t.Fatalf("lenient: %v: got %v, %v", lenient, taken, err)
				}
			}
			if time.Since(start) != 0 || v.calls.Load() != 3 {
				t.Errorf("100 messages took %v and %d questions", time.Since(start), v.calls.Load()-3)
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
			v.judge = denies // an answer, whatever it says
			if taken, err := deliver(q, message()); taken != nil || !errors.Is(err, auth.ErrDenied) {
				t.Errorf("the probe: %v, %v", taken, err)
			}
			v.judge = allows
			if taken, err := deliver(q, message()); taken != nil || err != nil {
				t.Errorf("after it: %v, %v", taken, err)
			}
			synctest.Wait()
			if text := log.String(); strings.Count(text, "risk hook is down") != 1 || strings.Count(text, "risk hook works again") != 1 {
				t.Errorf("log: %s", text)
			}
		})
	}
}

// Attack: numbers that the hook denies, to switch it off for everybody else.
func TestDenialsAreNoFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &verdict{judge: denies}
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{&fake{name: "f"}}, Screen: v, Log: silent})
		defer q.Close(t.Context())
		for range 10 {
			if taken, err := deliver(q, message()); taken != nil || !errors.Is(err, auth.ErrDenied) {
				t.Fatal(taken, err)
			}
		}
	})
}

// With screen and senders down, a message is the probe of both; whichever
// turn it does not get to is free for the next one.
func TestProbesOfScreenAndSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, v := &fake{name: "f", send: broken}, &verdict{judge: allows}
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f}, Screen: v, Capacity: 1, Workers: 1, Log: silent})
		defer q.Close(t.Context())
		for range 2 {
			deliver(q, message())
		}
		v.judge = cannotTell
		for range 3 {
			deliver(q, message())
		}
		if taken, _ := deliver(q, message()); !errors.Is(taken, sender.ErrDown) {
			t.Errorf("the screen is down: %v", taken)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		v.judge = allows
		deliver(q, message()) // the sender's third failure
		time.Sleep(30 * time.Second)
		synctest.Wait()
		f.send = nil
		for _, answer := range []func(context.Context) (bool, error){denies, denies, allows} {
			v.judge = answer
			if taken, _ := deliver(q, message()); taken != nil {
				t.Errorf("a probe was lost: %v", taken)
			}
			synctest.Wait()
		}
		if f.calls.Load() != 4 {
			t.Errorf("%d attempts, want 4", f.calls.Load())
		}
	})
}

// A sender's probe that the screen keeps from the queue is free again.
func TestScreenGivesTheSendersProbeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, v := &fake{name: "f", send: broken}, &verdict{}
		v.judge = func(ctx context.Context) (bool, error) {
			if n := v.calls.Load(); n < 4 { // these go down together, a second later than the sender
				time.Sleep(time.Second)
				return false, errors.New("no idea")
			}
			return true, nil
		}
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f}, Screen: v, Log: silent})
		defer q.Close(t.Context())
		for range 6 {
			if err := q.Enqueue(message(), func(error) {}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		time.Sleep(29500 * time.Millisecond) // the sender may be tried, the screen not
		if taken, _ := deliver(q, message()); !errors.Is(taken, sender.ErrDown) {
			t.Errorf("the screen is down: %v", taken)
		}
		time.Sleep(time.Second)
		f.send = nil
		if taken, err := deliver(q, message()); taken != nil || err != nil {
			t.Errorf("a probe was lost: %v, %v", taken, err)
		}
	})
}

// A code that expires while the screen thinks goes to nobody, and says nothing
// of the screen.
func TestCodesExpireAtTheScreen(t *testing.T) {
	for _, lenient := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{name: "f"}
			var log bytes.Buffer
			q := sender.NewQueue(sender.Options{
				Senders: []sender.Sender{f}, Screen: &verdict{judge: waits, lenient: lenient}, Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			defer q.Close(t.Context())
			for range 10 {
				m := message()
				m.ExpiresAt = time.Now().Add(time.Second)
				if taken, err := deliver(q, m); taken != nil || !errors.Is(err, sender.ErrExpired) || f.calls.Load() != 0 {
					t.Fatalf("got %v, %v, %d sent", taken, err, f.calls.Load())
				}
			}
			if log.Len() > 0 {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// A queue that closes while the screen thinks lets nothing out, however lenient
// the screen is.
func TestCloseDoesNotWaitForTheScreen(t *testing.T) {
	for _, lenient := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f, v := &fake{name: "f"}, &patientVerdict{verdict{judge: waits, lenient: lenient}}
			q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f}, Screen: v, Workers: 2, Timeout: time.Hour, Log: silent})
			var closed atomic.Int32
			for range 10 {
				q.Enqueue(message(), func(err error) {
					if errors.Is(err, sender.ErrClosed) {
						closed.Add(1)
					}
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := q.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || closed.Load() != 10 || f.calls.Load() != 0 {
				t.Errorf("%v; %d given up, %d sent", err, closed.Load(), f.calls.Load())
			}
		})
	}
}

// patientVerdict leaves its time limit to the queue.
type patientVerdict struct{ verdict }

func (*patientVerdict) Limit() time.Duration { return 0 }

// A thousand messages meet a hook that never answers: each ends, and nothing of
// them is left.
func TestHangingScreenLeavesNothingBehind(t *testing.T) {
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer hook.Close()
	before := runtime.NumGoroutine()
	f, v := &fake{name: "f"}, &verdict{}
	client := &http.Client{Transport: &http.Transport{}}
	v.judge = func(ctx context.Context) (bool, error) {
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, strings.NewReader("{}"))
		response, err := client.Do(r)
		if err != nil {
			return true, errors.New("no answer")
		}
		return true, response.Body.Close()
	}
	q := sender.NewQueue(sender.Options{Senders: []sender.Sender{f}, Screen: v, Capacity: 1000, Log: silent})
	var outcomes sync.WaitGroup
	for range 1000 {
		outcomes.Add(1)
		if err := q.Enqueue(message(), func(err error) {
			if err == nil {
				t.Error("a message went out")
			}
			outcomes.Done()
		}); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	outcomes.Wait()
	if took := time.Since(start); took > 10*time.Second || f.calls.Load() != 0 {
		t.Errorf("took %v, %d sent", took, f.calls.Load())
	}
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
	client.CloseIdleConnections()
	hook.CloseClientConnections()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
