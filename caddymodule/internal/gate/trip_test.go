package gate

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const soon = 10 * time.Second

// await waits for something that must come.
func await[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(soon):
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s does not come\n%s", what, stacks[:runtime.Stack(stacks, true)])
	}
	return v
}

// flying is a server behind the gate, and what it has on board.
type flying struct {
	*httptest.Server
	fake     *fake
	returned chan error // of the upstream's handler
}

func fly(t *testing.T, http2 bool, upstream func(w http.ResponseWriter, r *http.Request) error) *flying {
	t.Helper()
	f := &flying{fake: &fake{boarded: make(chan auth.Cutter, 10)}, returned: make(chan error, 10)}
	g := newGate(t, f.fake, nil)
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve(g, w, r, func(w http.ResponseWriter, r *http.Request) { f.returned <- upstream(w, r) })
	}))
	f.EnableHTTP2 = http2
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// start sends a request with the cookie.
func (f *flying) start(t *testing.T, method string, body io.Reader) <-chan *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, f.URL+"/x", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", "__Host-sidegate=good")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	answer := make(chan *http.Response, 1)
	go func() {
		resp, err := f.Client().Do(r)
		if err != nil {
			resp = nil
		}
		answer <- resp
	}()
	return answer
}

// endless is a file that does not end, but for a reader who stops.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// Whatever a handler does when the session ends, it comes back, and its answer
// does not look complete.
func TestCutEndsEveryHandler(t *testing.T) {
	full := make([]byte, 1<<16)
	for name, row := range map[string]struct {
		upload  bool
		handler func(w http.ResponseWriter, r *http.Request) error
	}{
		"it waits for the request's end": {handler: func(_ http.ResponseWriter, r *http.Request) error {
			<-r.Context().Done()
			return context.Cause(r.Context())
		}},
		"it waits with a context of its own": {handler: func(_ http.ResponseWriter, r *http.Request) error {
			ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), errCut, 1))
			defer cancel(nil)
			<-ctx.Done()
			return context.Cause(ctx)
		}},
		"it writes to a client who does not read": {handler: func(w http.ResponseWriter, _ *http.Request) error {
			for {
				if _, err := w.Write(full); err != nil {
					return errCut // a deadline
				}
			}
		}},
		"it copies a file to a client who does not read": {handler: func(w http.ResponseWriter, _ *http.Request) error {
			if _, err := io.Copy(w, endless{}); err != nil {
				return errCut
			}
			return nil
		}},
		"it flushes to a client who does not read": {handler: func(w http.ResponseWriter, _ *http.Request) error {
			for {
				_, _ = w.Write(full)
				if err := http.NewResponseController(w).Flush(); err != nil {
					return errCut
				}
			}
		}},
		"it reads what does not come": {upload: true, handler: func(_ http.ResponseWriter, r *http.Request) error {
			_, err := io.ReadAll(r.Body)
			return err
		}},
		"it ends in good order": {handler: func(w http.ResponseWriter, r *http.Request) error {
			_, _ = io.WriteString(w, "the beginning, ")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			_, err := io.WriteString(w, "the end")
			return err
		}},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(map[bool]string{false: "HTTP1/", true: "HTTP2/"}[http2]+name, func(t *testing.T) {
				f := fly(t, http2, row.handler)
				method, body := "GET", io.Reader(nil)
				r, w := io.Pipe()
				if row.upload {
					method, body = "POST", r
					go func() { _, _ = io.WriteString(w, "x") }()
				}
				answer := f.start(t, method, body)
				cutter := await(t, "the request", f.fake.boarded)
				if row.upload {
					f.fake.hears(t)
				}
				if err := cutUntil(t, cutter, f.returned); !errors.Is(err, context.Canceled) {
					t.Errorf("the handler got %v, want what a client who left gives", err)
				}
				w.Close() // net/http's client waits for its own body
				if resp := await(t, "an answer", answer); resp != nil {
					if resp.ProtoMajor == 2 != http2 {
						t.Error(resp.Proto)
					}
					if _, err := io.Copy(io.Discard, resp.Body); err == nil {
						t.Error("the answer looks complete")
					}
				}
				cutter.Cut(auth.EndLogout) // a sweep that comes late touches nothing
			})
		}
	}
}

