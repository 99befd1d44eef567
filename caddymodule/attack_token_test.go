package caddymodule_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
)

var raw = base64.RawURLEncoding

// forger makes tokens of what an outsider has: one token of ours, the public
// key, and a key of his own. What takes the private key is tested in the
// package token.
type forger struct {
	t                          *testing.T
	header, payload, signature string // of the token of ours
	kid                        string
	public                     *ecdsa.PublicKey
	own                        *ecdsa.PrivateKey
}

func newForger(a *attacker, t *testing.T) *forger {
	t.Helper()
	parts := strings.Split(a.tokens.Access, ".")
	f := &forger{t: t, header: parts[0], payload: parts[1], signature: parts[2]}
	var set struct{ Keys []struct{ Kid, X, Y string } }
	if err := json.Unmarshal(a.do("GET", apiPath+"/jwks.json", nil).body, &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("keys: %v, %v", set, err)
	}
	f.kid = set.Keys[0].Kid
	x, _ := raw.DecodeString(set.Keys[0].X)
	y, _ := raw.DecodeString(set.Keys[0].Y)
	var err error
	if f.public, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...)); err != nil {
		t.Fatal(err)
	}
	if f.own, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	return f
}

// es256 signs with the outsider's key.
func (f *forger) es256(signed string) []byte {
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, f.own, sum[:])
	if err != nil {
		f.t.Fatal(err)
	}
	if half := new(big.Int).Rsh(elliptic.P256().Params().N, 1); s.Cmp(half) > 0 {
		s.Sub(elliptic.P256().Params().N, s) // as ours are
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

func hs256(secret []byte) func(string) []byte {
	return func(signed string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(signed))
		return mac.Sum(nil)
	}
}

// token puts the payload of our token, or another, behind any header.
func (f *forger) token(header string, sign func(string) []byte) string {
	signed := raw.EncodeToString([]byte(header)) + "." + f.payload
	return signed + "." + raw.EncodeToString(sign(signed))
}

// jwk is the outsider's key as a header would carry it.
func (f *forger) jwk() string {
	point, err := f.own.PublicKey.Bytes()
	if err != nil {
		f.t.Fatal(err)
	}
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":"%s","y":"%s"}`, raw.EncodeToString(point[1:33]), raw.EncodeToString(point[33:]))
}

// mirrored is our token with (r, n-s) for (r, s), which verifies as well.
func (f *forger) mirrored() string {
	signature, err := raw.DecodeString(f.signature)
	if err != nil {
		f.t.Fatal(err)
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s)
	sum := sha256.Sum256([]byte(f.header + "." + f.payload))
	if !ecdsa.Verify(f.public, sum[:], new(big.Int).SetBytes(signature[:32]), s) {
		f.t.Fatal("the mirrored signature is none: this row shows nothing")
	}
	s.FillBytes(signature[32:])
	return f.header + "." + f.payload + "." + raw.EncodeToString(signature)
}

// promoted is the payload of our token with the role that opens everything.
func (f *forger) promoted() string {
	payload, err := raw.DecodeString(f.payload)
	if err != nil || !strings.Contains(string(payload), `["customer"]`) {
		f.t.Fatalf("payload %q, %v", payload, err)
	}
	return raw.EncodeToString([]byte(strings.Replace(string(payload), `["customer"]`, `["admin"]`, 1)))
}

// otherBits is a text whose last letter differs only in the bits that a
// careless decoder drops.
func otherBits(text string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(letters, text[len(text)-1])
	return text[:len(text)-1] + letters[last^1:][:1]
}

