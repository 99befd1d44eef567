package sender_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// providers are the senders that talk to a provider's API, each made for an
// endpoint and a limit of one attempt.
var providers = map[string]func(t *testing.T, endpoint string, limit time.Duration) sender.Sender{
	"webhook": func(t *testing.T, endpoint string, limit time.Duration) sender.Sender {
		return webhook(t, sender.WebhookOptions{URL: endpoint, Secret: []byte("hunter2"), Timeout: limit})
	},
	"twilio": func(t *testing.T, endpoint string, limit time.Duration) sender.Sender {
		o := twilioOptions(endpoint)
		o.Timeout = limit
		return twilio(t, o)
	},
	"vonage": func(t *testing.T, endpoint string, limit time.Duration) sender.Sender {
		o := vonageOptions(endpoint)
		o.Timeout = limit
		return vonage(t, o)
	},
}

// troubles are ways in which a provider does not work. None of them is about
// the message, so all of them count against the sender.
var troubles = map[string]http.HandlerFunc{
	"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	"answers half": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"sid":`)
		panic(http.ErrAbortHandler)
	},
	"closes the connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"talks something else": func(w http.ResponseWriter, _ *http.Request) {
		c, _, _ := http.NewResponseController(w).Hijack()
		_, _ = io.WriteString(c, code+" "+number+"\r\n\r\n")
		c.Close()
	},
	"is overloaded":         answerWith(http.StatusTooManyRequests),
	"knows us no more":      answerWith(http.StatusUnauthorized),
	"has moved":             answerWith(http.StatusTemporaryRedirect),
	"is at fault":           answerWith(http.StatusInternalServerError),
	"is behind a dead door": answerWith(http.StatusBadGateway),
	"is not there":          nil,
}

func answerWith(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		http.Error(w, code+" "+number, status)
	}
}

// A provider in trouble gets each message once; then the next sender has it.
// With no other the message fails, so that the limits get it back.
func TestTroubledProviders(t *testing.T) {
	for kind, make := range providers {
		for trouble, answer := range troubles {
			t.Run(kind+" "+trouble, func(t *testing.T) {
				t.Parallel()
				var calls atomic.Int32
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					calls.Add(1)
					_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the client leave
					answer(w, r)
				}))
				defer server.Close()
				if answer == nil {
					server.Close()
					calls.Add(1)
				}
				patience := 150 * time.Millisecond // for those who never answer
				if trouble != "hangs" {
					patience = 10 * time.Second
				}
				troubled := make(t, server.URL, patience)
				next := &fake{name: "next"}
				q := sender.NewQueue(sender.Options{Senders: []sender.Sender{troubled, next}, Log: silent})
				defer q.Close(t.Context())
				if taken, err := deliver(q, message()); taken != nil || err != nil || next.calls.Load() != 1 || calls.Load() != 1 {
					t.Errorf("got %v, %v; %d calls of it, %d of the next", taken, err, calls.Load(), next.calls.Load())
				}
				alone := sender.NewQueue(sender.Options{Senders: []sender.Sender{troubled}, Log: silent})
				defer alone.Close(t.Context())
				for range 3 {
					if taken, err := deliver(alone, message()); taken != nil || outcome(err) != "failed" {
						t.Errorf("got %v, %v; want a failure", taken, err)
					} else {
						discreet(t, err)
					}
				}
				if taken, _ := deliver(alone, message()); !errors.Is(taken, sender.ErrDown) {
					t.Errorf("after three failures: %v, want down", taken)
				}
			})
		}
	}
}

// A connection that was kept may break under the next message, after that was
// written. Nobody knows then whether it was taken, and net/http must not say it
// twice, unless the receiver can tell by the Idempotency-Key.
func TestBrokenConnectionsRepeatNothing(t *testing.T) {
	for kind, make := range providers {
		t.Run(kind, func(t *testing.T) {
			var calls atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := httputil.DumpRequest(r, true); err != nil {
					t.Error(err)
				}
				if calls.Add(1); calls.Load() > 1 {
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(http.StatusServiceUnavailable)
			}))
			defer server.Close()
			s := make(t, server.URL, time.Second)
			for range 2 {
				if err := s.Send(t.Context(), message()); err == nil {
					t.Error("no error")
				}
			}
			if got := calls.Load(); got != 2 && kind != "webhook" {
				t.Errorf("two messages were said %d times", got)
			}
		})
	}
}

// A provider that hangs holds nothing of ours once its time is over.
func TestHangingProvidersLeaveNoGoroutine(t *testing.T) {
	const messages = 1000
	for kind, make := range providers {
		t.Run(kind, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, and says nothing
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			before := runtime.NumGoroutine()
			s := make(t, "http://"+listener.Addr().String(), time.Second)
			var flying sync.WaitGroup
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			for range messages {
				flying.Go(func() {
					if err := s.Send(ctx, message()); !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "dial") {
						t.Errorf("got %v", err)
					}
				})
			}
			flying.Wait()
			if c, ok := s.(io.Closer); ok {
				c.Close()
			}
			settle(t, before)
		})
	}
}

// The same through the queue, which is closed while all of them hang: every
// message is told failed, once, so that the limits get it back.
func TestQueueOfAHangingProviderLeavesNoGoroutine(t *testing.T) {
	const messages = 1000
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	before := runtime.NumGoroutine()
	o := twilioOptions("http://" + listener.Addr().String())
	o.Timeout = 30 * time.Second
	q := sender.NewQueue(sender.Options{Senders: []sender.Sender{twilio(t, o)}, Workers: messages, Capacity: messages, Log: silent})
	var failed atomic.Int32
	for range messages {
		if err := q.Enqueue(message(), func(err error) {
			if err != nil {
				failed.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := q.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
	if got := failed.Load(); got != messages {
		t.Errorf("%d messages failed, want %d", got, messages)
	}
	settle(t, before)
}

// settle waits until no more goroutines run than before.
func settle(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