// A sweep that comes late finds a connection that serves the next request.
func TestLateCutTouchesNothing(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		f := fly(t, http2, func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.WriteString(w, "hello")
			return err
		})
		var late []auth.Cutter
		for range 3 {
			answer := f.start(t, "GET", nil)
			late = append(late, await(t, "the request", f.fake.boarded))
			_ = await(t, "the handler's return", f.returned)
			resp := await(t, "the answer", answer)
			if resp == nil {
				t.Fatal("no answer")
			}
			if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "hello" {
				t.Errorf("got %q, %v", text, err)
			}
			for _, cutter := range late {
				cutter.Cut(auth.EndLogout)
			}
		}
	}
}

// Whatever a server does about the deadlines: nothing goes through any more, and
// the answer is broken off.
func TestNothingGoesThroughAfterACut(t *testing.T) {
	f := &fake{boarded: make(chan auth.Cutter, 1)}
	w := httptest.NewRecorder()
	defer func() {
		if fault := recover(); fault != http.ErrAbortHandler {
			t.Errorf("the answer ended with %v", fault)
		}
		if w.Body.String() != "before" {
			t.Errorf("got %q", w.Body)
		}
	}()
	serve(newGate(t, f, nil), w, request(t, "GET", "/x", "Authorization: Bearer ours-good"), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "before")
		(<-f.boarded).Cut(auth.EndLogout)
		_, write := w.Write([]byte("after"))
		_, copied := io.Copy(w, io.LimitReader(endless{}, 1<<20))
		flush := http.NewResponseController(w).Flush()
		for _, err := range []error{write, copied, flush} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// tardy is a writer as Caddy has one: it sets a deadline of its own right
// before it writes, here just when the passage has been cut.
type tardy struct {
	http.ResponseWriter
	before func()
}

func (w *tardy) Write(b []byte) (int, error) {
	w.before()
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(time.Minute))
	return w.ResponseWriter.Write(b)
}

// SetWriteDeadline is not for two goroutines at once, as Caddy's is not.
func (w *tardy) SetWriteDeadline(time.Time) error { panic("it keeps notes of what the handler sets") }

func (w *tardy) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestCutAgain(t *testing.T) {
	f := &fake{boarded: make(chan auth.Cutter, 1)}
	g := newGate(t, f, nil)
	returned, write, writing := make(chan bool), make(chan bool), make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(returned)
		late := &tardy{w, func() { writing <- true; <-write }}
		serve(g, late, r, func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(make([]byte, 64<<20)) // more than the system takes
		})
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: app.example.com\r\nCookie: __Host-sidegate=good\r\n\r\n")
	cutter := await(t, "the request", f.boarded)
	await(t, "the write", writing)
	cutter.Cut(auth.EndLogout)
	close(write)
	cutUntil(t, cutter, returned)
}

// cutUntil cuts as sweeps do, again and again until the handler returns. Once is
// enough but where a server writes something of its own afterwards.
func cutUntil[T any](t *testing.T, cutter auth.Cutter, returned <-chan T) (v T) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < time.Second; <-tick.C {
		cutter.Cut(auth.EndLogout)
		select {
		case v = <-returned:
			return v
		default:
		}
	}
	t.Fatal("the handler does not come back within a second")
	return v
}

