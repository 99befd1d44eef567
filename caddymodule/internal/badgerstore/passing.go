package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// What is nobody's and expires is owned by the day on which it does: its data
// key is erased when the day is long over. So challenges, limits and events that
// waited, in which there are numbers, addresses and users of all kinds, do not
// stay readable in the files until Badger writes them anew.

// passing marks a day among the owners. Users have lower numbers.
const passing = 1 << 63

const dayLength = 24 * time.Hour

// sweepMargin keeps a day's key a while longer, so that a clock that was wrong
// for a moment makes nothing unreadable for good.
const sweepMargin = dayLength

// ownerOf is whose data key seals a write: the owner's, or that of the day on
// which it expires; 0: nobody's.
func ownerOf(w auth.Write) uint64 {
	if w.Owner != 0 || w.Expires.IsZero() {
		return w.Owner
	}
	return passing | uint64(expiryOf(w.Expires)/dayLength.Milliseconds())
}

const dayPrefix = 'd'

// dayKey is where Badger has the slot of a day, in the order of the days.
func dayKey(owner uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{dayPrefix}, owner)
}

// sweep erases the keys of the days that are over, once a day.
func (s *Store) sweep() error {
	today := uint64(max(0, s.opt.Now().Add(-sweepMargin).UnixMilli()) / dayLength.Milliseconds())
	if s.swept == today {
		return nil
	}
	days, err := s.daysBefore(today)
	for _, day := range days {
		err = errors.Join(err, s.eraseDay(day))
	}
	if err != nil {
		return fmt.Errorf("erasing what has expired: %w", err)
	}
	s.swept = today
	return nil
}

func (s *Store) daysBefore(today uint64) (days []uint64, err error) {
	err = guard(func() error {
		txn := s.db.NewTransaction(false)
		defer txn.Discard()
		all := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{dayPrefix}})
		defer all.Close()
		for all.Rewind(); all.Valid(); all.Next() {
			key := all.Item().Key()
			if len(key) != 1+8 {
				return errOwnership
			}
			if day := binary.BigEndian.Uint64(key[1:]); day < passing|today {
				days = append(days, day)
			}
		}
		return nil
	})
	return days, err
}

// eraseDay overwrites a day's key before the record that leads to it goes: after
// a crash in between, the next sweep comes here again. A write that has expired
// already may make the day another key meanwhile, which a later sweep finds.
func (s *Store) eraseDay(day uint64) error {
	return guard(func() error {
		txn := s.db.NewTransaction(true)
		defer txn.Discard()
		o, err := s.ownership(txn, day)
		if err != nil || o.slot == 0 {
			return err
		}
		if err := s.space.check(true, 0); err != nil {
			return err
		}
		if err := s.slots.overwrite(o.slot, s.opt.Seal.ErasedSlot(o.slot)); err != nil {
			return err
		}
		if err := txn.Delete(dayKey(day)); err != nil {
			return err
		}
		return s.committed(txn)
	})
}
