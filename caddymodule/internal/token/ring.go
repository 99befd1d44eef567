package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// ring is the keys as they were at one loading. It never changes.
type ring struct {
	keys     []*key // those of the configured algorithm first, the newest first
	byHeader map[string]*key
	kids     [][]byte
	jwks     []byte
}

// record holds the keys of one algorithm, the newest first.
type record struct {
	Keys []storedKey `json:"keys"`
}

type storedKey struct {
	Private  []byte `json:"private"`
	SignFrom int64  `json:"sign_from,omitempty"` // Unix seconds; before that it only verifies
}

const recordFormat = 1

func recordKey(alg string) string { return "keys/" + alg }

// ensureKey makes the first key of an algorithm. Of several processes that
// start at once, one writes; the others find its key afterwards.
func ensureKey(ctx context.Context, store auth.Store, alg string) error {
	records, err := store.Get(ctx, recordKey(alg))
	if err != nil {
		return fmt.Errorf("reading signing key: %w", err)
	}
	if records[0].Version != 0 {
		return nil
	}
	private, err := generate(alg)
	if err != nil {
		return err
	}
	value, err := record{Keys: []storedKey{{Private: private}}}.encode()
	if err != nil {
		return err
	}
	_, err = store.Swap(ctx, 0, auth.Write{Key: recordKey(alg), Value: value})
	if err != nil && !errors.Is(err, auth.ErrConflict) {
		return fmt.Errorf("writing signing key: %w", err)
	}
	return nil
}

// load reads all keys. What was read may have been written by another process
// a moment ago, so it is made durable before anything is signed with it.
func (k *Keys) load(ctx context.Context) error {
	names := make([]string, len(algorithms))
	for i, alg := range algorithms {
		names[i] = recordKey(alg)
	}
	records, err := k.store.Get(ctx, names...)
	if err == nil {
		err = k.store.Sync(ctx)
	}
	if err != nil {
		return fmt.Errorf("reading signing keys: %w", err)
	}
	var keys []*key
	for i, r := range records {
		if r.Version == 0 {
			continue
		}
		read, err := parseRecord(algorithms[i], r.Value)
		if err != nil {
			return fmt.Errorf("reading %s: %w: %w", names[i], auth.ErrUnavailable, err)
		}
		if algorithms[i] == k.options.Algorithm {
			keys = append(read, keys...) // the first one signs
		} else {
			keys = append(keys, read...)
		}
	}
	r, err := newRing(keys)
	if err != nil {
		return err
	}
	if r.keys[0].alg != k.options.Algorithm {
		return fmt.Errorf("%w: the %s key has gone", auth.ErrUnavailable, k.options.Algorithm)
	}
	k.ring.Store(r)
	return nil
}

func parseRecord(alg string, value []byte) ([]*key, error) {
	r, err := decodeRecord(value)
	if err != nil {
		return nil, err
	}
	keys := make([]*key, len(r.Keys))
	for i, stored := range r.Keys {
		parsed, err := parseKey(alg, stored.Private)
		if err != nil {
			return nil, err
		}
		parsed.signFrom = stored.SignFrom
		keys[i] = parsed
	}
	return keys, nil
}

func newRing(keys []*key) (*ring, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: no signing key", auth.ErrUnavailable)
	}
	r := &ring{keys: keys, byHeader: make(map[string]*key, len(keys))}
	public := struct {
		Keys []*jwk `json:"keys"`
	}{Keys: []*jwk{}} // an empty list, not null
	for _, k := range keys {
		r.byHeader[k.header] = k
		r.kids = append(r.kids, []byte(k.kid))
		if k.jwk != nil {
			public.Keys = append(public.Keys, k.jwk)
		}
	}
	var err error
	r.jwks, err = json.Marshal(public)
	return r, err
}

// signing is the newest key of the configured algorithm that may sign by now.
// The last resort is the newest of all, for a clock that was set back.
func (r *ring) signing(now int64) *key {
	for _, k := range r.keys {
		if k.alg == r.keys[0].alg && k.signFrom <= now {
			return k
		}
	}
	return r.keys[0]
}
