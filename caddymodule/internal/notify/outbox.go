package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Options are what an Outbox is made of. All but Now are needed.
type Options struct {
	Store auth.Store
	// Key begins the keys of the records. The same one finds what waits after a
	// restart, and on another node.
	Key   string
	Wants func(auth.EventName) bool
	// Post delivers the JSON of a notice; the id tells repetitions. An error that
	// wraps ErrRefused means that the receiver works and will never want it; any
	// other, that it should be tried again. It ends with its context.
	Post    func(ctx context.Context, id string, body []byte) error
	Timeout time.Duration // of one Post
	Counter Counter
	Log     *slog.Logger
	Now     func() time.Time // default: time.Now
}

// Counter counts. The causes and outcomes are few.
type Counter interface {
	Dropped(cause string, n int)
	Posted(outcome string)
	Waiting(n int)
}

// ErrRefused says that the receiver works, and does not want this notice.
var ErrRefused = errors.New("the receiver refused the notice")

// Causes of Counter.Dropped.
const (
	droppedFull  = "full"  // the oldest make room
	droppedOld   = "old"   // it has waited for three days
	droppedStore = "store" // the store did not take it
)

const (
	workers    = 8    // notices on their way at once
	laterRoom  = 4096 // notices in memory
	writeWait  = 2 * time.Second
	leaseSpare = 10 * time.Second // of a lease, beyond the last Post
	lookEvery  = 5 * time.Second  // for what other nodes have left
)

// Outbox keeps what a receiver has to hear, and delivers it.
//
// What is promised: a notice about somebody who has signed in is durable before
// Tell returns, and Tell is called before the answer. So whatever was answered is
// told, after any crash. If the store fails just then, the notice waits in
// memory for it, as all others do, and a crash in that time loses it.
type Outbox struct {
	Options
	holder string // of leases: this process and configuration
	pause  pause

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	posting context.Context // ends when Close waits no longer
	cut     context.CancelFunc
	done    sync.WaitGroup
	later   chan Notice // not yet in the store
	closed  atomic.Bool
	logged  atomic.Int64 // when a loss was last logged, in Unix seconds

	hints [lanes]atomic.Bool     // the lane has something for us
	sizes [lanes]atomic.Int64    // as last seen
	wakes [workers]chan struct{} // capacity 1
}

// Open starts to deliver what waits. Close ends it.
func Open(o Options) *Outbox {
	if o.Now == nil {
		o.Now = time.Now
	}
	b := &Outbox{Options: o, holder: rand.Text(), later: make(chan Notice, laterRoom), pause: pause{now: o.Now}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.posting, b.cut = context.WithCancel(context.Background())
	for i := range b.wakes {
		b.wakes[i] = make(chan struct{}, 1)
	}
	for i := range b.wakes {
		b.done.Go(func() { b.work(i) })
	}
	b.done.Go(b.write)
	return b
}

// Tell takes an event. See Outbox for what is promised when it returns.
func (b *Outbox) Tell(e auth.Event) {
	if !b.Wants(e.Name) {
		return
	}
	n := noticeOf(e)
	if n.personal() {
		ctx, cancel := context.WithTimeout(context.Background(), writeWait)
		defer cancel()
		if b.add(ctx, n.lane(), n) == nil {
			return
		}
	}
	if b.closed.Load() {
		b.Counter.Dropped(droppedStore, 1)
		return
	}
	select {
	case b.later <- n:
	default:
		b.Counter.Dropped(droppedFull, 1)
	}
}

// Close lets the attempts that are under way end, until ctx does, and writes
// what is still in memory. What waits in the store goes on waiting.
func (b *Outbox) Close(ctx context.Context) error {
	b.closed.Store(true)
	b.cancel()
	stop := context.AfterFunc(ctx, b.cut)
	defer stop()
	b.done.Wait()
	if err := b.posting.Err(); err != nil {
		return fmt.Errorf("ending deliveries: %w", err)
	}
	b.cut()
	return nil
}

// add writes notices to the end of a lane.
func (b *Outbox) add(ctx context.Context, i int, fresh ...Notice) error {
	err := b.update(ctx, i, func(l *lane) bool {
		l.Notices = append(l.Notices, fresh...)
		return true
	})
	if err == nil {
		b.hint(i)
	}
	return err
}

// hint has the worker of a lane look into it.
func (b *Outbox) hint(i int) {
	b.hints[i].Store(true)
	select {
	case b.wakes[i%workers] <- struct{}{}:
	default:
	}
}

func (b *Outbox) key(i int) string { return b.Key + "/" + strconv.Itoa(i) }

// update lets change decide on a lane, and swaps; when somebody else was faster
// it starts over. change returns false to write nothing.
func (b *Outbox) update(ctx context.Context, i int, change func(*lane) bool) error {
	for {
		read, err := b.Store.Get(ctx, b.key(i))
		if err != nil {
			return fmt.Errorf("reading notices: %w", err)
		}
		l, err := decode(read[0])
		if err != nil {
			return err
		}
		now := b.Now()
		old := l.age(now)
		if !change(&l) && old == 0 {
			b.saw(i, len(l.Notices))
			return nil
		}
		value, full, err := l.encode()
		if err != nil {
			return err
		}
		_, err = b.Store.Swap(ctx, read[0].Version, auth.Write{Key: b.key(i), Value: value, Expires: now.Add(keptFor)})
		switch {
		case err == nil:
			b.count(droppedOld, old)
			b.count(droppedFull, full)
			b.saw(i, len(l.Notices))
			return nil
		case !errors.Is(err, auth.ErrConflict):
			return fmt.Errorf("writing notices: %w", err)
		case ctx.Err() != nil:
			return fmt.Errorf("writing notices: %w: %w", auth.ErrUnavailable, ctx.Err())
		}
	}
}

func (b *Outbox) count(cause string, n int) {
	if n == 0 {
		return
	}
	b.Counter.Dropped(cause, n)
	// While a receiver is down each event may push one out.
	if last, now := b.logged.Load(), b.Now().Unix(); now-last >= 60 && b.logged.CompareAndSwap(last, now) {
		b.Log.Error("a receiver of events will miss some; the metric caddy_sidegate_events_dropped_total counts them", "cause", cause)
	}
}

// saw notes how many notices wait in a lane.
func (b *Outbox) saw(i, n int) {
	b.sizes[i].Store(int64(n))
	sum := 0
	for i := range b.sizes {
		sum += int(b.sizes[i].Load())
	}
	b.Counter.Waiting(sum)
}
