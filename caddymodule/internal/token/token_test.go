package token

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// mapStore is just enough of a store.
type mapStore struct {
	mutex   sync.Mutex
	records map[string]auth.Record
	last    auth.Version
	err     error
}

func newStore() *mapStore { return &mapStore{records: map[string]auth.Record{}} }

func (s *mapStore) Get(_ context.Context, keys ...string) ([]auth.Record, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	out := make([]auth.Record, len(keys))
	for i, key := range keys {
		out[i] = s.records[key]
	}
	return out, s.err
}

func (s *mapStore) Swap(_ context.Context, expected auth.Version, w auth.Write) (auth.Version, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.records[w.Key].Version != expected {
		return 0, auth.ErrConflict
	}
	if delete(s.records, w.Key); w.Value == nil {
		return 0, s.err
	}
	s.last++
	s.records[w.Key] = auth.Record{Value: w.Value, Version: s.last}
	return s.last, s.err
}

func (s *mapStore) Put(context.Context, []auth.Write) error { return s.err }
func (s *mapStore) Sync(context.Context) error              { return s.err }

// clock is a time that tests move.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Date(2026, 11, 23, 12, 0, 0, 500e6, time.UTC)} }

const issuer = "https://app.example.com"

func open(t testing.TB, store auth.Store, alg string, c *clock) *Keys {
	t.Helper()
	k, err := Open(context.Background(), store, Options{Issuer: issuer, Audience: "acme", Algorithm: alg, Now: c.now, CacheSize: 1 << 12})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func grant(c *clock) auth.Grant {
	return auth.Grant{
		Identity: auth.Identity{
			UserID: 42, Type: "customer", Roles: []string{"customer", "admin"},
			SessionID: auth.SessionID{1, 2, 3}, DeviceID: "d", AuthTime: c.at.Add(-time.Hour),
		},
		Generation: 7, AccessTTL: 15 * time.Minute, Now: c.at,
	}
}

var proof = auth.Proof{SessionID: auth.SessionID{1, 2, 3}, Generation: 7, UserID: 42}

func sign(t testing.TB, k *Keys, g auth.Grant) string {
	t.Helper()
	text, err := k.Sign(g)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTokenComesBackUnderEachAlgorithm(t *testing.T) {
	for _, alg := range algorithms {
		c := newClock()
		k := open(t, newStore(), alg, c)
		text := sign(t, k, grant(c))
		for range 2 { // cold, then from the cache
			if got, err := k.Verify(text); err != nil || got != proof {
				t.Errorf("%s: got %v, %v", alg, got, err)
			}
		}
		if !k.IsOurs(text) {
			t.Errorf("%s: not known as ours", alg)
		}
	}
}

func TestExpiry(t *testing.T) {
	c := newClock()
	start := c.at.Truncate(time.Second)
	k := open(t, newStore(), "ES256", c)
	text := sign(t, k, grant(c))
	for _, row := range []struct {
		name string
		at   time.Time
		want error
	}{
		{"young", start, nil},
		{"young, from the cache", start.Add(time.Minute), nil},
		{"the instant before exp", start.Add(15*time.Minute - time.Nanosecond), nil},
		{"the instant of exp, from the cache", start.Add(15 * time.Minute), auth.Refuse(auth.CodeTokenExpired)},
		{"an hour later", start.Add(time.Hour), auth.Refuse(auth.CodeTokenExpired)},
	} {
		c.at = row.at
		for _, keys := range []*Keys{k, open(t, k.store, "ES256", c)} { // warm and cold
			if _, err := keys.Verify(text); !errors.Is(err, row.want) {
				t.Errorf("%s: got %v, want %v", row.name, err, row.want)
			}
			if got, err := keys.VerifyIgnoringExpiry(text); err != nil || got != proof {
				t.Errorf("%s, ignoring expiry: got %v, %v", row.name, got, err)
			}
		}
	}
}

func TestClaims(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "EdDSA", c)
	g := grant(c)
	g.Identity.Roles = nil
	text := sign(t, k, g)
	payload, err := base64url.DecodeString(strings.Split(text, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ JTI string }
	if err := json.Unmarshal(payload, &got); err != nil || len(got.JTI) < 22 {
		t.Errorf("jti %q, %v", got.JTI, err)
	}
	at := c.at.Unix()
	want := fmt.Sprintf(`{"iss":"https://app.example.com","sub":"42","aud":"acme","exp":%d,"iat":%d,"nbf":%d,"jti":"%s",`+
		`"sid":"AQIDAAAAAAAAAAAAAAAAAA","gen":7,"auth_user_id":42,"user_type":"customer","user_roles":[],"auth_time":%d,"amr":["otp"]}`,
		at+900, at, at, got.JTI, at-3600)
	if string(payload) != want {
		t.Errorf("got  %s\nwant %s", payload, want)
	}
	if sign(t, k, g) == text {
		t.Error("two tokens are the same")
	}
}

func TestSignRefusesWhatVerifyWould(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "ES256", c)
	g := grant(c)
	g.Identity.Roles = []string{strings.Repeat("r", maxSize)}
	if _, err := k.Sign(g); err == nil {
		t.Error("signed a token that is too long")
	}
}

func TestChangeOfAlgorithmSignsNobodyOut(t *testing.T) {
	c, store := newClock(), newStore()
	var texts []string
	for _, alg := range algorithms {
		k := open(t, store, alg, c)
		texts = append(texts, sign(t, k, grant(c)))
		for i, text := range texts {
			if got, err := k.Verify(text); err != nil || got != proof {
				t.Errorf("under %s, token of %s: got %v, %v", alg, algorithms[i], got, err)
			}
		}
	}
	// And back again: the same key signs.
	a, b := open(t, store, "ES256", c), open(t, store, "ES256", c)
	if a.ring.Load().keys[0].kid != b.ring.Load().keys[0].kid {
		t.Error("a second start made another key")
	}
}

func TestManyStartsAgreeOnOneKey(t *testing.T) {
	c, store := newClock(), newStore()
	kids := make([]string, 16)
	var group sync.WaitGroup
	for i := range kids {
		group.Go(func() { kids[i] = open(t, store, "EdDSA", c).ring.Load().keys[0].kid })
	}
	group.Wait()
	for _, kid := range kids {
		if kid != kids[0] {
			t.Errorf("kids differ: %v", kids)
		}
	}
}

func TestOpenRefusals(t *testing.T) {
	c := newClock()
	es := newStore()
	open(t, es, "ES256", c)
	foreign := es.records["keys/ES256"].Value
	with := func(key string, value []byte) *mapStore {
		s := newStore()
		s.records[key] = auth.Record{Value: value, Version: 1}
		return s
	}
	broken := newStore()
	broken.err = auth.ErrUnavailable
	for _, row := range []struct {
		name  string
		store auth.Store
	}{
		{"the store does not answer", broken},
		{"the record is empty", with("keys/ES256", nil)},
		{"unknown record format", with("keys/ES256", []byte(`2{"keys":[]}`))},
		{"not JSON", with("keys/ES256", []byte("\x01{"))},
		{"no key in it", with("keys/ES256", []byte("\x01{\"keys\":[]}"))},
		{"not a key", with("keys/ES256", []byte("\x01{\"keys\":[{\"private\":\"AAAA\"}]}"))},
		{"a secret that is too short", with("keys/HS256", []byte("\x01{\"keys\":[{\"private\":\"AAAA\"}]}"))},
		// Attack: the public half of a key becomes the secret of another algorithm.
		{"an ES256 key under EdDSA", with("keys/EdDSA", foreign)},
		{"an ES256 key under RS256", with("keys/RS256", foreign)},
	} {
		_, err := Open(t.Context(), row.store, Options{Algorithm: "ES256", Now: c.now})
		if !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("%s: got %v", row.name, err)
		}
	}
	if _, err := Open(t.Context(), newStore(), Options{Algorithm: "none"}); err == nil {
		t.Error("algorithm none: accepted")
	}
}

