package auth

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// ears are who the table listens to: the store that it follows now, and none of
// those that it has followed before.
type ears struct {
	mu  sync.RWMutex // held while something is heard: what comes late from a former store is not
	now *ear         // nil: nobody else writes to the store
}

// ear is the Listener of one store.
type ear struct{ live *Live }

// Turn has the table, while it is in use, follow another store than before; nil
// is one that nobody else writes to. No other process may use the two stores
// meanwhile. back undoes it.
func (l *Live) Turn(ctx context.Context, to Follower) (back func(), err error) {
	if to == nil {
		former := l.listenTo(nil)
		return func() { l.listenTo(former) }, nil
	}
	next := &ear{l}
	former := l.listenTo(next)
	back = func() { l.listenTo(former) }
	if err := to.Follow(ctx, Followed(), next); err != nil {
		back()
		return nil, err
	}
	return back, nil
}

// listenTo changes the ear. What was said meanwhile to the new one was not heard.
func (l *Live) listenTo(next *ear) (former *ear) {
	l.ears.mu.Lock()
	defer l.ears.mu.Unlock()
	former, l.ears.now = l.ears.now, next
	switch {
	case next == nil && former != nil:
		l.marks.Store(nil)
		l.TrustUntil(l.born.Add(forever))
	case next != nil && !l.follows():
		l.marks.Store(new([userMarks]atomic.Uint32))
	}
	if former != next {
		l.ChangedAll()
	}
	return former
}

// hear does what an ear is told to, if it is the one that counts.
func (e *ear) hear(do func()) {
	e.live.ears.mu.RLock()
	defer e.live.ears.mu.RUnlock()
	if e.live.ears.now == e {
		do()
	}
}

// Changed implements Listener.
func (e *ear) Changed(key string) { e.hear(func() { e.live.Changed(key) }) }

// ChangedAll implements Listener.
func (e *ear) ChangedAll() { e.hear(e.live.ChangedAll) }

// TrustUntil implements Listener.
func (e *ear) TrustUntil(t time.Time) { e.hear(func() { e.live.TrustUntil(t) }) }
