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
}

func (w *watchers) add(id SessionID) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[SessionID][]chan struct{}{}
	}
	news := make(chan struct{}, 1)
	w.of[id] = append(w.of[id], news)
	return news
}

func (w *watchers) remove(id SessionID, news chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := slices.DeleteFunc(w.of[id], func(c chan struct{}) bool { return c == news })
	if len(left) == 0 {
		delete(w.of, id)
		return
	}
	w.of[id] = left
}

// wake tells all who watch a session. Who has not yet looked after the last
// news sees this one with it.
func (w *watchers) wake(id SessionID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeLocked(id)
}

func (w *watchers) wakeLocked(id SessionID) {
	for _, news := range w.of[id] {
		select {
		case news <- struct{}{}:
		default:
		}
	}
}

// wakeAll tells all who watch any session.
func (w *watchers) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.of {
		w.wakeLocked(id)
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
	c := s.Live.watchers.add(id)
	return c, func() { s.Live.watchers.remove(id, c) }
}

// Standing says how a session has ended, or "" and the instant at which it ends
// if nobody uses it until then. It does not touch the session.
func (s *Service) Standing(ctx context.Context, id SessionID) (end EndReason, due time.Time, err error) {
	e, found := s.Live.peek(id)
	for range 3 {
		if found && !e.doubt {
			break
		}
		if err := s.load(ctx, id); err != nil {
			return "", due, err
		}
		e, found = s.Live.peek(id)
	}
	if !found {
		return "", due, ErrUnavailable // left the table as fast as it came
	}
	idle := s.Settings.IdleTimeout.Milliseconds()
	if e.end == 0 && e.era < s.Live.era.Load() {
		e.end, e.settled = endCodeOf(EndRevoked), true
	}
	if e.end == 0 {
		e.end = overdue(e.expiresAt, e.lastActivity, s.Now().UnixMilli(), idle)
	}
	if e.end == 0 {
		return "", time.UnixMilli(min(e.expiresAt, e.lastActivity+idle)), nil
	}
	if err := s.refuse(ctx, e); !isOver(err) {
		return "", due, err
	}
	return e.end.reason(), due, nil
}
