package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/golang-jwt/jwt/v5"
)

var base64url = base64.RawURLEncoding.Strict()

// algorithms lists the known ones, the default first.
var algorithms = []string{"ES256", "EdDSA", "RS256", "PS256", "HS256"}

var methods = map[string]jwt.SigningMethod{
	"ES256": jwt.SigningMethodES256, "EdDSA": jwt.SigningMethodEdDSA, "RS256": jwt.SigningMethodRS256,
	"PS256": jwt.SigningMethodPS256, "HS256": jwt.SigningMethodHS256,
}

// rsaBits is what NIST SP 800-57 allows until 2030. A longer key makes each
// login slower, and these signatures matter for an hour at most.
const rsaBits = 2048

// key is one signing key. Its algorithm is part of it: nothing in a token can
// choose another.
type key struct {
	alg, kid string
	header   string // the one header its tokens have, encoded
	method   jwt.SigningMethod
	private  any
	public   any
	jwk      *jwk // nil for HS256
	signFrom int64
}

// jwk is a public key as JSON (RFC 7517; RFC 7518, section 6; RFC 8037).
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	E   string `json:"e,omitempty"`
	N   string `json:"n,omitempty"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	Kid string `json:"kid"`
}

// generate makes the private part of a new key: PKCS #8, or the plain secret
// for HS256.
func generate(alg string) ([]byte, error) {
	var private any
	var err error
	switch alg {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "RS256", "PS256":
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case "HS256":
		secret := make([]byte, sha256.Size)
		rand.Read(secret) // never fails
		return secret, nil
	}
	if err != nil {
		return nil, fmt.Errorf("making %s key: %w", alg, err)
	}
	return x509.MarshalPKCS8PrivateKey(private)
}

var errKey = errors.New("the key does not fit its algorithm")

// parseKey reads what generate has made for the same algorithm.
func parseKey(alg string, encoded []byte) (*key, error) {
	k := &key{alg: alg, method: methods[alg]}
	var err error
	if alg == "HS256" {
		err = k.useSecret(encoded)
	} else {
		err = k.usePKCS8(encoded)
	}
	if err != nil {
		return nil, err
	}
	k.header, err = header(alg, k.kid)
	return k, err
}

func (k *key) useSecret(secret []byte) error {
	if len(secret) < sha256.Size { // RFC 7518, section 3.2
		return errKey
	}
	// There is no public thumbprint of a secret; this one says nothing of it.
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("sidegate/1 kid"))
	k.kid = base64url.EncodeToString(mac.Sum(nil))
	k.private, k.public = secret, secret
	return nil
}

func (k *key) usePKCS8(der []byte) error {
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return fmt.Errorf("reading %s key: %w", k.alg, err)
	}
	switch p := private.(type) {
	case *ecdsa.PrivateKey:
		if k.alg != "ES256" || p.Curve != elliptic.P256() {
			return errKey
		}
		point, err := p.PublicKey.Bytes() // 4 ‖ x ‖ y
		if err != nil {
			return fmt.Errorf("reading %s key: %w", k.alg, err)
		}
		k.jwk = &jwk{Kty: "EC", Crv: "P-256", X: base64url.EncodeToString(point[1:33]), Y: base64url.EncodeToString(point[33:])}
		k.public = &p.PublicKey
	case ed25519.PrivateKey:
		if k.alg != "EdDSA" {
			return errKey
		}
		public := p.Public().(ed25519.PublicKey)
		k.jwk = &jwk{Kty: "OKP", Crv: "Ed25519", X: base64url.EncodeToString(public)}
		k.public = public
	case *rsa.PrivateKey:
		if k.alg != "RS256" && k.alg != "PS256" || p.N.BitLen() < rsaBits {
			return errKey
		}
		e := big.NewInt(int64(p.E)).Bytes()
		k.jwk = &jwk{Kty: "RSA", E: base64url.EncodeToString(e), N: base64url.EncodeToString(p.N.Bytes())}
		k.public = &p.PublicKey
	default:
		return errKey
	}
	k.private = private
	k.kid = k.jwk.thumbprint()
	k.jwk.Use, k.jwk.Alg, k.jwk.Kid = "sig", k.alg, k.kid
	return nil
}

// thumbprint is the key's name by RFC 7638: the SHA-256 of its required
// members, in the order of the alphabet, without white space. (RSA: section
// 3.2; EC: the same; OKP: RFC 8037, section 2.)
func (j *jwk) thumbprint() string {
	var text string
	switch j.Kty {
	case "EC":
		text = fmt.Sprintf(`{"crv":%q,"kty":%q,"x":%q,"y":%q}`, j.Crv, j.Kty, j.X, j.Y)
	case "OKP":
		text = fmt.Sprintf(`{"crv":%q,"kty":%q,"x":%q}`, j.Crv, j.Kty, j.X)
	case "RSA":
		text = fmt.Sprintf(`{"e":%q,"kty":%q,"n":%q}`, j.E, j.Kty, j.N)
	}
	sum := sha256.Sum256([]byte(text))
	return base64url.EncodeToString(sum[:])
}

func header(alg, kid string) (string, error) {
	text, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
		Typ string `json:"typ"`
	}{alg, kid, tokenType})
	return base64url.EncodeToString(text), err
}
