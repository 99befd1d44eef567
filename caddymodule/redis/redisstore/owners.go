package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// The data key of a user lies in two records of the store's own: the slot, which
// sealed records name, and which stays for ever, to say that a key was erased;
// and the ownership, which leads from the user to the slot and repeats the key,
// so that a write asks once.

func slotName(slot uint64) string { return slotPrefix + strconv.FormatUint(slot, 16) }

func ownerName(owner uint64) string { return ownerPrefix + strconv.FormatUint(owner, 10) }

// ownership is the record of an owner. until is when one who was erased may come
// back; the zero time: the owner was not.
type ownership struct {
	slot  uint64
	until time.Time
	held  []byte
}

const ownershipHead = 8 + 8

func (o ownership) write(owner uint64) auth.Write {
	b := binary.BigEndian.AppendUint64(nil, o.slot)
	b = binary.BigEndian.AppendUint64(b, uint64(expiryOf(o.until)))
	return auth.Write{Key: ownerName(owner), Value: append(b, o.held...), Expires: o.until, Ending: true, Unlisted: true}
}

func parseOwnership(b []byte) (o ownership, err error) {
	if len(b) < ownershipHead {
		return o, errEnvelope
	}
	o.slot, o.held = binary.BigEndian.Uint64(b), b[ownershipHead:]
	if ms := int64(binary.BigEndian.Uint64(b[8:])); ms != 0 {
		o.until = time.UnixMilli(ms)
	}
	return o, nil
}

// place is where the data key of an owner lies, and that key. gone says that the
// owner was erased and cannot be written about yet. version is the ownership's.
type place struct {
	slot    uint64
	key     []byte
	gone    bool
	version auth.Version
}

// places finds the data keys of the owners of writes, and makes those that are
// missing, on replicas too before any record needs them.
func (s *Store) places(ctx context.Context, writes ...auth.Write) (map[uint64]place, error) {
	found := map[uint64]place{}
	for _, w := range writes {
		if w.Owner != 0 && w.Value != nil {
			found[w.Owner] = place{}
		}
	}
	for range 1000 {
		missing, err := s.findPlaces(ctx, found)
		if err != nil || len(missing) == 0 {
			return found, err
		}
		if err := s.makePlaces(ctx, missing); err != nil && !errors.Is(err, auth.ErrConflict) {
			return nil, err
		}
		for owner := range missing { // what was known of them is not so any more
			s.known.forget(s.heardAs(ownerName(owner)))
		}
	}
	return nil, errors.New("an owner's data key is made again and again")
}

// findPlaces fills in what there is, and gives the owners who have nothing with
// the version of what is to be replaced.
func (s *Store) findPlaces(ctx context.Context, found map[uint64]place) (missing map[uint64]auth.Version, err error) {
	var owners []uint64
	var names []string
	for owner, p := range found {
		if p.slot == 0 {
			owners, names = append(owners, owner), append(names, ownerName(owner))
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	records, err := s.remembered(ctx, names)
	if err != nil {
		return nil, err
	}
	missing = map[uint64]auth.Version{}
	for i, r := range records {
		p, err := s.placeOf(r)
		if err != nil {
			return nil, fmt.Errorf("reading an owner's data key: %w", err)
		}
		if p.slot == 0 {
			missing[owners[i]] = r.Version
		}
		found[owners[i]] = p
	}
	return missing, nil
}

// placeOf gives the zero place for an owner who has none, or was erased and may
// come back.
func (s *Store) placeOf(r auth.Record) (place, error) {
	if r.Version == 0 {
		return place{}, nil
	}
	o, err := parseOwnership(r.Value)
	if err != nil {
		return place{}, err
	}
	if s.opt.Now().Before(o.until) {
		return place{slot: o.slot, gone: true, version: r.Version}, nil
	}
	key, err := s.opt.Seal.SlotKey(o.slot, o.held)
	if errors.Is(err, auth.ErrErased) {
		return place{}, nil
	}
	return place{slot: o.slot, key: key, version: r.Version}, err
}

// makePlaces gives owners new data keys. Somebody else who is faster with one of
// them is a conflict.
func (s *Store) makePlaces(ctx context.Context, missing map[uint64]auth.Version) error {
	slots := make([]auth.Write, 0, len(missing))
	owned := map[uint64]ownership{}
	for owner := range missing {
		slot := newSlotNumber()
		owned[owner] = ownership{slot: slot, held: s.opt.Seal.NewSlot(slot)}
		slots = append(slots, slotWrite(slot, owned[owner].held))
	}
	if err := s.Put(ctx, slots); err != nil {
		return err
	}
	if err := s.Sync(ctx); err != nil {
		return err
	}
	return s.swapAll(ctx, missing, owned)
}

func slotWrite(slot uint64, held []byte) auth.Write {
	return auth.Write{Key: slotName(slot), Value: held, Ending: true, Unlisted: true}
}

// newSlotNumber draws a number. Of 2^63 random ones none comes twice.
func newSlotNumber() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])>>1 | 1
}

// atOnce is how many owners get their data keys side by side.
const atOnce = 64

func (s *Store) swapAll(ctx context.Context, missing map[uint64]auth.Version, owned map[uint64]ownership) error {
	results := make(chan error, len(missing))
	room := make(chan struct{}, atOnce)
	for owner, version := range missing {
		room <- struct{}{}
		go func() {
			_, err := s.Swap(ctx, version, owned[owner].write(owner))
			results <- err
			<-room
		}()
	}
	var err error
	for range missing {
		err = errors.Join(err, <-results)
	}
	return err
}

// remembered gives records of the store's own, and asks for those that are not
// known.
func (s *Store) remembered(ctx context.Context, names []string) ([]auth.Record, error) {
	records, unknown, places, at := make([]auth.Record, len(names)), []string{}, []int{}, s.known.at()
	for i, name := range names {
		var found bool
		if records[i], found = s.known.record(s.heardAs(name)); !found {
			unknown, places = append(unknown, name), append(places, i)
		}
	}
	if len(unknown) == 0 {
		return records, nil
	}
	asked, err := s.Get(ctx, unknown...)
	for i, r := range asked {
		records[places[i]] = r
		s.known.note(s.heardAs(unknown[i]), r, at)
	}
	return records, err
}

// heardAs is how a change of a record is told.
func (s *Store) heardAs(name string) string {
	return strings.TrimPrefix(s.stored(name), s.opt.Prefix)
}
