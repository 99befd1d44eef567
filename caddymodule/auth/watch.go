package auth

import (
	"context"
	"slices"
	"sync"
	"time"
)

// watchers are those who wait for news of a session. They stand apart from the
// table of live sessions, whose entries hold no pointers and may leave it.
type watchers struct {
	mu sync.Mutex
	of map[SessionID][]chan struct{}
	// users are the sessions that are watched of each user, as far as known.
	users map[uint64][]SessionID
}

func (w *watchers) add(id SessionID, user uint64) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of, w.users = map[SessionID][]chan struct{}{}, map[uint64][]SessionID{}
	}
	news := make(chan struct{}, 1)
	w.of[id] = append(w.of[id], news)
	w.users[user] = append(w.users[user], id)
	return news
}

func (w *watchers) remove(id SessionID, user uint64, news chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	drop(w.of, id, news)
	drop(w.users, user, id)
}

// drop takes one value out of a list, and an empty list out of its map.
func drop[K, V comparable](lists map[K][]V, key K, value V) {
	list := lists[key]
	if i := slices.Index(list, value); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if lists[key] = list; len(list) == 0 {
		delete(lists, key)
	}
}

// wake tells all who watch a session. Who has not yet looked after the last
// news sees this one with it.
func (w *watchers) wake(id SessionID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell(id)
}

func (w *watchers) wakeUser(user uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range w.users[user] {
		w.tell(id)
	}
}

// wakeAll tells all who watch any session.
func (w *watchers) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.of {
		w.tell(id)
	}
}

func (w *watchers) tell(id SessionID) {
	for _, news := range w.of[id] {
		select {
		case news <- struct{}{}:
		default:
		}
	}
}

// warn tells those who watch the other sessions of a user that there is a new
// one on a device not seen before: if it is a thief's, its owner may be looking.
func (l *Live) warn(seats []Seat, fresh SessionID) {
	for _, seat := range seats {
		if seat.End == "" && seat.SessionID != fresh {
			l.watchers.wake(seat.SessionID)
		}
	}
}

// Watch gives news of a session: after each, Standing says what has become of
// it. An end by the clock alone is no news; Standing tells when to look. Call
// stop when done.
func (s *Service) Watch(id SessionID) (news <-chan struct{}, stop func()) {
	live := s.Live
	e, _ := live.peek(id)
	c := live.watchers.add(id, e.userID)
	return c, func() { live.watchers.remove(id, e.userID, c) }
}

// Standing says how a session has ended, or "" and the instant at which it ends
// if nobody uses it until then. It does not touch the session.
func (s *Service) Standing(ctx context.Context, id SessionID) (end EndReason, due time.Time, err error) {
	now, idle := s.Now(), s.Settings.IdleTimeout.Milliseconds()
	e, found, err := s.Live.look(id, now, idle)
	for range mostLoads {
		if err != nil || found {
			break
		}
		if err = s.load(ctx, id); err != nil {
			return "", due, err
		}
		e, found, err = s.Live.look(id, now, idle)
	}
	switch {
	case err != nil:
		return "", due, err
	case !found:
		return "", due, ErrUnavailable // left the table as fast as it came
	case e.end == 0:
		return "", time.UnixMilli(min(e.expiresAt, e.lastActivity+idle)), nil
	}
	if err := s.refuse(ctx, e); !isOver(err) {
		return "", due, err
	}
	return e.end.reason(), due, nil
}
