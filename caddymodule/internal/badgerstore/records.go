package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Limits of the contract.
const (
	maxKey   = 512
	maxValue = 64 << 10
)

// Get implements auth.Store. All records are of one moment.
func (s *Store) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	own := slices.Clone(keys) // the caller may leave early and reuse its slice
	return run(ctx, &s.calls, func() ([]auth.Record, error) { return s.get(own) })
}

func (s *Store) get(keys []string) ([]auth.Record, error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	out := make([]auth.Record, len(keys))
	for i, key := range keys {
		item, err := s.find(txn, key)
		if err != nil {
			return nil, err
		}
		if item == nil {
			continue
		}
		if out[i], err = s.open(key, item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// find returns what Badger holds of a key, or nil.
func (s *Store) find(txn *badger.Txn, key string) (*badger.Item, error) {
	item, err := txn.Get(s.stored(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	return item, nil
}

// Swap implements auth.Store.
func (s *Store) Swap(ctx context.Context, expected auth.Version, w auth.Write) (auth.Version, error) {
	if err := s.accept(w); err != nil {
		return 0, err
	}
	w.Value = copied(w.Value)
	return run(ctx, &s.calls, func() (auth.Version, error) { return s.swap(expected, w) })
}

func (s *Store) swap(expected auth.Version, w auth.Write) (auth.Version, error) {
	at, err := s.places(w)
	if err != nil {
		return 0, err
	}
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	// Reading puts the key into the transaction's read set; without that Badger
	// would let two blind writes pass.
	item, err := s.find(txn, w.Key)
	if err != nil {
		return 0, err
	}
	current, err := s.version(w.Key, item)
	if err != nil {
		return 0, err
	}
	if current != expected {
		return 0, fmt.Errorf("%w: another version", auth.ErrConflict)
	}
	if w.Value == nil && item == nil {
		return 0, s.durable() // whoever deleted it may not be on the disk yet
	}
	v, err := s.commit(txn, at, w)
	if err != nil {
		return 0, err
	}
	return v, s.durable()
}

// version is 0 for a record that does not exist, to Get too.
func (s *Store) version(key string, item *badger.Item) (auth.Version, error) {
	if item == nil {
		return 0, nil
	}
	r, err := s.open(key, item)
	return r.Version, err
}

// commit writes records in one transaction and returns the version of the
// last.
func (s *Store) commit(txn *badger.Txn, at map[uint64]place, writes ...auth.Write) (v auth.Version, err error) {
	var last *badger.Entry
	for _, w := range writes {
		if last, err = s.set(txn, w, at[ownerOf(w)]); err != nil {
			return 0, fmt.Errorf("writing: %w", err)
		}
	}
	if err := s.committed(txn); err != nil || last == nil {
		return 0, err
	}
	v = versionOf(last)
	for {
		reached := s.reached.Load()
		if uint64(v) <= reached || s.reached.CompareAndSwap(reached, uint64(v)) {
			return v, nil
		}
	}
}

// set gives no entry for a deletion.
func (s *Store) set(txn *badger.Txn, w auth.Write, at place) (*badger.Entry, error) {
	if w.Value == nil || at.gone {
		return nil, txn.Delete(s.stored(w.Key))
	}
	e := s.entry(w, at)
	return e, txn.SetEntry(e)
}

// committed commits and counts, so that durable knows if there is anything to
// sync.
func (s *Store) committed(txn *badger.Txn) error {
	s.begun.Add(1)
	defer s.ended.Add(1)
	if err := txn.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// versionOf reads the commit's timestamp, which Badger tells nobody, from the
// key: committing appended it there. Reading the record again would show the
// version of whoever came next.
func versionOf(e *badger.Entry) auth.Version { return auth.Version(y.ParseTs(e.Key)) }

// A transaction must stay below 15 % of a memtable (2.4 MiB) and 26 000 keys.
const (
	batchBytes = 1 << 20
	batchCount = 1000
)

// Put implements auth.Store. It writes in batches and leaves the sync to
// whoever needs one; the log of a killed process is in the kernel's hands.
func (s *Store) Put(ctx context.Context, writes []auth.Write) error {
	if err := s.accept(writes...); err != nil {
		return err
	}
	own := make([]auth.Write, len(writes))
	for i, w := range writes {
		own[i] = w
		own[i].Value = copied(w.Value)
	}
	_, err := run(ctx, &s.calls, func() (struct{}, error) {
		for len(own) > 0 && ctx.Err() == nil {
			n := batchOf(own)
			if err := s.putBatch(own[:n]); err != nil {
				return struct{}{}, err
			}
			own = own[n:]
		}
		return struct{}{}, ctx.Err()
	})
	return err
}

func (s *Store) putBatch(writes []auth.Write) error {
	at, err := s.places(writes...)
	if err != nil {
		return err
	}
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	_, err = s.commit(txn, at, writes...)
	return err
}

// batchOf tells how many of the writes go into one transaction.
func batchOf(writes []auth.Write) (n int) {
	for size := 0; n < len(writes) && n < batchCount; n++ {
		size += len(writes[n].Key) + len(writes[n].Value)
		if n > 0 && size > batchBytes {
			break
		}
	}
	return n
}

// accept refuses what the contract or the disk has no room for.
func (s *Store) accept(writes ...auth.Write) error {
	size, ending := 0, len(writes) > 0
	for _, w := range writes {
		if len(w.Key) > maxKey || len(w.Value) > maxValue || w.Owner >= passing {
			return fmt.Errorf("%w: key of %d bytes, value of %d bytes or owner %d is too large", auth.ErrUnavailable, len(w.Key), len(w.Value), w.Owner)
		}
		size += len(w.Key) + len(w.Value)
		ending = ending && w.Ending
	}
	if len(writes) == 0 {
		return nil
	}
	return s.space.check(ending, size)
}

func copied(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}
