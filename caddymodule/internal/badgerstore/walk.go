package badgerstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// walkPage is how many records are read in one transaction: a long one would
// keep Badger from dropping what was overwritten since.
const walkPage = 1000

// Walk implements auth.Walker, in the order of the keys' names.
func (s *Store) Walk(ctx context.Context, visit func(auth.Write) error) error {
	for after := []byte{recordPrefix}; after != nil; {
		page, err := run(ctx, &s.calls, func() (p page, err error) { return s.page(ctx, after) })
		if err != nil {
			return err
		}
		for _, w := range page.writes {
			if err := visit(w); err != nil {
				return fmt.Errorf("walking: %w", err)
			}
		}
		after = page.last
	}
	return nil
}

// page is a part of a walk.
type page struct {
	writes []auth.Write
	last   []byte // in Badger; nil: there are no more
}

func (s *Store) page(ctx context.Context, after []byte) (p page, err error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	options := badger.DefaultIteratorOptions
	options.Prefix = []byte{recordPrefix}
	all := txn.NewIterator(options)
	defer all.Close()
	for all.Seek(after); all.Valid(); all.Next() {
		if len(p.writes) == walkPage {
			return p, ctx.Err()
		}
		item := all.Item()
		if bytes.Equal(item.Key(), after) {
			continue // a name is never the prefix alone
		}
		w, err := s.reveal(item)
		if err != nil {
			return p, err
		}
		if p.last = item.KeyCopy(nil); w.Value != nil { // else there is nothing to show
			p.writes = append(p.writes, w)
		}
	}
	p.last = nil
	return p, ctx.Err()
}

// Fetch implements auth.Walker.
func (s *Store) Fetch(ctx context.Context, keys ...string) ([]auth.Write, error) {
	own := slices.Clone(keys) // the caller may leave early and reuse its slice
	return run(ctx, &s.calls, func() ([]auth.Write, error) {
		txn := s.db.NewTransaction(false)
		defer txn.Discard()
		out := make([]auth.Write, len(own))
		for i, key := range own {
			var err error
			if out[i], err = s.fetch(txn, key); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
}

func (s *Store) fetch(txn *badger.Txn, key string) (auth.Write, error) {
	w := auth.Write{Key: key}
	item, err := s.find(txn, key)
	if err != nil || item == nil {
		return w, err
	}
	r, err := s.open(key, item)
	if err != nil || r.Version == 0 {
		return w, err
	}
	shown, err := s.reveal(item)
	if err != nil || shown.Value != nil {
		return shown, err
	}
	w.Value, w.Unlisted = r.Value, true
	err = item.Value(func(b []byte) error {
		expires, _, err := unwrap(b)
		if expires != 0 {
			w.Expires = time.UnixMilli(expires)
		}
		return err
	})
	return w, err
}

// Clear implements auth.Walker. Whose records they were is not forgotten: new ones
// of the same owners have the same data keys.
func (s *Store) Clear(ctx context.Context, but string) error {
	for {
		left, err := run(ctx, &s.calls, func() (bool, error) { return s.clear(but) })
		if err != nil || !left {
			return err
		}
	}
}

// clear deletes a page of records, and reports whether there may be more.
func (s *Store) clear(but string) (left bool, err error) {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	options := badger.DefaultIteratorOptions
	options.Prefix, options.PrefetchValues = []byte{recordPrefix}, false
	all := txn.NewIterator(options)
	defer all.Close()
	n, kept := 0, s.stored(but)
	for all.Rewind(); all.Valid() && n < walkPage; all.Next() {
		if bytes.Equal(all.Item().Key(), kept) {
			continue
		}
		if err := txn.Delete(all.Item().KeyCopy(nil)); err != nil {
			return false, fmt.Errorf("clearing: %w", err)
		}
		n++
	}
	all.Close()
	if n == 0 {
		return false, nil
	}
	return true, s.committed(txn)
}

// Estimate implements auth.Walker. It counts what is in tables, overwritten
// records too, and not what is still in memory.
func (s *Store) Estimate(ctx context.Context) (int, error) {
	return run(ctx, &s.calls, func() (n int, err error) {
		for _, table := range s.db.Tables() {
			n += int(table.KeyCount)
		}
		return n, nil
	})
}

var _ auth.Walker = (*Store)(nil)
