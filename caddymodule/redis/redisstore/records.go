package redisstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Limits of the contract.
const (
	maxKey   = 512
	maxValue = 64 << 10
	maxOwner = 1<<63 - 1
)

// Get implements auth.Store. It asks primaries only: a replica may not have yet
// what a Swap has returned. Records of users need their data keys, which take
// another question.
func (s *Store) Get(ctx context.Context, keys ...string) (out []auth.Record, err error) {
	ctx, cancel := s.bounded(ctx, callTimeout)
	defer cancel()
	stored, err := s.fetch(ctx, s.storedAll(keys))
	if err != nil {
		return nil, err
	}
	err = s.withSlots(ctx, func(known heldSlots) (err error) {
		out, err = s.unwrapAll(ctx, keys, stored, known)
		return err
	})
	return out, err
}

func (s *Store) storedAll(keys []string) []string {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = s.stored(key)
	}
	return names
}

// fetch gives what Redis holds under names of its own; nil where there is nothing.
// Its commands are pinned: rueidis repeats a read whose connection broke, and
// then takes the command's memory for others, which the broken connection may
// still be writing from.
func (s *Store) fetch(ctx context.Context, names []string) ([][]byte, error) {
	commands := make([]rueidis.Completed, len(names))
	for i, name := range names {
		commands[i] = s.client.B().Get().Key(name).Build().Pin()
	}
	out := make([][]byte, len(names))
	for i, result := range s.client.DoMulti(ctx, commands...) {
		var err error
		if out[i], err = result.AsBytes(); err != nil && !rueidis.IsRedisNil(err) {
			return nil, unavailable("reading", err)
		}
	}
	return out, nil
}

// withSlots has read read, once more if it wants to know what lies in slots.
func (s *Store) withSlots(ctx context.Context, read func(heldSlots) error) error {
	known := heldSlots{}
	err := read(known)
	if errors.Is(err, errSlotWanted) {
		if err := s.fetchSlots(ctx, known); err != nil {
			return err
		}
		err = read(known)
	}
	return err
}

// heldSlots is what one call knows of slots; nil: it has to be asked for.
type heldSlots map[uint64][]byte

var errSlotWanted = errors.New("the data key is not known yet")

func (h heldSlots) read(slot uint64) ([]byte, error) {
	if h[slot] == nil {
		h[slot] = nil
		return nil, errSlotWanted
	}
	return h[slot], nil
}

func (s *Store) fetchSlots(ctx context.Context, wanted heldSlots) error {
	var slots []uint64
	var names []string
	for slot := range wanted {
		slots, names = append(slots, slot), append(names, slotName(slot))
	}
	records, err := s.remembered(ctx, names)
	if err != nil {
		return err
	}
	for i, r := range records {
		if r.Version == 0 {
			return unavailable("reading", errors.New("a data key is gone, and what it seals is lost with it; restore a backup"))
		}
		wanted[slots[i]] = r.Value
	}
	return nil
}

// unwrapAll gives the records. One whose owner was erased is forgotten: for the
// scripts, which cannot open it, it would still exist. When slots are wanted, all
// of them are.
func (s *Store) unwrapAll(ctx context.Context, keys []string, stored [][]byte, known heldSlots) (out []auth.Record, wanted error) {
	out = make([]auth.Record, len(keys))
	for i, key := range keys {
		if stored[i] == nil {
			continue
		}
		var err error
		switch out[i], err = s.unwrap(key, stored[i], known.read); {
		case errors.Is(err, auth.ErrErased):
			err = s.discard(ctx, s.stored(key), stored[i])
		case errors.Is(err, errSlotWanted):
			wanted, err = err, nil
		}
		if err != nil {
			return nil, unavailable("reading", err)
		}
	}
	return out, wanted
}

// discard deletes the record under a name if it is still the one that was read.
func (s *Store) discard(ctx context.Context, name string, stored []byte) error {
	return s.indexing(ctx, name, true, true, func() (exists bool, err error) {
		gone, err := s.eval(ctx, call{script: endScript, key: name, args: []string{string(stored[:versionSize]), s.nowText(), "", "0"}})
		return !gone, err
	})
}

// What goes to a server at once.
const (
	batchBytes = 1 << 20
	batchCount = 1000
)

// Put implements auth.Store. It waits for no replica.
func (s *Store) Put(ctx context.Context, writes []auth.Write) error {
	if err := accept(ctx, writes...); err != nil {
		return err
	}
	for len(writes) > 0 {
		n := batchOf(writes)
		if err := s.putBatch(ctx, writes[:n]); err != nil {
			return err
		}
		writes = writes[n:]
	}
	return nil
}

func (s *Store) putBatch(ctx context.Context, writes []auth.Write) error {
	ctx, cancel := s.bounded(ctx, callTimeout)
	defer cancel()
	at, err := s.places(ctx, writes...)
	if err != nil {
		return unavailable("writing", err)
	}
	commands := make([]rueidis.Completed, len(writes))
	for i, w := range writes {
		commands[i] = s.put(w, at[w.Owner])
	}
	err = s.indexingAll(ctx, writes, func(w auth.Write) bool { return w.Value == nil || at[w.Owner].gone }, func() error {
		for _, result := range s.client.DoMulti(ctx, commands...) {
			if err := result.Error(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return unavailable("writing", err)
	}
	return nil
}

func (s *Store) put(w auth.Write, at place) rueidis.Completed {
	value := s.wrap(w, newVersion(), at)
	if value == "" {
		return s.client.B().Del().Key(s.stored(w.Key)).Build()
	}
	set := s.client.B().Set().Key(s.stored(w.Key)).Value(value)
	if left := s.left(w); left != 0 {
		return set.PxMilliseconds(left).Build()
	}
	return set.Build()
}

// batchOf tells how many of the writes go at once.
func batchOf(writes []auth.Write) (n int) {
	for size := 0; n < len(writes) && n < batchCount; n++ {
		size += len(writes[n].Key) + len(writes[n].Value)
		if n > 0 && size > batchBytes {
			break
		}
	}
	return n
}

// accept refuses what the contract has no room for.
func accept(ctx context.Context, writes ...auth.Write) error {
	if err := ctx.Err(); err != nil {
		return unavailable("writing", err)
	}
	for _, w := range writes {
		if len(w.Key) > maxKey || len(w.Value) > maxValue || w.Owner > maxOwner {
			return fmt.Errorf("%w: key of %d bytes, value of %d bytes or owner %d is too large", auth.ErrUnavailable, len(w.Key), len(w.Value), w.Owner)
		}
	}
	return nil
}