// A request is the same before and after, for whoever holds on to it, and its
// context in between is no stranger to package context: what follows it needs
// no goroutine.
func TestTripLeavesNoTrace(t *testing.T) {
	type key struct{}
	f := &fake{}
	g := newGate(t, f, nil)
	parent, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "mine"), time.Hour)
	defer cancel()
	r := request(t, "POST", "/x", "Authorization: Bearer ours-good").WithContext(parent)
	body := io.NopCloser(strings.NewReader("hello"))
	r.Body, r.ContentLength = body, 5
	held := r
	var inside context.Context
	for range 2 {
		serve(g, httptest.NewRecorder(), r, func(_ http.ResponseWriter, r *http.Request) {
			inside = r.Context()
			if held.Context() != inside || inside == parent {
				t.Error("who holds the request has another one")
			}
			if inside.Value(key{}) != "mine" || inside.Err() != nil {
				t.Error("the context is not that of the request")
			}
			want, _ := parent.Deadline()
			if got, ok := inside.Deadline(); !ok || got != want {
				t.Error("the deadline is lost")
			}
			goroutines := runtime.NumGoroutine()
			child, cancel := context.WithCancel(inside)
			defer cancel()
			if n := runtime.NumGoroutine(); n > goroutines {
				t.Errorf("%d goroutines follow the context", n-goroutines)
			}
			if child.Value(key{}) != "mine" {
				t.Error("a child knows less")
			}
			if text, err := io.ReadAll(r.Body); err != nil || string(text) != "hello" {
				t.Errorf("body %q, %v", text, err)
			}
		})
		if r.Context() != parent || r.Body != body {
			t.Error("the request has changed")
		}
		if inside.Err() == nil {
			t.Error("what still follows the request was not told of its end")
		}
		r.Header["Authorization"] = []string{"Bearer ours-good"}
		r.Body = io.NopCloser(strings.NewReader("hello"))
		body = r.Body
	}
	if n := f.active.Load(); n == 0 {
		t.Error("nobody heard that the person sends something")
	}
}

// A client's leaving comes through.
func TestTripFollowsTheRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := request(t, "GET", "/x", "Authorization: Bearer ours-good").WithContext(ctx)
	serve(newGate(t, &fake{}, nil), httptest.NewRecorder(), r, func(_ http.ResponseWriter, r *http.Request) {
		done := r.Context().Done()
		cancel()
		await(t, "the client's leaving", done)
		if r.Context().Err() != context.Canceled {
			t.Error(r.Context().Err())
		}
	})
}

// However a handler ends, the request leaves; and nobody boards who has no
// session.
func TestEveryTripEnds(t *testing.T) {
	for name, row := range map[string]struct {
		target, authorization string
		boards                bool
		upstream              http.HandlerFunc
	}{
		"it answers":               {"/x", "Bearer ours-good", true, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }},
		"it aborts":                {"/x", "Bearer ours-good", true, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		"it has a bug":             {"/x", "Bearer ours-good", true, func(http.ResponseWriter, *http.Request) { panic("bug") }},
		"public, with a session":   {"/public/x", "Bearer ours-good", true, func(http.ResponseWriter, *http.Request) {}},
		"public, and nobody":       {"/public/x", "", false, func(http.ResponseWriter, *http.Request) {}},
		"public, and a dead token": {"/public/x", "Bearer ours-revoked", false, func(http.ResponseWriter, *http.Request) {}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{boarded: make(chan auth.Cutter, 1)}
			g := newGate(t, f, nil)
			r := request(t, "GET", row.target)
			if row.authorization != "" {
				r.Header.Set("Authorization", row.authorization)
			}
			var passage auth.Cutter
			func() {
				defer func() { _ = recover() }()
				serve(g, httptest.NewRecorder(), r, func(w http.ResponseWriter, r *http.Request) {
					passage = w.(*Response).passage
					row.upstream(w, r)
				})
			}()
			if boarded := len(f.boarded) > 0; boarded != row.boards {
				t.Errorf("boarded %v, want %v", boarded, row.boards)
			}
			f.live.CutAll()
			if passage.(*Passage).isCut() {
				t.Error("it is still on board")
			}
		})
	}
}
