// Package token makes and reads access tokens: RFC 9068 JWTs that point at a
// session. What a token may do is for the session to say; here is only decided
// whether it is genuine, and whether it is still young enough.
//
// golang-jwt supplies the signatures. Its parser is not used: by default it
// takes tokens without exp, of any typ, with unknown crit, in several
// spellings. Here a token is accepted in exactly the form that Sign gives it.
package token

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Options are what a configuration says of its tokens.
type Options struct {
	Issuer    string           // iss; default "sidegate"
	Audience  string           // aud; default: the issuer
	Algorithm string           // ES256 (default), EdDSA, RS256, PS256 or HS256
	Now       func() time.Time // default time.Now
	CacheSize int              // verified tokens kept, about 120 bytes each; default 1 Mi
	Uses      *Uses            // counts; default: one of its own

	RotateEvery time.Duration // how old the signing key gets, see Keep; 0: as old as it likes
	HeadStart   time.Duration // see headStart, which is the default
}

// Keys signs and verifies access tokens. It is safe for concurrent use.
type Keys struct {
	options Options
	store   auth.Store
	ring    atomic.Pointer[ring]
	// loading is held while the ring is made: a slow reader must not bring back
	// keys that a later one has found gone.
	loading sync.Mutex
	learner *learner
}

// Open loads the signing keys from the store, and makes the one of the wanted
// algorithm when it is not there yet. Keys of other algorithms stay good for
// verification, so a change of the algorithm signs nobody out. The store must
// be a sealed one: private keys are written to it.
func Open(ctx context.Context, store auth.Store, o Options) (*Keys, error) {
	if o.Algorithm == "" {
		o.Algorithm = "ES256"
	}
	if _, known := methods[o.Algorithm]; !known {
		return nil, fmt.Errorf("unknown token algorithm %q: use one of %v", o.Algorithm, algorithms)
	}
	if o.Issuer == "" {
		o.Issuer = "sidegate"
	}
	if o.Audience == "" {
		o.Audience = o.Issuer
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CacheSize <= 0 {
		o.CacheSize = 1 << 20
	}
	if o.Uses == nil {
		o.Uses = new(Uses)
	}
	if o.HeadStart == 0 {
		o.HeadStart = headStart
	}
	k := &Keys{options: o, store: store, learner: newLearner()}
	if err := k.Reload(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// JWKS is the JSON Web Key Set of the public keys (RFC 7517, section 5), the
// signing one first. Under HS256 there are none to show. Do not change it.
func (k *Keys) JWKS() []byte { return k.ring.Load().jwks }
