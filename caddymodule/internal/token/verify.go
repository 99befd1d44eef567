package token

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unsafe"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Verify reads a token that Sign has made, and nothing else. The error is
// CodeTokenExpired for a genuine token that is too old, CodeTokenInvalid for
// what is none; a fault is that the store could not be asked for an unknown key.
func (k *Keys) Verify(text string) (auth.Proof, error) {
	v, err := k.genuine(text)
	if err != nil {
		return auth.Proof{}, err
	}
	if k.options.Now().Unix() >= v.expires { // on or after: RFC 7519, section 4.1.4
		return auth.Proof{}, auth.Refuse(auth.CodeTokenExpired)
	}
	return v.proof, nil
}

// VerifyIgnoringExpiry is Verify for a caller to whom an old token is as good
// as a young one: logout, and the question what became of a session.
func (k *Keys) VerifyIgnoringExpiry(text string) (auth.Proof, error) {
	v, err := k.genuine(text)
	return v.proof, err
}

// genuine checks everything but the expiry. A signature is checked once per
// text; after that the text, or its hash, is enough, until one of the keys is
// gone. What is verified with a ring is remembered in that ring, so that a slow
// check cannot put a token of a key that is gone meanwhile where later ones look.
func (k *Keys) genuine(text string) (verified, error) {
	if len(text) > maxSize {
		return verified{}, auth.Refuse(auth.CodeTokenInvalid)
	}
	r := k.ring.Load()
	busy, hash, hit := r.hot.get(text)
	if hit {
		k.options.Uses.busy[hash%stripes].n.Add(1)
		return busy, nil
	}
	// The string's own bytes, read only: a copy would be an allocation for each
	// proxied request.
	sum := sha256.Sum256(unsafe.Slice(unsafe.StringData(text), len(text)))
	if v, hit := r.cache.get(sum); hit {
		r.hot.offer(text, hash, v)
		k.options.Uses.cached[hash%stripes].n.Add(1)
		return v, nil
	}
	k.options.Uses.read.Add(1)
	v, err := k.parse(r, text)
	if errors.Is(err, errHeader) {
		header, _, _ := strings.Cut(text, ".")
		if err := k.learn(header); err != nil {
			return verified{}, err // we cannot know: 503, not 401
		}
		r = k.ring.Load()
		v, err = k.parse(r, text)
	}
	if err != nil {
		return verified{}, &auth.Error{Code: auth.CodeTokenInvalid, AttemptsLeft: -1, Err: err}
	}
	now := k.options.Now().Unix()
	if now < v.expires { // an old one will not come often
		r.cache.put(sum, v, now)
	}
	return v, nil
}

var (
	errForm      = errors.New("not in the form of a token of ours")
	errHeader    = errors.New("no key of ours has this header")
	errSignature = errors.New("wrong signature")
	errClaims    = errors.New("claims are missing or of the wrong type")
	errParty     = errors.New("made by or for somebody else")
	errFuture    = errors.New("not valid yet")
)

func (k *Keys) parse(r *ring, text string) (v verified, err error) {
	// Letters first: base64 decoders skip line breaks, and so many texts would
	// be one token.
	if !plain(text) {
		return v, errForm
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return v, errForm
	}
	// A header is compared whole, letter for letter, with the ones our keys
	// write. That fixes alg, kid and typ at once and leaves no room for crit,
	// jwk, jku, x5c, a doubled member, or another spelling (RFC 8725, section 3).
	signer, known := r.byHeader[parts[0]]
	if !known {
		return v, errHeader
	}
	if !signer.verify(text[:len(text)-len(parts[2])-1], parts[2]) {
		return v, errSignature
	}
	payload, err := base64url.DecodeString(parts[1])
	if err != nil {
		return v, errForm
	}
	c, err := parseClaims(payload)
	if err != nil {
		return v, err
	}
	if err := k.check(c); err != nil {
		return v, err
	}
	v.proof = auth.Proof{SessionID: c.SessionID, Generation: c.Generation, UserID: c.UserID}
	v.expires = c.ExpiresAt
	return v, nil
}

// plain reports whether text has only letters of base64url and dots.
func plain(text string) bool {
	for i := range len(text) {
		if !isBase64url(text[i]) && text[i] != '.' {
			return false
		}
	}
	return text != ""
}

func isBase64url(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

func (k *key) verify(signed, encoded string) bool {
	signature, err := base64url.DecodeString(encoded)
	if err != nil || k.method.Verify(signed, signature, k.public) != nil {
		return false
	}
	return k.alg != "ES256" || lowS(signature)
}

// required are the claims that a token cannot be without.
var required = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "sid", "gen", "auth_user_id"}

func parseClaims(payload []byte) (c claims, err error) {
	list, whole := members(payload)
	if !whole {
		return c, errClaims
	}
	names := make(map[string]bool, len(list))
	for _, m := range list {
		// Only small letters, because the decoder below takes EXP for exp.
		if names[m.name] || strings.Trim(m.name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || m.value[0] == 'n' {
			return c, errClaims
		}
		names[m.name] = true
	}
	for _, name := range required {
		if !names[name] {
			return c, errClaims
		}
	}
	if json.Unmarshal(payload, &c) != nil {
		return c, errClaims
	}
	return c, nil
}

func (k *Keys) check(c claims) error {
	latest := k.options.Now().Add(skew).Unix()
	switch {
	case c.Issuer != k.options.Issuer || c.Audience != k.options.Audience:
		return errParty
	case c.IssuedAt > latest || c.NotBefore > latest:
		return errFuture
	case c.Subject != strconv.FormatUint(c.UserID, 10):
		return errClaims
	}
	return nil
}
