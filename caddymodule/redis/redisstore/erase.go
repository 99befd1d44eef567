package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Erase implements auth.Eraser: it replaces the owner's data key. Redis forgets
// at once what is replaced; its files do when it next writes them anew.
func (s *Store) Erase(ctx context.Context, owner uint64, until time.Time) error {
	if owner == 0 {
		return fmt.Errorf("%w: records of nobody cannot be erased", auth.ErrUnavailable)
	}
	if err := accept(ctx, auth.Write{Owner: owner}); err != nil {
		return err
	}
	for range 1000 {
		s.known.forget(s.heardAs(ownerName(owner))) // what is erased must be the key there is now
		// One who has no key gets one, so that what is under way has a place to
		// vanish in.
		found, err := s.places(ctx, auth.Write{Owner: owner, Value: []byte{}})
		if err != nil {
			return err
		}
		if err = s.erase(ctx, owner, found[owner], until); !errors.Is(err, auth.ErrConflict) {
			return err
		}
	}
	return unavailable("erasing", errors.New("an owner's data key changes again and again"))
}

// erase replaces the slot first: a crash in between leaves the owner erased, and
// free to come back at once.
func (s *Store) erase(ctx context.Context, owner uint64, at place, until time.Time) error {
	held := s.opt.Seal.ErasedSlot(at.slot)
	records, err := s.Get(ctx, slotName(at.slot))
	if err != nil {
		return err
	}
	// This node must not wait until it hears of its own changes.
	defer s.known.forget(s.heardAs(ownerName(owner)))
	defer s.known.forget(s.heardAs(slotName(at.slot)))
	if _, err := s.Swap(ctx, records[0].Version, slotWrite(at.slot, held)); err != nil {
		return err
	}
	_, err = s.Swap(ctx, at.version, ownership{at.slot, until, held}.write(owner))
	return err
}

var _ auth.Eraser = (*Store)(nil)
