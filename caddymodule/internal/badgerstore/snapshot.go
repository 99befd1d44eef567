package badgerstore

import (
	"context"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Snapshot implements auth.Snapshotter, in the order of the keys' names. It runs
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
	options.Prefix = []byte{recordPrefix}
	all := txn.NewIterator(options)
	defer all.Close()
	for all.Rewind(); all.Valid(); all.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.calls.closing() {
			return errClosed
		}
		w, err := s.reveal(all.Item())
		if err == nil && w.Value != nil { // else there is nothing to show
			err = visit(w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var _ auth.Snapshotter = (*Store)(nil)
