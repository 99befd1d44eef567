package badgerstore

import (
	"context"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Snapshot implements auth.Snapshotter, in the order of the keys' bytes. It runs
// in the caller's goroutine, unlike the short calls: visit must not be called any
// more once it has returned.
func (s *Store) Snapshot(ctx context.Context, visit func(auth.Write) error) error {
	if err := s.calls.enter(); err != nil {
		return err
	}
	defer s.calls.leave()
	return unavailable(guard(func() error { return s.snapshot(ctx, visit) }))
}

func (s *Store) snapshot(ctx context.Context, visit func(auth.Write) error) error {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	options := badger.DefaultIteratorOptions
	options.Prefix = stored("")
	all := txn.NewIterator(options)
	defer all.Close()
	for all.Rewind(); all.Valid(); all.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.calls.closing() {
			return errClosed
		}
		w, exists, err := s.writeOf(all.Item())
		if err == nil && exists {
			err = visit(w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeOf is the write that makes a stored record; exists is false when it has
// expired.
func (s *Store) writeOf(item *badger.Item) (w auth.Write, exists bool, err error) {
	w.Key = string(item.Key()[1:])
	r, err := s.open(w.Key, item)
	if err != nil || r.Version == 0 {
		return w, false, err
	}
	w.Value = r.Value
	err = item.Value(func(b []byte) error {
		expires, _, err := unwrap(b)
		if expires != 0 {
			w.Expires = time.UnixMilli(expires)
		}
		return err
	})
	return w, true, err
}

var _ auth.Snapshotter = (*Store)(nil)
