package auth

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Follower is a Store that other processes write to as well. What one of them
// ends must be over in the tables of all.
type Follower interface {
	// Follow tells l of changes until the store is closed. It returns when l has
	// been told to trust for the first time, or with an error when that does
	// not come about before the context ends.
	//
	// Changed comes after every change of a record whose key has one of the
	// prefixes, whoever made it; a change of one that is told for nothing does
	// no harm. TrustUntil(t) promises that each change which is not told by t
	// was made less than 2 s before t. When changes may have been missed,
	// ChangedAll comes before the next promise.
	Follow(ctx context.Context, prefixes []string, l Listener) error
}

// Listener hears of what others do to a store. Its methods return at once, and
// are safe for concurrent use.
type Listener interface {
	// Changed says that the record of a key has been written or removed.
	Changed(key string)
	// ChangedAll says that any record may have been.
	ChangedAll()
	// TrustUntil says how long what has been heard is enough.
	TrustUntil(t time.Time)
}

// errUntrusted is what a request gets while the store cannot be followed: a
// pass could be for a session that has ended elsewhere, and a refusal could sign
// out one that lives.
var errUntrusted = fmt.Errorf("%w: other nodes cannot be heard", ErrUnavailable)

// following is what a Live needs to keep up with other nodes.
type following struct {
	born time.Time // what trusted of a shard counts from
	// marks count the changes of users, each for those whose number ends alike.
	// An entry whose mark has moved on may show an old role or miss an end.
	// Nil when nobody else writes to the store.
	marks atomic.Pointer[[userMarks]atomic.Uint32]
	ears  ears
	// orders counts the changes of what Hear reads, heard those that it has read.
	orders, heard atomic.Uint64
	ordered       chan struct{} // wakes Keep
}

const userMarks = 1 << 20 // 4 MB; so many users in a row share none

// mostLoads is how often a session is read that leaves the table, or changes, as
// fast as it comes.
const mostLoads = 5

// forever is how long entries are good when nobody else writes to the store.
const forever = time.Duration(math.MaxInt64)

// Follow lets the table keep up with what other nodes do to the store: for the
// time that other nodes cannot be heard, it believes nothing. It must be called
// before the table's first use.
func (l *Live) Follow(ctx context.Context, store Follower) error {
	l.TrustUntil(l.born)
	_, err := l.Turn(ctx, store)
	if err != nil {
		l.TrustUntil(l.born)
	}
	return err
}

// Followed lists how the keys begin whose changes Follow tells. A store that
// hides the others must leave these as they are.
func Followed() []string { return []string{sessionPrefix, userPrefix, eraKey, blocksKey} }

func (l *Live) follows() bool { return l.marks.Load() != nil }

// mark is taken before a user's record is read.
func (f *following) mark(user uint64) uint32 {
	marks := f.marks.Load()
	if marks == nil {
		return 0
	}
	return marks[user%userMarks].Load()
}

// Changed implements Listener. Changes of this process are told too: the store
// is then read once more than it need be, which is cheaper than to tell them
// apart.
func (l *Live) Changed(key string) {
	switch key {
	case eraKey:
		l.ChangedAll() // sessions end by it whose own records stay as they are
		return
	case blocksKey:
		l.order()
		return
	}
	if text, ok := strings.CutPrefix(key, sessionPrefix); ok {
		if id, ok := ParseSessionID(text); ok {
			l.update(id, func(e *entry) { e.doubt = true })
			l.watchers.wake(id)
		}
		return
	}
	marks := l.marks.Load()
	if text, ok := strings.CutPrefix(key, userPrefix); ok && marks != nil {
		if user, err := strconv.ParseUint(text, 10, 64); err == nil {
			marks[user%userMarks].Add(1)
			l.watchers.wakeUser(user)
		}
	}
}

