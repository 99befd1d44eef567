package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// ring is the keys as they were at one loading. They never change.
type ring struct {
	keys     []*key // those of the configured algorithm first, the newest first
	byHeader map[string]*key
	kids     [][]byte
	jwks     []byte

	// What was verified with these keys, and with those of rings before it that
	// are all in this one.
	cache *cache // all tokens
	hot   *hot   // the busy ones, before it
}

// record holds the keys of one algorithm, the newest first.
type record struct {
	Keys []storedKey `json:"keys"`
}

type storedKey struct {
	Private  []byte `json:"private"`
	SignFrom int64  `json:"sign_from"` // Unix seconds; before that it only verifies
}

const recordFormat = 1

func recordKey(alg string) string { return "keys/" + alg }

// RecordNames are all names that records of signing keys have. A store that was
// used has one of them.
func RecordNames() []string {
	names := make([]string, len(algorithms))
	for i, alg := range algorithms {
		names[i] = recordKey(alg)
	}
	return names
}

// ensureKey makes the first key of the algorithm. Of several processes that
// start at once, one writes; the others find its key afterwards.
func (k *Keys) ensureKey(ctx context.Context) error {
	name := recordKey(k.options.Algorithm)
	records, err := k.store.Get(ctx, name)
	if err != nil {
		return fmt.Errorf("reading signing key: %w", err)
	}
	if records[0].Version != 0 {
		return nil
	}
	first, err := k.newKey(0)
	if err != nil {
		return err
	}
	value, err := record{Keys: []storedKey{first}}.encode()
	if err != nil {
		return err
	}
	_, err = k.store.Swap(ctx, 0, auth.Write{Key: name, Value: value})
	if err != nil && !errors.Is(err, auth.ErrConflict) {
		return fmt.Errorf("writing signing key: %w", err)
	}
	return nil
}

// load reads all keys. What was read may have been written by another process
// a moment ago, so it is made durable before anything is signed with it.
func (k *Keys) load(ctx context.Context) error {
	k.loading.Lock()
	defer k.loading.Unlock()
	names := RecordNames()
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
	k.remember(r)
	k.ring.Store(r)
	return nil
}

// remember hands on what was verified, unless a key has gone: the caches know
// only texts, and a text that this key has signed must be refused from now on.
func (k *Keys) remember(r *ring) {
	if before := k.ring.Load(); before != nil && before.within(r) {
		r.cache, r.hot = before.cache, before.hot
		return
	}
	r.cache, r.hot = newCache(k.options.CacheSize), newHot()
}

// within reports whether all keys of the ring are in another one.
func (r *ring) within(other *ring) bool {
	for header := range r.byHeader {
		if _, known := other.byHeader[header]; !known {
			return false
		}
	}
	return true
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
