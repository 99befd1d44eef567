package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// ownership is the record that leads from an owner to the slot of the data key.
// It is the store's own: nobody lists it, and no backup has it.
type ownership struct {
	slot uint64
	// until is when an owner who was erased may come back; the zero time: the
	// owner was not.
	until time.Time
}

const ownershipSize = 8 + 8

var errOwnership = fmt.Errorf("%w: the record of an owner's data key is damaged; restore a backup", auth.ErrUnavailable)

func ownerName(owner uint64) string { return "owner/" + strconv.FormatUint(owner, 10) }

// ownerKey is where it stands in Badger, apart from all records.
func (s *Store) ownerKey(owner uint64) []byte {
	if owner&passing != 0 {
		return dayKey(owner)
	}
	return append([]byte{'o'}, s.opt.Seal.Name(ownerName(owner))...)
}

func (s *Store) ownership(txn *badger.Txn, owner uint64) (o ownership, err error) {
	item, err := txn.Get(s.ownerKey(owner))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return o, nil
	}
	if err != nil {
		return o, fmt.Errorf("reading an owner: %w", err)
	}
	err = item.Value(func(sealed []byte) error {
		b, err := s.opt.Seal.Open(ownerName(owner), sealed, s.slots.read)
		if err != nil {
			return err
		}
		if len(b) != ownershipSize {
			return errOwnership
		}
		o.slot = binary.BigEndian.Uint64(b)
		if ms := int64(binary.BigEndian.Uint64(b[8:])); ms != 0 {
			o.until = time.UnixMilli(ms)
		}
		return nil
	})
	return o, err
}

func (s *Store) setOwnership(txn *badger.Txn, owner uint64, o ownership) error {
	b := binary.BigEndian.AppendUint64(nil, o.slot)
	b = binary.BigEndian.AppendUint64(b, uint64(expiryOf(o.until)))
	sealed := s.opt.Seal.Seal(auth.Write{Key: ownerName(owner), Value: b, Unlisted: true}, 0, nil)
	return txn.SetEntry(s.expiring(badger.NewEntry(s.ownerKey(owner), sealed), o.until))
}

// place is where the data key of an owner lies, and that key. gone says that the
// owner was erased and cannot be written about yet.
type place struct {
	slot uint64
	key  []byte
	gone bool
}

// places finds the data keys of the owners of writes (see ownerOf), and makes
// those that are missing: they are on the disk before any record needs them, with
// one sync for all.
func (s *Store) places(writes ...auth.Write) (map[uint64]place, error) {
	found := map[uint64]place{}
	for _, w := range writes {
		if owner := ownerOf(w); owner != 0 && w.Value != nil {
			found[owner] = place{}
		}
	}
	for range 1000 {
		missing, err := s.findPlaces(found)
		if err != nil {
			return nil, err
		}
		if len(missing) == 0 {
			return found, nil
		}
		if err := s.makePlaces(missing); err != nil && !errors.Is(err, badger.ErrConflict) {
			return nil, err
		}
	}
	return nil, errors.New("an owner's data key is made again and again")
}

// findPlaces fills in what there is, and gives the owners who have nothing.
func (s *Store) findPlaces(found map[uint64]place) (missing []uint64, err error) {
	if len(found) == 0 {
		return nil, nil
	}
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	for owner, p := range found {
		if p.slot != 0 {
			continue
		}
		p, err := s.findPlace(txn, owner)
		if err != nil {
			return nil, err
		}
		if p.slot == 0 {
			missing = append(missing, owner)
		}
		found[owner] = p
	}
	return missing, nil
}

// findPlace gives the zero place for an owner who has none, or was erased and
// may come back. An owner gets another slot only after the one before was
// erased, so a slot that is known from before and holds a key is the owner's.
func (s *Store) findPlace(txn *badger.Txn, owner uint64) (place, error) {
	if slot := s.known.slot(owner); slot != 0 {
		if key, err := s.slotKey(slot); !errors.Is(err, auth.ErrErased) {
			return place{slot: slot, key: key}, err
		}
		s.known.forget(owner)
	}
	o, err := s.ownership(txn, owner)
	if err != nil || o.slot == 0 {
		return place{}, err
	}
	if s.opt.Now().Before(o.until) {
		return place{slot: o.slot, gone: true}, nil
	}
	key, err := s.slotKey(o.slot)
	if errors.Is(err, auth.ErrErased) { // without a time: a crash has cut an erasure short
		return place{}, nil
	}
	if err == nil {
		s.known.note(owner, o.slot)
	}
	return place{slot: o.slot, key: key}, err
}

func (s *Store) slotKey(slot uint64) ([]byte, error) {
	held, err := s.slots.read(slot)
	if err != nil {
		return nil, err
	}
	return s.opt.Seal.SlotKey(slot, held)
}

// makePlaces gives owners new data keys. Somebody else who is faster with one of
// them is a conflict; the keys that were made in vain are used by nobody.
func (s *Store) makePlaces(owners []uint64) error {
	first, err := s.slots.add(len(owners), s.opt.Seal.NewSlot)
	if err != nil {
		return err
	}
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	for i, owner := range owners {
		p, err := s.findPlace(txn, owner)
		if err != nil {
			return err
		}
		if p.slot != 0 {
			continue
		}
		if err := s.setOwnership(txn, owner, ownership{slot: first + uint64(i)}); err != nil {
			return err
		}
	}
	return s.committed(txn)
}