// Tickets are what the cookie and refreshing take. Their MAC covers the
// session, the generation and the kind.
func attackTickets(a *attacker, t *testing.T) {
	altered := func(text string, place int) string {
		data, err := raw.DecodeString(text[5:])
		if err != nil {
			t.Fatal(err)
		}
		data[place] ^= 1
		return text[:5] + raw.EncodeToString(data)
	}
	for _, row := range []struct{ name, cookie string }{
		{"another session", altered(a.cookie, 0)},
		{"the next generation", altered(a.cookie, 19)},
		{"another MAC", altered(a.cookie, 20)},
		{"the MAC's last byte", altered(a.cookie, 51)},
		{"cut off", a.cookie[:len(a.cookie)-1]},
		{"last bits", otherBits(a.cookie)},
		{"a refresh token dressed as a cookie", "sgc1_" + a.tokens.Refresh[5:]},
		{"a cookie dressed as a refresh token", "sgr1_" + a.cookie[5:]},
		{"prefix in capitals", "SGC1_" + a.cookie[5:]},
		{"padding", a.cookie + "="},
		{"quoted", `"` + a.cookie + `"`},
		{"a NUL, encoded", a.cookie + "%00"},
		{"empty", ""},
	} {
		a.run(t, []attack{
			{row.name, "GET /app\nCookie: sidegate=" + row.cookie, "401 token_invalid", nil},
			{row.name + ", public", "GET /public/x\nCookie: sidegate=" + row.cookie, "200 anonymous", []string{"!Cookie"}},
			{row.name + ", as a bearer", "GET /app\nAuthorization: Bearer " + row.cookie, "401 token_invalid", nil},
		})
	}
	for name, text := range map[string]string{"cookie": a.cookie, "cookie in dress": "sgr1_" + a.cookie[5:], "altered": altered(a.tokens.Refresh, 19), "last bits": otherBits(a.tokens.Refresh)} {
		wants(t, "refresh by "+name, a.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": text}), 400, "refresh_token_invalid")
	}
	a.run(t, []attack{{"the cookie itself", "GET /app\nCookie: sidegate={cookie}", "200 cookie", nil}})
}

func attackTokens(a *attacker, t *testing.T) {
	f := newForger(a, t)
	der, err := x509.MarshalPKIXPublicKey(f.public)
	if err != nil {
		t.Fatal(err)
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	ours := func(string) []byte { s, _ := raw.DecodeString(f.signature); return s } // made for another header
	none := func(string) []byte { return nil }
	head := func(alg, kid, more string) string {
		return fmt.Sprintf(`{"alg":"%s","kid":"%s","typ":"at+jwt"%s}`, alg, kid, more)
	}
	token := a.tokens.Access
	for _, row := range []struct{ name, token string }{
		{"alg none", f.token(head("none", f.kid, ""), none)},
		{"alg NoNe", f.token(head("NoNe", f.kid, ""), none)},
		{"alg none with our signature", f.token(head("none", f.kid, ""), ours)},
		{"our header without a signature", f.header + "." + f.payload + "."},
		{"our header and two parts", f.header + "." + f.payload},
		{"HS256 with the public key as PEM", f.token(head("HS256", f.kid, ""), hs256(pemKey))},
		{"HS256 with the public key as DER", f.token(head("HS256", f.kid, ""), hs256(der))},
		{"HS256 with the empty secret", f.token(head("HS256", f.kid, ""), hs256(nil))},
		{"our header, HMAC with the public key", f.header + "." + f.payload + "." + raw.EncodeToString(hs256(pemKey)(f.header+"."+f.payload))},
		{"foreign key under our kid", f.token(head("ES256", f.kid, ""), f.es256)},
		{"foreign key under its own kid", f.token(head("ES256", strings.Repeat("A", 43), ""), f.es256)},
		{"no kid", f.token(`{"alg":"ES256","typ":"at+jwt"}`, f.es256)},
		{"kid as a path", f.token(head("HS256", "../../../../dev/null", ""), hs256(nil))},
		{"kid as a query", f.token(head("HS256", "x' UNION SELECT 'k", ""), hs256([]byte("k")))},
		{"jwk", f.token(head("ES256", f.kid, `,"jwk":`+f.jwk()), f.es256)},
		{"jku", f.token(head("ES256", f.kid, `,"jku":"https://evil.example/jwks.json"`), f.es256)},
		{"x5u", f.token(head("ES256", f.kid, `,"x5u":"https://evil.example/x.pem"`), f.es256)},
		{"typ JWT", f.token(fmt.Sprintf(`{"alg":"ES256","kid":"%s","typ":"JWT"}`, f.kid), ours)},
		{"no typ", f.token(fmt.Sprintf(`{"alg":"ES256","kid":"%s"}`, f.kid), ours)},
		{"unknown crit", f.token(head("ES256", f.kid, `,"crit":["evil"],"evil":1`), ours)},
		{"payload not encoded", f.token(head("ES256", f.kid, `,"b64":false,"crit":["b64"]`), ours)},
		{"another role", f.header + "." + f.promoted() + "." + f.signature},
		{"signature of zeros", f.header + "." + f.payload + "." + raw.EncodeToString(make([]byte, 64))},
		{"mirrored signature", f.mirrored()},
		{"last bits of the signature", otherBits(token)},
		{"last bits of the payload, where there are some", f.header + "." + otherBits(f.payload) + "." + f.signature},
		{"padding", token + "=="},
		{"padding in the middle", f.header + "." + f.payload + "=." + f.signature},
		{"a part more", token + "."},
		{"a part in front", "." + token},
		{"a line break, encoded", token + "%0a"},
		{"a NUL, encoded", token + "%00"},
		{"quoted", `"` + token + `"`},
		{"a byte more", token + "A"},
		{"more than 8 KiB", token + strings.Repeat("A", 9<<10)},
		{"more than 8 KiB in front", strings.Repeat("A", 9<<10) + "." + token},
		{"two in one", token + "." + token},
	} {
		a.run(t, []attack{
			{row.name, "GET /app\nAuthorization: Bearer " + row.token, "401 token_invalid", nil},
			{row.name + ", as the cookie", "GET /app\nCookie: sidegate=" + row.token, "401 token_invalid", nil},
			{row.name + ", at our own route", "GET /api/v1/auth/user\nAuthorization: Bearer " + row.token, "401 token_invalid", nil},
			// Our kid or our issuer and type are in it: no upstream sees it either.
			{row.name + ", public", "GET /public/x\nAuthorization: Bearer " + row.token, "200 anonymous", nil},
		})
	}
	a.run(t, []attack{
		{"a line break behind the token is HTTP's", "GET /app\nAuthorization: Bearer {token}\n", "200 bearer", nil},
		{"a folded line", "GET /app\nAuthorization: Bearer\n {token}", "200 bearer", nil},
		{"the token itself", "GET /app\nAuthorization: Bearer {token}", "200 bearer", nil},
	})
	if r := a.do("POST", apiPath+"/logout", nil, "Authorization", "Bearer "+f.mirrored()); r.status == http.StatusNoContent {
		t.Error("logged out by a token that is none")
	}
	a.run(t, []attack{{"still signed in", "GET /app\nAuthorization: Bearer {token}", "200 bearer", nil}})
}
