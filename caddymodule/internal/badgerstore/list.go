package badgerstore

import (
	"bytes"
	"context"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// List implements auth.Lister. The order is that of the keys' bytes, and all
// records are of one moment.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]auth.Listed, error) {
	return run(ctx, &s.calls, func() ([]auth.Listed, error) { return s.list(ctx, prefix, after, limit) })
}

func (s *Store) list(ctx context.Context, prefix, after string, limit int) (out []auth.Listed, err error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	options := badger.DefaultIteratorOptions
	options.Prefix, options.PrefetchSize = stored(prefix), min(limit, options.PrefetchSize)
	all := txn.NewIterator(options)
	defer all.Close()
	from := stored(max(prefix, after))
	for all.Seek(from); all.Valid() && len(out) < limit && ctx.Err() == nil; all.Next() {
		item := all.Item()
		if after != "" && bytes.Equal(item.Key(), from) {
			continue
		}
		key := string(item.Key()[1:])
		r, err := s.open(key, item)
		if err != nil {
			return nil, err
		}
		if r.Version != 0 { // else it has expired
			out = append(out, auth.Listed{Key: key, Record: r})
		}
	}
	return out, ctx.Err()
}

var _ auth.Lister = (*Store)(nil)
