package memstore

import (
	"context"
	"maps"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Walk implements auth.Walker, in the order of the keys' bytes.
func (s *Store) Walk(ctx context.Context, visit func(auth.Write) error) error {
	return s.Snapshot(ctx, visit)
}

// Fetch implements auth.Walker.
func (s *Store) Fetch(ctx context.Context, keys ...string) ([]auth.Write, error) {
	if err := given(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]auth.Write, len(keys))
	for i, key := range keys {
		out[i].Key = key
		if r, ok := s.live(key); ok {
			out[i] = r.write(key)
		}
	}
	return out, nil
}

// write is the write that makes the record.
func (r record) write(key string) auth.Write {
	w := auth.Write{Key: key, Value: clone(r.value), Owner: r.owner, Unlisted: r.unlisted}
	if r.expires != 0 {
		w.Expires = time.UnixMilli(r.expires)
	}
	return w
}

// Clear implements auth.Walker.
func (s *Store) Clear(ctx context.Context, but string) error {
	if err := given(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.records, func(key string, _ record) bool { return key != but })
	return nil
}

// Estimate implements auth.Walker.
func (s *Store) Estimate(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records), nil
}

var _ auth.Walker = (*Store)(nil)
