package token

import (
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const (
	// tokenType keeps tokens of other purposes out (RFC 9068, section 2.1).
	tokenType = "at+jwt"
	// maxSize bounds what is parsed. Proxies cut header lines at about this.
	maxSize = 8192
	// skew is how far the clocks of nodes may differ. It is allowed for what
	// lies in the future, never for exp: that would lengthen every token.
	skew = 30 * time.Second
)

// claims is the payload of a token, in the order of the contract.
type claims struct {
	Issuer     string         `json:"iss"`
	Subject    string         `json:"sub"` // UserID in digits
	Audience   string         `json:"aud"`
	ExpiresAt  int64          `json:"exp"`
	IssuedAt   int64          `json:"iat"`
	NotBefore  int64          `json:"nbf"`
	ID         string         `json:"jti"`
	SessionID  auth.SessionID `json:"sid"`
	Generation uint32         `json:"gen"` // which refresh token it came with
	UserID     uint64         `json:"auth_user_id"`
	UserType   string         `json:"user_type"`
	UserRoles  []string       `json:"user_roles"` // never null
	AuthTime   int64          `json:"auth_time"`  // of the last right code
	Methods    []string       `json:"amr"`        // RFC 8176
}

// Sign makes the access token of a sign-in or a renewed one.
func (k *Keys) Sign(g auth.Grant) (string, error) {
	roles := g.Identity.Roles
	if roles == nil {
		roles = []string{}
	}
	now := g.Now.Unix()
	payload, err := json.Marshal(claims{
		Issuer: k.options.Issuer, Audience: k.options.Audience,
		Subject: strconv.FormatUint(g.Identity.UserID, 10), UserID: g.Identity.UserID,
		ExpiresAt: g.Now.Add(g.AccessTTL).Unix(), IssuedAt: now, NotBefore: now,
		ID: rand.Text(), SessionID: g.Identity.SessionID, Generation: g.Generation,
		UserType: g.Identity.Type, UserRoles: roles,
		AuthTime: g.Identity.AuthTime.Unix(), Methods: []string{"otp"},
	})
	if err != nil {
		return "", fmt.Errorf("encoding access token: %w", err)
	}
	return k.ring.Load().signing(k.options.Now().Unix()).sign(payload)
}

// sign puts header, payload and signature together.
func (k *key) sign(payload []byte) (string, error) {
	signed := k.header + "." + base64url.EncodeToString(payload)
	signature, err := k.method.Sign(signed, k.private)
	if err != nil {
		return "", fmt.Errorf("signing access token: %w", err)
	}
	if k.alg == "ES256" {
		lowerS(signature)
	}
	text := signed + "." + base64url.EncodeToString(signature)
	if len(text) > maxSize {
		return "", fmt.Errorf("the access token has %d bytes, more than %d: the user has too many roles", len(text), maxSize)
	}
	return text, nil
}

var (
	orderP256     = elliptic.P256().Params().N
	halfOrderP256 = new(big.Int).Rsh(orderP256, 1)
)

// An ECDSA signature (r, s) is as good as (r, n-s). Only the lower s is made
// and taken, or anybody could turn a token into a second text that is valid
// too, and that a list of texts would not know.

func lowS(signature []byte) bool {
	return new(big.Int).SetBytes(signature[32:]).Cmp(halfOrderP256) <= 0
}

func lowerS(signature []byte) {
	if !lowS(signature) {
		s := new(big.Int).SetBytes(signature[32:])
		s.Sub(orderP256, s).FillBytes(signature[32:])
	}
}
