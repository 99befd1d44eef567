package sender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
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
	Screen   Screen           // asked before them; nil: every message may go out
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
// 30 s, then one message tries it again. The screen, if there is one, comes
// before all of them and has a health like theirs.
type Queue struct {
	options Options
	parties []Sender // the senders, and behind them the screen
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
	probes  []int // the parties whose probe this is
}

// NewQueue starts the workers. Close ends them.
func NewQueue(o Options) *Queue {
	o.fill()
	q := &Queue{
		options: o,
		parties: slices.Clone(o.Senders),
		jobs:    make(chan job, o.Capacity),
		ended:   make(chan struct{}),
	}
	if o.Screen != nil {
		q.parties = append(q.parties, screened{o.Screen, o.Country})
	}
	q.health = &health{now: o.Now, states: make([]state, len(q.parties))}
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
	q.mu.Lock()
	defer q.mu.Unlock()
	j, err := q.admit(m)
	if err != nil {
		return err
	}
	j.done = done
	q.jobs <- j // never blocks: only here, under the lock, are places taken
	return nil
}

// Admits says whether Enqueue would take the message now; see auth.Admitter.
func (q *Queue) Admits(m auth.Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	j, err := q.admit(m)
	if err == nil {
		q.health.release(j.probes...)
	}
	return err
}

// admit makes a job of a message that has a chance. The caller holds the lock.
func (q *Queue) admit(m auth.Message) (job, error) {
	route := q.route(m.To, m.Channel)
	if len(route) == 0 && len(q.options.Senders) > 0 {
		return job{}, ErrNoRoute
	}
	if q.closed {
		return job{}, ErrClosed
	}
	if len(q.jobs) == cap(q.jobs) {
		return job{}, ErrFull
	}
	probes, ok := q.probes(route)
	if !ok {
		return job{}, ErrDown
	}
	return job{message: m, route: route, probes: probes}, nil
}

// probes says whether a new message has a chance, and which probes it takes.
func (q *Queue) probes(route []int) (probes []int, ok bool) {
	ways := [][]int{route}
	if q.strict() {
		ways = append(ways, []int{q.screen()})
	}
	for _, way := range ways {
		probe, ok := q.health.admit(way)
		if !ok {
			q.health.release(probes...)
			return nil, false
		}
		if probe != none {
			probes = append(probes, probe)
		}
	}
	return probes, true
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
	for _, s := range q.parties {
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

// deliver asks the screen and tries the senders in their order, within the life
// of the code.
func (q *Queue) deliver(j job) error {
	defer func() { q.health.release(j.probes...) }() // those whose turn never came
	ctx, cancel := q.ctx, context.CancelFunc(func() {})
	if end := j.message.ExpiresAt; !end.IsZero() {
		ctx, cancel = context.WithTimeoutCause(q.ctx, end.Sub(q.options.Now()), ErrExpired)
	}
	defer cancel()
	if err := q.pass(ctx, &j); err != nil {
		return q.given(ctx, err)
	}
	j.message.ClientIP = "" // senders, also of others, have no use for it
	var failures []error
	for _, i := range j.route {
		if ctx.Err() != nil {
			break
		}
		tried, err := q.try(ctx, i, &j)
		if !tried {
			continue
		}
		s := q.parties[i]
		if err == nil {
			q.mention(s, failures)
			return nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", s.Name(), err))
	}
	return q.given(ctx, failures...)
}

// given is the error of a message that nobody has taken.
func (q *Queue) given(ctx context.Context, failures ...error) error {
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

// try is a message's turn with a party, unless that is down.
func (q *Queue) try(ctx context.Context, i int, j *job) (tried bool, err error) {
	ok, probing := q.health.begin(i, j.probes)
	if !ok {
		return false, nil
	}
	j.probes = slices.DeleteFunc(j.probes, func(p int) bool { return p == i }) // attempt ends it
	return true, q.attempt(ctx, turn{i, probing}, j.message)
}

// mention logs that earlier senders failed: the one who gets a returned error
// hears nothing of them when a later one delivers.
func (q *Queue) mention(by Sender, failures []error) {
	if len(failures) > 0 {
		q.options.Log.Warn("delivered by a later sender", "sender", by.Name(), "error", errors.Join(failures...))
	}
}

// turn is a message's leave to try a party.
type turn struct {
	party   int
	probing bool
}

// attempt is one try with one party.
func (q *Queue) attempt(parent context.Context, t turn, m auth.Message) error {
	s, limit := q.parties[t.party], q.options.Timeout
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
			q.health.release(t.party) // cut short by us: it says nothing about the party
		}
		return err
	}
	worked := err == nil || errors.Is(err, ErrRefused) || errors.Is(err, auth.ErrDenied)
	if q.health.end(t.party, worked, t.probing) {
		q.tell(t.party, worked, err)
	}
	return err
}

// tell logs that a party has come up or gone down.
func (q *Queue) tell(i int, works bool, err error) {
	what, key := "sender", "sender"
	if i == q.screen() {
		what, key = "risk hook", "hook"
	}
	if works {
		q.options.Log.Info(what+" works again", key, q.parties[i].Name())
	} else {
		q.options.Log.Error(what+" is down", key, q.parties[i].Name(), "retry_after", downFor.String(), "error", err)
	}
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
