package gate

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// errCut is what the next handler gets of a request whose session has ended. To
// a proxy that is a client who has left, which is no failure of the upstream.
var errCut = fmt.Errorf("the session has ended: %w", context.Canceled)

// trip is a passage on its way through the next handler: what it takes to cut
// it. It is the request's context there, which is the one that the request came
// with, and can be cancelled. Every request has one, most for a moment only, so
// what costs allocations is made when somebody asks for it.
type trip struct {
	context.Context               // that the request came with
	request         *http.Request // nil before Depart, and for nobody
	flight          auth.Flight
	body            *upload                     // nil: there is none
	inner           atomic.Pointer[cancellable] // nil: nobody asked how to hear of the end
	cut             atomic.Bool

	mu     sync.Mutex // of what follows
	done   bool       // the writer must not be touched any more
	tunnel *tunnel    // nil: nobody took the connection over
}

type cancellable struct {
	context.Context
	cancel context.CancelFunc
}

// Depart makes request and writer ready for the next handler. What belongs to a
// session can be cut from here on. Call Done when the handler returns.
func (p *Passage) Depart(w http.ResponseWriter, r *http.Request) *Response {
	p.answer = Response{ResponseWriter: w, passage: p}
	if !p.SignedIn {
		return &p.answer
	}
	t := &p.trip
	t.Context, t.request = r.Context(), r
	// In place: Caddy's placeholders hold on to this request.
	*r = *r.WithContext(t)
	if r.Body != nil && r.ContentLength != 0 {
		t.body = &upload{ReadCloser: r.Body, passage: p}
		r.Body = t.body
	}
	p.gate.config.Sessions.Board(&t.flight, p.Identity.SessionID, p)
	return &p.answer
}

// Done finishes the answer after the next handler: it cleans a header that
// nobody has written yet, and the trailers. The request is again as it was.
func (p *Passage) Done() {
	if p.answer.ResponseWriter == nil {
		return
	}
	if p.trip.underWay() {
		p.trip.finish()
	}
	if !p.answer.wrote {
		p.answer.prepare()
		return
	}
	p.gate.cleanAnswer(p.answer.Header())
}

// Aborted reports whether the answer was cut. However much of it is written, it
// must not look complete.
func (p *Passage) Aborted() bool { return p.isCut() && p.trip.tunnel == nil }

func (p *Passage) isCut() bool { return p.trip.cut.Load() }

func (t *trip) underWay() bool { return t.request != nil }

// Cut implements auth.Cutter. What can be waiting is woken: the upstream's
// answer by the context, the client's reading and writing by deadlines. A
// deadline may be overwritten at the same moment by the server's own, so they
// are set again at each call.
func (p *Passage) Cut(reason auth.EndReason) {
	t := &p.trip
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return
	}
	if t.tunnel != nil {
		t.tunnel.shut.Store(true) // first: the handler closes it as soon as it hears
		t.tunnel.closing.Add(1)
		go t.tunnel.close(reason)
		defer t.leave()
	}
	if t.cut.CompareAndSwap(false, true) {
		t.cancellable().cancel()
	}
	if t.tunnel == nil {
		expire(p.answer.ResponseWriter, t.body != nil)
	}
}

// expire ends what waits for the client. The writers around the server's own
// are not for a second goroutine, so it goes to that one directly.
func expire(w http.ResponseWriter, body bool) {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = outer.Unwrap()
	}
	past := time.Unix(1, 0)
	c := http.NewResponseController(w)
	if body {
		_ = c.SetReadDeadline(past)
	}
	_ = c.SetWriteDeadline(past)
}

// finish ends the trip, unless a connection that was taken over goes on.
func (t *trip) finish() {
	if t.request.Context() == context.Context(t) {
		*t.request = *t.request.WithContext(t.Context)
	}
	if t.body != nil && t.request.Body == t.body {
		t.request.Body = t.body.ReadCloser
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tunnel == nil {
		t.leave()
	}
}

// leave is for a caller that holds mu.
func (t *trip) leave() {
	t.done = true
	t.flight.Leave()
	if inner := t.inner.Load(); inner != nil {
		inner.cancel()
	}
}

// Done implements context.Context.
func (t *trip) Done() <-chan struct{} {
	if inner := t.inner.Load(); inner != nil {
		return inner.Done()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cancellable().Done()
}

// cancellable is for a caller that holds mu.
func (t *trip) cancellable() *cancellable {
	inner := t.inner.Load()
	if inner == nil {
		inner = new(cancellable)
		inner.Context, inner.cancel = context.WithCancel(t.Context)
		t.inner.Store(inner)
	}
	return inner
}

// Err implements context.Context.
func (t *trip) Err() error { return t.current().Err() }

// Value implements context.Context. The inner one knows itself: a child finds it
// by a key of package context and needs no goroutine to follow it.
func (t *trip) Value(key any) any { return t.current().Value(key) }

func (t *trip) current() context.Context {
	if inner := t.inner.Load(); inner != nil {
		return inner.Context
	}
	return t.Context
}

// upload is the body of a request on its way. What arrives there, the person
// has sent.
type upload struct {
	io.ReadCloser
	passage *Passage
}

func (u *upload) Read(b []byte) (int, error) {
	if u.passage.isCut() {
		return 0, errCut
	}
	n, err := u.ReadCloser.Read(b)
	if n > 0 {
		u.passage.active()
	}
	if err != nil && err != io.EOF && u.passage.isCut() {
		err = errCut // and not the timeout by which we have woken it
	}
	return n, err
}

func (p *Passage) active() {
	p.gate.config.Sessions.Active(p.Identity.SessionID, p.gate.config.Now())
}
