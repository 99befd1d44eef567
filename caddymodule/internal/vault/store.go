package vault

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Sealed wraps a store so that its engine sees sealed values only. Keys stay
// readable; who makes them hides what is in them (see Index). A sealed value
// is Overhead bytes longer, so callers have 64 KiB less Overhead.
func Sealed(store auth.Store, v *Vault) auth.Store { return &sealedStore{store, v} }

type sealedStore struct {
	store auth.Store
	vault *Vault
}

// Get opens what it reads. One record that does not open fails the call with
// an error that wraps auth.ErrUnavailable.
func (s *sealedStore) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	records, err := s.store.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	for i := range records {
		if records[i].Version == 0 {
			continue // missing
		}
		// A record without a value is not let through as an empty one: the
		// engine has lost it.
		if records[i].Value, err = s.vault.Open(keys[i], records[i].Value); err != nil {
			// Of the key only its kind is said, the rest may name a person.
			kind, _, _ := strings.Cut(keys[i], "/")
			return nil, fmt.Errorf("opening %s: %w", kind, err)
		}
	}
	return records, nil
}

// Swap seals the value and writes it.
func (s *sealedStore) Swap(ctx context.Context, expected auth.Version, w auth.Write) (auth.Version, error) {
	return s.store.Swap(ctx, expected, s.seal(w))
}

// Put seals the values and writes them.
func (s *sealedStore) Put(ctx context.Context, writes []auth.Write) error {
	writes = slices.Clone(writes) // the caller's own stay readable, to be sent again
	for i := range writes {
		writes[i] = s.seal(writes[i])
	}
	return s.store.Put(ctx, writes)
}

// Sync passes the call on.
func (s *sealedStore) Sync(ctx context.Context) error { return s.store.Sync(ctx) }

func (s *sealedStore) seal(w auth.Write) auth.Write {
	if w.Value != nil { // nil deletes
		w.Value = s.vault.Seal(w.Key, w.Value)
	}
	return w
}
