package sender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// What a Queue answers when it does not take, or does not deliver, a message.
var (
	ErrFull    = errors.New("the queue for messages is full")
	ErrClosed  = errors.New("the queue for messages is closed")
	ErrDown    = errors.New("every sender is down")
	ErrNoRoute = errors.New("no sender takes numbers of this country on this channel")
	ErrExpired = errors.New("the code expired before it was delivered")
)

// Options are what a Queue is made of. Zero values take the defaults.
type Options struct {
	Senders  []Sender         // tried in this order
	Timeout  time.Duration    // of one attempt, for senders without a Limit; 5 s
	Workers  int              // messages on their way at once; 8
	Capacity int              // messages that wait; 256
	Log      *slog.Logger     // slog.Default
	Now      func() time.Time // time.Now
	// Country tells the country of a number, in two letters, for senders that
	// take some countries only. Default: none has one.
	Country func(e164 string) string
	// Tried hears of each attempt when it has ended, from many goroutines at
	// once. Default: nobody does.
	Tried func(Attempt)
}

func (o *Options) fill() {
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Workers <= 0 {
		o.Workers = 8
	}
	if o.Capacity <= 0 {
		o.Capacity = 256
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Country == nil {
		o.Country = func(string) string { return "" }
	}
	if o.Tried == nil {
		o.Tried = func(Attempt) {}
	}
}

// Queue delivers messages in the background. It implements auth.Outbox. A
// message goes to the first sender that takes it, of those that take its country
// and channel; a sender that failed three times in a row is passed over for
// 30 s, then one message tries it again.
type Queue struct {
	options Options
	health  *health
	jobs    chan job
	ended   chan struct{} // closed when the last worker has returned
	ctx     context.Context
	cancel  context.CancelFunc

	mu     sync.Mutex // guards closed, and sending on jobs against closing it
	closed bool
}

type job struct {
	message auth.Message
	done    func(error)
	route   []int // the senders that may have it, in order
	probe   int   // the sender whose probe this is, or none
}

// NewQueue starts the workers. Close ends them.
func NewQueue(o Options) *Queue {
	o.fill()
	q := &Queue{
		options: o,
		health:  &health{now: o.Now, states: make([]state, len(o.Senders))},
		jobs:    make(chan job, o.Capacity),
		ended:   make(chan struct{}),
	}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	var workers sync.WaitGroup
	for range o.Workers {
		workers.Go(q.work)
	}
	go func() {
		workers.Wait()
		close(q.ended)
	}()
	return q
}

// Enqueue takes the message and returns at once; see auth.Outbox. The error is
// ErrFull, ErrClosed, ErrDown or ErrNoRoute.
func (q *Queue) Enqueue(m auth.Message, done func(error)) error {
	route := q.route(m.To, m.Channel)
	if len(route) == 0 && len(q.options.Senders) > 0 {
		return ErrNoRoute
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	probe, ok := q.health.admit(route)
	if !ok {
		return ErrDown
	}
	select {
	case q.jobs <- job{m, done, route, probe}:
		return nil
	default:
		if probe != none {
			q.health.release(probe)
		}
		return ErrFull
	}
}

// Close takes no more messages, and delivers those that wait until ctx ends;
// what is left then is given up with ErrClosed. It returns when every worker
// has, and every done was called; the error is ctx's when it cut the queue
// short. Senders that are an io.Closer are closed.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	first := !q.closed
	if first {
		q.closed = true
		close(q.jobs)
	}
	q.mu.Unlock()
	var err error
	select {
	case <-q.ended:
	case <-ctx.Done():
		err = fmt.Errorf("delivering what waits: %w", ctx.Err())
	}
	q.cancel()
	<-q.ended
	if !first {
		return err
	}
	for _, s := range q.options.Senders {
		if c, ok := s.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

func (q *Queue) work() {
	for j := range q.jobs {
		j.done(q.deliver(j))
	}
}

// deliver tries the senders in their order, within the life of the code.
func (q *Queue) deliver(j job) error {
	reserved := j.probe
	defer func() {
		if reserved != none { // its turn never came
			q.health.release(reserved)
		}
	}()
	ctx, cancel := q.ctx, context.CancelFunc(func() {})
	if end := j.message.ExpiresAt; !end.IsZero() {
		ctx, cancel = context.WithTimeoutCause(q.ctx, end.Sub(q.options.Now()), ErrExpired)
	}
	defer cancel()
	var failures []error
	for _, i := range j.route {
		s := q.options.Senders[i]
		if ctx.Err() != nil {
			break
		}
		ok, probing := q.health.begin(i, reserved)
		if !ok {
			continue
		}
		if i == reserved {
			reserved = none // attempt ends it
		}
		err := q.attempt(ctx, turn{i, probing}, j.message)
		if err == nil {
			q.mention(s, failures)
			return nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", s.Name(), err))
	}
	switch {
	case q.ctx.Err() != nil:
		failures = append(failures, ErrClosed)
	case ctx.Err() != nil:
		failures = append(failures, context.Cause(ctx))
	case len(failures) == 0:
		return ErrDown
	}
	return errors.Join(failures...)
}

// mention logs that earlier senders failed: the one who gets a returned error
// hears nothing of them when a later one delivers.
func (q *Queue) mention(by Sender, failures []error) {
	if len(failures) > 0 {
		q.options.Log.Warn("delivered by a later sender", "sender", by.Name(), "error", errors.Join(failures...))
	}
}

// turn is a message's leave to try a sender.
type turn struct {
	sender  int
	probing bool
}

// attempt is one try with one sender.
func (q *Queue) attempt(parent context.Context, t turn, m auth.Message) error {
	s, limit := q.options.Senders[t.sender], q.options.Timeout
	if l, ok := s.(limited); ok && l.Limit() > 0 {
		limit = l.Limit()
	}
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	began := q.options.Now()
	err := send(ctx, s, m)
	cut := err != nil && parent.Err() != nil
	q.options.Tried(Attempt{s.Name(), q.options.Country(m.To), m.Channel, outcomeOf(err, cut), q.options.Now().Sub(began)})
	if cut {
		if t.probing {
			q.health.release(t.sender) // cut short by us: it says nothing about the sender
		}
		return err
	}
	worked := err == nil || errors.Is(err, ErrRefused)
	if q.health.end(t.sender, worked, t.probing) {
		if worked {
			q.options.Log.Info("sender works again", "sender", s.Name())
		} else {
			q.options.Log.Error("sender is down", "sender", s.Name(), "retry_after", downFor.String(), "error", err)
		}
	}
	return err
}

// send keeps a sender's panic from ending the process, and a sender's error
// from telling what must not stand in a log.
func send(ctx context.Context, s Sender, m auth.Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in sender (%T)", p) // its text might hold the code
		}
	}()
	err = s.Send(ctx, m)
	if err == nil {
		return nil
	}
	if tells(err.Error(), m) {
		withheld := errors.New("the error is withheld, since it holds the code or the number")
		if errors.Is(err, ErrRefused) {
			return fmt.Errorf("%w: %w", ErrRefused, withheld)
		}
		return withheld
	}
	return err
}
