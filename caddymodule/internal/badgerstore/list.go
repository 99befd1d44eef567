package badgerstore

import (
	"bytes"
	"context"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// List implements auth.Lister. The order is that of the keys' names, and all
// records are of one moment.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]auth.Listed, error) {
	return run(ctx, &s.calls, func() ([]auth.Listed, error) { return s.list(ctx, prefix, after, limit) })
}

func (s *Store) list(ctx context.Context, prefix, after string, limit int) (out []auth.Listed, err error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	options := badger.DefaultIteratorOptions
	options.Prefix = append([]byte{recordPrefix}, s.opt.Seal.Branch(prefix)...)
	options.PrefetchSize = min(limit, options.PrefetchSize)
	all := txn.NewIterator(options)
	defer all.Close()
	from := options.Prefix
	if after != "" {
		from = s.stored(after)
	}
	for all.Seek(from); all.Valid() && len(out) < limit && ctx.Err() == nil; all.Next() {
		item := all.Item()
		if after != "" && bytes.Equal(item.Key(), from) {
			continue
		}
		w, err := s.reveal(item)
		if err != nil {
			return nil, err
		}
		// A value says that there is something to show, the key that the names
		// begin alike for no other reason.
		if w.Value != nil && strings.HasPrefix(w.Key, prefix) {
			out = append(out, auth.Listed{Key: w.Key, Record: auth.Record{Value: w.Value, Version: auth.Version(item.Version())}})
		}
	}
	return out, ctx.Err()
}

var _ auth.Lister = (*Store)(nil)
