package auth

import (
	"context"
	"fmt"
	"time"
)

// era is the record that ends all sessions at once. A session has the number of
// the era in which it was begun, and is over in a later one. It is a number and
// not an instant: the clocks of nodes differ, and a session that a fast one has
// dated ahead would live on.
type era struct {
	Number uint32    `json:"number"`
	Since  time.Time `json:"since"`
}

const eraKey = "era"

// RevokeAll ends all sessions there are, by one swap on one record. Sign-ins
// that are under way end with them.
func (o Operator) RevokeAll(ctx context.Context) error {
	ctx, cancel := lasting(ctx)
	defer cancel()
	s := o.service
	var before era
	after, err := update(ctx, s.Store, eraKey, func(e *era, _ bool) (Write, error) {
		before = *e
		*e = era{e.Number + 1, s.now()}
		return Write{Ending: true}, nil
	})
	if err != nil {
		s.hearAgain(ctx)
		return err
	}
	s.Live.enter(after.Number)
	o.Tell(Event{Name: EventSessionsRevoked, Cause: "all", Before: before, After: after})
	return nil
}

// hearAgain asks the store after a write that has failed: it may be there all
// the same. When the store cannot say either, Keep hears of it later.
func (s *Service) hearAgain(ctx context.Context) {
	if err := s.Live.Hear(ctx, s.Store); err != nil {
		s.Log.Error("after a failed write", "error", err)
	}
}

// enter ends the sessions of all earlier eras for everyone in the process.
func (l *Live) enter(number uint32) {
	for {
		now := l.era.Load()
		if number <= now {
			return
		}
		if l.era.CompareAndSwap(now, number) {
			l.watchers.wakeAll()
			return
		}
	}
}

// Hear reads what operators have ordered for all sessions and all numbers, also
// on other nodes. It must have succeeded once before the first request; then
// Keep calls it.
func (l *Live) Hear(ctx context.Context, store Store) error {
	orders := l.orders.Load()
	records, err := store.Get(ctx, eraKey, blocksKey)
	if err != nil {
		return fmt.Errorf("reading operators' orders: %w", err)
	}
	var e era
	if records[0].Version != 0 {
		if err := decode(records[0].Value, &e); err != nil {
			return err
		}
	}
	var b blocks
	if records[1].Version != 0 {
		if err := decode(records[1].Value, &b); err != nil {
			return err
		}
	}
	l.enter(e.Number)
	l.block(b)
	l.heardTo(orders)
	return nil
}