// ChangedAll implements Listener.
func (l *Live) ChangedAll() {
	l.order() // first: who reads a session again must have heard the era
	l.eachShard(func(s *liveShard) {
		s.epoch++
		s.changes++
	})
	l.watchers.wakeAll()
}

// TrustUntil implements Listener.
func (l *Live) TrustUntil(t time.Time) {
	d := t.Sub(l.born)
	l.eachShard(func(s *liveShard) { s.trusted = d })
}

func (l *Live) eachShard(do func(*liveShard)) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		do(s)
		s.mu.Unlock()
	}
}

// trusts reports, as an error, that the table must not be believed now.
func (l *Live) trusts(at time.Time) error {
	s := &l.shards[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.trusted(s, at) {
		return errUntrusted
	}
	return nil
}

func (l *Live) trusted(s *liveShard, at time.Time) bool { return at.Sub(l.born) < s.trusted }

// order has what Hear reads be read at once.
func (f *following) order() {
	f.orders.Add(1)
	select {
	case f.ordered <- struct{}{}:
	default:
	}
}

// unheard reports whether an era may have begun, or a block been made, of which
// this table does not know.
func (f *following) unheard() bool { return f.heard.Load() < f.orders.Load() }

// heardTo notes that all orders up to n are known.
func (f *following) heardTo(n uint64) {
	for {
		now := f.heard.Load()
		if n <= now || f.heard.CompareAndSwap(now, n) {
			return
		}
	}
}

// fresh reports whether an entry shows what the store holds, as far as has been
// heard. An end is never taken back, so it needs no second look.
func (l *Live) fresh(s *liveShard, e *entry) bool {
	return e.end != 0 || !e.doubt && e.epoch == s.epoch && e.mark == l.mark(e.userID)
}

// idleHere reports whether an entry looks idle only because other nodes have
// had the session's requests: the store has not been asked since.
func (l *Live) idleHere(e *entry, end endCode, idle int64) bool {
	return l.follows() && end == endCodeOf(EndIdle) && e.readAt < e.lastActivity+idle
}

// hearOrders reads the orders that are known to be there and not yet here.
func (s *Service) hearOrders(ctx context.Context) error {
	if !s.Live.unheard() {
		return nil
	}
	return s.Live.Hear(ctx, s.Store)
}

// merge raises touches to what other nodes have written meanwhile. Each node
// knows only of the requests that came to it, and writes blindly: without this
// the one that saw the session less would take it back.
func merge(ctx context.Context, store Store, touches []touchOf) error {
	keys := make([]string, len(touches))
	for i, t := range touches {
		keys[i] = touchKey(t.id)
	}
	records, err := store.Get(ctx, keys...)
	if err != nil {
		return err
	}
	for i, r := range records {
		if r.Version == 0 {
			continue
		}
		stored, err := decodeTouch(r.Value)
		if err != nil {
			return err
		}
		touches[i].touch = touches[i].touch.merged(stored)
	}
	return nil
}

func (t Touch) merged(other Touch) Touch {
	return Touch{
		LastAccess:   max(t.LastAccess, other.LastAccess),
		LastActivity: max(t.LastActivity, other.LastActivity),
		Seen:         max(t.Seen, other.Seen),
	}
}

func (e *entry) raise(t Touch) {
	t = t.merged(Touch{e.lastAccess, e.lastActivity, e.seen})
	e.lastAccess, e.lastActivity, e.seen = t.LastAccess, t.LastActivity, t.Seen
}

// askSeen asks the store whether another node has seen the session's newest
// generation in use: then a ticket one behind is no lost answer.
func (s *Service) askSeen(ctx context.Context, t Ticket, e *entry) error {
	if !s.Live.follows() || t.Generation == e.generation || s.seen(*e) >= e.generation {
		return nil
	}
	asked := []touchOf{{id: e.id}}
	err := merge(ctx, s.Store, asked)
	e.seen = max(e.seen, asked[0].touch.Seen)
	return err
}
