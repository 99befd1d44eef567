package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const (
	// ReloadEvery is how often each node reloads the keys.
	ReloadEvery = 20 * time.Second
	// headStart is how long a new key is known before anything is signed with
	// it: every node has reloaded by then, also one that missed a turn, and so
	// has every service that keeps our key set for the 5 minutes it may. None
	// meets a kid that it does not know.
	headStart = 5*time.Minute + 3*ReloadEvery
	// retention is how long a key stays good after its successor took over:
	// longer than any token lives.
	retention = 2 * time.Hour
)

// Reload reads the keys again, to learn what another node has rotated or
// revoked. After an error the keys stay as they were.
func (k *Keys) Reload(ctx context.Context) error {
	// A node with another algorithm may have revoked all of ours.
	if err := k.ensureKey(ctx); err != nil {
		return err
	}
	return k.load(ctx)
}

// Rotate makes a new signing key. It signs after some minutes (headStart);
// tokens of its predecessor stay good until they expire. An error that wraps
// auth.ErrConflict means that somebody else was rotating at the same time.
func (k *Keys) Rotate(ctx context.Context) error {
	return k.change(ctx, func(r record) (record, error) {
		next, err := k.newKey(k.options.HeadStart)
		return record{Keys: append([]storedKey{next}, r.living(k.options.Now())...)}, err
	})
}

// Revoke is for keys that may have leaked. A new one signs from now on, and all
// others, of every algorithm, are gone: their tokens are refused here at once
// and on other nodes when they next reload. Nobody is signed out, since refresh
// tokens are none of these. After an error call it again.
func (k *Keys) Revoke(ctx context.Context) error {
	err := k.revoke(ctx)
	for tries := 0; errors.Is(err, auth.ErrConflict) && tries < 8; tries++ {
		err = k.revoke(ctx) // in an emergency we do not give way
	}
	return err
}

func (k *Keys) revoke(ctx context.Context) error {
	err := k.change(ctx, func(record) (record, error) {
		next, err := k.newKey(0)
		return record{Keys: []storedKey{next}}, err
	})
	if err != nil {
		return err
	}
	if err := k.dropOthers(ctx); err != nil {
		return err
	}
	return k.load(ctx)
}

// dropOthers deletes the keys of all other algorithms.
func (k *Keys) dropOthers(ctx context.Context) error {
	names := slices.DeleteFunc(RecordNames(), func(name string) bool { return name == recordKey(k.options.Algorithm) })
	records, err := k.store.Get(ctx, names...)
	if err != nil {
		return fmt.Errorf("reading signing keys: %w", err)
	}
	for i, r := range records {
		if r.Version == 0 {
			continue
		}
		if _, err := k.store.Swap(ctx, r.Version, auth.Write{Key: names[i], Ending: true}); err != nil {
			return fmt.Errorf("deleting signing key: %w", err)
		}
	}
	return nil
}

// change makes another record of the one with our algorithm's keys, in one
// swap, and loads it. One without keys leaves it as it is.
func (k *Keys) change(ctx context.Context, to func(record) (record, error)) error {
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
	next, err := to(r)
	if err != nil || len(next.Keys) == 0 {
		return err
	}
	value, err := next.encode()
	if err != nil {
		return err
	}
	if _, err := k.store.Swap(ctx, records[0].Version, auth.Write{Key: name, Value: value}); err != nil {
		return fmt.Errorf("writing signing key: %w", err)
	}
	return k.load(ctx)
}

// newKey makes a key that signs after a while.
func (k *Keys) newKey(after time.Duration) (storedKey, error) {
	private, err := generate(k.options.Algorithm)
	return storedKey{Private: private, SignFrom: k.options.Now().Add(after).Unix()}, err
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
