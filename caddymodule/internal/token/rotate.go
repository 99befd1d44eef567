package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const (
	// ReloadEvery is how often each node must call Reload.
	ReloadEvery = 20 * time.Second
	// headStart is how long a new key is known before anything is signed with
	// it: every node has reloaded by then, also one that missed a turn, so
	// none meets a kid that it does not know.
	headStart = 3 * ReloadEvery
	// retention is how long a key stays good after its successor took over:
	// longer than any token lives.
	retention = 2 * time.Hour
)

// Reload reads the keys again, to learn what another node has rotated. After
// an error the keys stay as they were.
func (k *Keys) Reload(ctx context.Context) error { return k.load(ctx) }

// Rotate makes a new signing key. It signs after a minute; tokens of its
// predecessor stay good until they expire. An error that wraps
// auth.ErrConflict means that somebody else was rotating at the same time.
func (k *Keys) Rotate(ctx context.Context) error {
	private, err := generate(k.options.Algorithm)
	if err != nil {
		return err
	}
	name := recordKey(k.options.Algorithm)
	records, err := k.store.Get(ctx, name)
	if err != nil {
		return fmt.Errorf("reading signing key: %w", err)
	}
	if records[0].Version == 0 {
		return fmt.Errorf("%w: the %s key has gone", auth.ErrUnavailable, k.options.Algorithm)
	}
	r, err := decodeRecord(records[0].Value)
	if err != nil {
		return fmt.Errorf("reading %s: %w: %w", name, auth.ErrUnavailable, err)
	}
	now := k.options.Now()
	next := storedKey{Private: private, SignFrom: now.Add(headStart).Unix()}
	value, err := record{Keys: append([]storedKey{next}, r.living(now)...)}.encode()
	if err != nil {
		return err
	}
	if _, err := k.store.Swap(ctx, records[0].Version, auth.Write{Key: name, Value: value}); err != nil {
		return fmt.Errorf("writing signing key: %w", err)
	}
	return k.load(ctx)
}

// living are the keys that a token may still be signed with.
func (r record) living(now time.Time) []storedKey {
	for i := 1; i < len(r.Keys); i++ {
		if successor := r.Keys[i-1]; successor.SignFrom < now.Add(-retention).Unix() {
			return r.Keys[:i]
		}
	}
	return r.Keys
}

func (r record) encode() ([]byte, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("writing signing key: %w", err)
	}
	return append([]byte{recordFormat}, value...), nil
}

func decodeRecord(value []byte) (r record, err error) {
	if len(value) == 0 || value[0] != recordFormat {
		return r, errors.New("unknown record format")
	}
	if err := json.Unmarshal(value[1:], &r); err != nil {
		return r, err
	}
	if len(r.Keys) == 0 {
		return r, errors.New("no key in the record")
	}
	return r, nil
}
