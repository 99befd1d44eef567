package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// lapseEvery is how often the next shard of the table is looked through: all
	// of them within 52 s.
	lapseEvery = 200 * time.Millisecond
	// walkEvery is how many of those ticks there are to a page of the store, and
	// walkPage how long one is: 250 records a second cost a core two
	// thousandths of its time.
	walkEvery = 5
	walkPage  = 250
	// restTicks is how long it is from a walk, or a fault, to the next one: a
	// minute.
	restTicks = int(time.Minute / lapseEvery)
	// lapseMargin is how long a session must have been over: another node may
	// keep its last use to itself for half of that.
	lapseMargin = 10 * time.Second
)

// lapses is how far the looking has come, in ticks.
type lapses struct {
	tick   int
	rest   int    // until then there is no looking: the store had a fault
	walk   int    // until then there is no walk: one has ended, or met a fault
	walked string // the key of the last record that the walk has seen
}

// Lapse notes and tells the ends of sessions that have run out and that nobody
// has looked at since, until the context ends: of those in memory within a
// minute, of the others when a walk through the store comes to them, if it is a
// Lister. rules gives the service whose rules hold at the moment; nil is none.
func Lapse(ctx context.Context, rules func() *Service) {
	tick := time.NewTicker(lapseEvery)
	defer tick.Stop()
	for l := new(lapses); ; l.tick++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s := rules(); s != nil {
				s.look(ctx, l)
			}
		}
	}
}

// look goes on by one tick.
func (s *Service) look(ctx context.Context, l *lapses) {
	if l.tick < l.rest {
		return
	}
	err := s.lapseAll(ctx, s.Live.overdue(l.tick%liveShards, s.ripe(), s.Settings.IdleTimeout.Milliseconds()))
	if err != nil {
		l.rest = l.tick + restTicks
	} else if l.tick >= l.walk && l.tick%walkEvery == 0 {
		if err = s.walk(ctx, l); err != nil {
			l.walk = l.tick + restTicks
		}
	}
	if err != nil && ctx.Err() == nil {
		s.Log.Error("looking for sessions that have run out", "error", err)
	}
}

// ripe is the instant at which a session must have been over.
func (s *Service) ripe() int64 { return s.Now().Add(-lapseMargin).UnixMilli() }

// overdue lists the sessions of one shard that the clock had ended at an
// instant, and whose end the store may not have. Those of an earlier era were
// ended all at once, which was told.
func (l *Live) overdue(shard int, at, idle int64) (over []SessionID) {
	s := &l.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	era := l.era.Load()
	for i := range s.table {
		e := &s.table[i]
		if !e.settled && e.era >= era && overdue(e.expiresAt, e.lastActivity, at, idle) != 0 {
			over = append(over, e.id)
		}
	}
	return over
}

// walk looks through one more page of the store for sessions that are not in
// memory.
func (s *Service) walk(ctx context.Context, l *lapses) error {
	records, err := s.list(ctx, "session/", l.walked, walkPage)
	if errors.Is(err, ErrCannotList) {
		l.walk = l.tick + restTicks
		return nil
	}
	if err != nil {
		return err
	}
	var over []SessionID
	for _, r := range records {
		l.walked = r.Key
		var v Session
		if err := decode(r.Value, &v); err != nil {
			return fmt.Errorf("session %s: %w", strings.TrimPrefix(r.Key, "session/"), err)
		}
		if s.mayHaveLapsed(v) {
			over = append(over, v.ID)
		}
	}
	if len(records) < walkPage {
		l.walked, l.walk = "", l.tick+restTicks
	}
	return s.lapseAll(ctx, over)
}

// mayHaveLapsed reports whether a session that is not in memory has run out, if
// it was never used: most have not, and need no further look.
func (s *Service) mayHaveLapsed(v Session) bool {
	if v.EndReason != "" || v.Era < s.Live.era.Load() {
		return false
	}
	_, here := s.Live.peek(v.ID)
	return !here && overdue(v.ExpiresAt.UnixMilli(), v.CreatedAt.UnixMilli(), s.ripe(), s.Settings.IdleTimeout.Milliseconds()) != 0
}

func (s *Service) lapseAll(ctx context.Context, ids []SessionID) error {
	for _, id := range ids {
		if err := s.lapse(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// lapse ends a session that has run out by what the store says of it, too: it
// may have been used on another node.
func (s *Service) lapse(ctx context.Context, id SessionID) error {
	e, err := s.readEntry(ctx, id)
	if isOver(err) {
		return nil // its record has aged out
	}
	if err != nil || e.settled {
		return err
	}
	if e.end == 0 {
		e.end = overdue(e.expiresAt, e.lastActivity, s.ripe(), s.Settings.IdleTimeout.Milliseconds())
	}
	if e.end == 0 {
		s.Live.update(id, func(here *entry) { here.lastActivity = max(here.lastActivity, e.lastActivity) })
		return nil
	}
	if err := s.noteEnd(ctx, id, e.end.reason()); err != nil {
		return err
	}
	s.Live.end(id, e.end.reason(), true)
	return nil
}