func TestDefaults(t *testing.T) {
	k, err := Open(t.Context(), newStore(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if o := k.options; o.Issuer != "sidegate" || o.Audience != "sidegate" || o.Algorithm != "ES256" || o.Now == nil || o.CacheSize != 1<<20 {
		t.Errorf("got %+v", o)
	}
}

func TestJWKS(t *testing.T) {
	c, store := newClock(), newStore()
	if got := string(open(t, newStore(), "HS256", c).JWKS()); got != `{"keys":[]}` {
		t.Errorf("HS256 shows %s", got)
	}
	for _, alg := range algorithms {
		open(t, store, alg, c)
	}
	text := open(t, store, "RS256", c).JWKS()
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	var algs []string
	for _, k := range set.Keys {
		algs = append(algs, k["alg"])
		if k["use"] != "sig" || len(k["kid"]) != 43 {
			t.Errorf("key %v", k)
		}
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if _, shown := k[private]; shown {
				t.Errorf("%s shows %s", k["alg"], private)
			}
		}
	}
	if got := strings.Join(algs, " "); got != "RS256 ES256 EdDSA PS256" {
		t.Errorf("algorithms %s", got)
	}
}

// The example of RFC 7638, section 3.1.
func TestThumbprint(t *testing.T) {
	j := jwk{Kty: "RSA", E: "AQAB", N: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}
	if got := j.thumbprint(); got != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("RSA: got %s", got)
	}
	// RFC 8037, appendix A.3.
	j = jwk{Kty: "OKP", Crv: "Ed25519", X: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
	if got := j.thumbprint(); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("OKP: got %s", got)
	}
}

func TestCacheStaysWithinItsLimit(t *testing.T) {
	c := newCache(2 * shards)
	var sum [32]byte
	for i := range 5000 {
		rand.Read(sum[:])
		sum[0] = 5 // all in one shard
		c.put(sum, verified{expires: int64(1000 + i)}, 0)
		if v, hit := c.get(sum); !hit || v.expires != int64(1000+i) {
			t.Fatal("what was put last is not there")
		}
		if n := len(c.shards[5].entries); n > 2 {
			t.Fatalf("%d entries", n)
		}
	}
	rand.Read(sum[:])
	sum[0] = 5
	c.put(sum, verified{expires: 9000}, 8000)
	if n := len(c.shards[5].entries); n != 1 {
		t.Errorf("%d entries after the others expired", n)
	}
}
