package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Erase implements auth.Eraser: it overwrites the owner's data key.
func (s *Store) Erase(ctx context.Context, owner uint64, until time.Time) error {
	if owner == 0 {
		return fmt.Errorf("%w: records of nobody cannot be erased", auth.ErrUnavailable)
	}
	if err := s.accept(auth.Write{Owner: owner, Ending: true}); err != nil {
		return err
	}
	_, err := run(ctx, &s.calls, func() (struct{}, error) { return struct{}{}, s.erase(owner, until) })
	return err
}

func (s *Store) erase(owner uint64, until time.Time) error {
	for range 1000 {
		// One who has no key gets one, so that what is under way has a place to
		// vanish in.
		found, err := s.places(auth.Write{Owner: owner, Value: []byte{}})
		if err != nil {
			return err
		}
		slot := found[owner].slot
		if err := s.slots.overwrite(slot, s.opt.Seal.ErasedSlot(slot)); err != nil {
			return err
		}
		err = s.noteErased(owner, slot, until)
		if err == nil {
			return s.durable()
		}
		if !errors.Is(err, badger.ErrConflict) {
			return err
		}
	}
	return errors.New("an owner's data key changes again and again")
}

// noteErased comes after the overwriting: a crash in between leaves the owner
// erased, and free to come back at once. It is a conflict when the owner has
// another key by now, which is then the one to erase.
func (s *Store) noteErased(owner, slot uint64, until time.Time) error {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	o, err := s.ownership(txn, owner)
	if err != nil {
		return err
	}
	if o.slot != slot {
		return badger.ErrConflict
	}
	if err := s.setOwnership(txn, owner, ownership{slot, until}); err != nil {
		return fmt.Errorf("noting an erasure: %w", err)
	}
	return s.committed(txn)
}

var _ auth.Eraser = (*Store)(nil)
