package token

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sidegate/sidegate/caddymodule/auth"
)

// forge signs any header and payload with a key of ours, or any other.
func forge(t testing.TB, method jwt.SigningMethod, key any, header, payload string) string {
	t.Helper()
	signed := base64url.EncodeToString([]byte(header)) + "." + base64url.EncodeToString([]byte(payload))
	signature, err := method.Sign(signed, key)
	if err != nil {
		t.Fatal(err)
	}
	if method.Alg() == "ES256" {
		lowerS(signature)
	}
	return signed + "." + base64url.EncodeToString(signature)
}

// payload is what Sign writes, with one text replaced.
func payload(c *clock, old, new string) string {
	at := c.at.Unix()
	text := fmt.Sprintf(`{"iss":"%s","sub":"42","aud":"acme","exp":%d,"iat":%d,"nbf":%d,"jti":"j","sid":"AQIDAAAAAAAAAAAAAAAAAA",`+
		`"gen":7,"auth_user_id":42,"user_type":"customer","user_roles":[],"auth_time":1,"amr":["otp"]}`, issuer, at+900, at, at)
	if !strings.Contains(text, old) {
		panic(old)
	}
	return strings.Replace(text, old, new, 1)
}

// Each row is a header that a parser may fall for. All are signed rightly, as
// far as there is a right way.
func TestHeaderAttacks(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "ES256", c)
	own := k.ring.Load().keys[0]
	other := open(t, newStore(), "ES256", c).ring.Load().keys[0]
	public, err := x509.MarshalPKIXPublicKey(own.public)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	const form = `{"alg":"%s","kid":"%s","typ":"at+jwt"%s}`
	header := func(alg, kid, more string) string { return fmt.Sprintf(form, alg, kid, more) }
	jwkOfOther := fmt.Sprintf(`,"jwk":{"kty":"EC","crv":"P-256","x":"%s","y":"%s"}`, other.jwk.X, other.jwk.Y)

	for _, row := range []struct {
		name, header string
		method       jwt.SigningMethod
		key          any
	}{
		{"alg none", header("none", own.kid, ""), jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType},
		{"alg none, signed", header("none", own.kid, ""), own.method, own.private},
		{"HS256 with the public key as the secret", header("HS256", own.kid, ""), jwt.SigningMethodHS256, publicPEM},
		{"HS256 with the public key's DER as the secret", header("HS256", own.kid, ""), jwt.SigningMethodHS256, public},
		{"our header with the public key as the secret", header("ES256", own.kid, ""), jwt.SigningMethodHS256, publicPEM},
		{"foreign key with its own kid", header("ES256", other.kid, ""), other.method, other.private},
		{"foreign key with our kid", header("ES256", own.kid, ""), other.method, other.private},
		{"no kid", `{"alg":"ES256","typ":"at+jwt"}`, own.method, own.private},
		{"empty kid", header("ES256", "", ""), own.method, own.private},
		{"kid as a path", header("ES256", "../../dev/null", ""), jwt.SigningMethodHS256, []byte{}},
		{"key in the header", header("ES256", own.kid, jwkOfOther), other.method, other.private},
		{"key in the header, our signature", header("ES256", own.kid, jwkOfOther), own.method, own.private},
		{"address of keys in the header", header("ES256", own.kid, `,"jku":"https://evil.example/jwks"`), own.method, own.private},
		{"address of a certificate", header("ES256", own.kid, `,"x5u":"https://evil.example/x"`), own.method, own.private},
		{"certificate in the header", header("ES256", own.kid, `,"x5c":["AAAA"]`), own.method, own.private},
		{"unknown crit", header("ES256", own.kid, `,"crit":["exp2"],"exp2":1`), own.method, own.private},
		{"empty crit", header("ES256", own.kid, `,"crit":[]`), own.method, own.private},
		{"unencoded payload", header("ES256", own.kid, `,"b64":false,"crit":["b64"]`), own.method, own.private},
		{"compressed", header("ES256", own.kid, `,"zip":"DEF"`), own.method, own.private},
		{"typ of another purpose", fmt.Sprintf(`{"alg":"ES256","kid":"%s","typ":"JWT"}`, own.kid), own.method, own.private},
		{"no typ", fmt.Sprintf(`{"alg":"ES256","kid":"%s"}`, own.kid), own.method, own.private},
		{"typ in capitals", fmt.Sprintf(`{"alg":"ES256","kid":"%s","typ":"AT+JWT"}`, own.kid), own.method, own.private},
		{"alg twice", fmt.Sprintf(`{"alg":"none","alg":"ES256","kid":"%s","typ":"at+jwt"}`, own.kid), own.method, own.private},
		{"kid twice", header("ES256", own.kid, fmt.Sprintf(`,"kid":"%s"`, other.kid)), own.method, own.private},
		{"white space", header("ES256", own.kid, " "), own.method, own.private},
		{"other order", fmt.Sprintf(`{"kid":"%s","alg":"ES256","typ":"at+jwt"}`, own.kid), own.method, own.private},
		{"not JSON", `alg`, own.method, own.private},
		{"empty", ``, own.method, own.private},
	} {
		text := forge(t, row.method, row.key, row.header, payload(c, "", ""))
		refused(t, k, row.name, text)
	}
	// The forge itself is right.
	if _, err := k.Verify(forge(t, own.method, own.private, header("ES256", own.kid, ""), payload(c, "", ""))); err != nil {
		t.Errorf("the unaltered token: %v", err)
	}
}

// refused fails the test when k takes the text in any of its ways.
func refused(t testing.TB, k *Keys, name, text string) {
	t.Helper()
	for range 2 { // a refusal must not become an acceptance by the cache
		if _, err := k.Verify(text); !errors.Is(err, auth.Refuse(auth.CodeTokenInvalid)) {
			t.Errorf("%s: Verify gave %v", name, err)
		}
		if got, err := k.VerifyIgnoringExpiry(text); !errors.Is(err, auth.Refuse(auth.CodeTokenInvalid)) || got != (auth.Proof{}) {
			t.Errorf("%s: VerifyIgnoringExpiry gave %v, %v", name, got, err)
		}
	}
}

// Rightly signed claims that Sign would never write: what a leak of the key, a
// second issuer with the same key, or a fault of ours could bring.
func TestClaimAttacks(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "ES256", c)
	own := k.ring.Load().keys[0]
	header := fmt.Sprintf(`{"alg":"ES256","kid":"%s","typ":"at+jwt"}`, own.kid)
	at := c.at.Unix()
	exp, iat, nbf := fmt.Sprintf(`"exp":%d,`, at+900), fmt.Sprintf(`"iat":%d,`, at), fmt.Sprintf(`"nbf":%d,`, at)
	for _, row := range []struct{ name, old, new string }{
		{"no exp", exp, ""},
		{"exp null", exp, `"exp":null,`},
		{"exp as text", exp, fmt.Sprintf(`"exp":"%d",`, at+900)},
		{"exp beyond all time", exp, `"exp":1e300,`},
		{"exp twice", exp, exp + `"exp":99999999999,`},
		{"exp twice, once in capitals", exp, exp + `"EXP":99999999999,`},
		{"exp twice, once escaped", exp, exp + `"\u0065xp":99999999999,`},
		{"user twice", `"auth_user_id":42`, `"auth_user_id":1,"auth_user_id":42`},
		{"session by a letter that folds to s", `"jti"`, `"ſid":"AQIDAAAAAAAAAAAAAAAAAB","jti"`},
		{"another issuer", issuer, "https://evil.example"},
		{"issuer with a slash more", issuer, issuer + "/"},
		{"issuer as a list", `"` + issuer + `"`, `["` + issuer + `"]`},
		{"no issuer", `"iss":"` + issuer + `",`, ""},
		{"another audience", `"acme"`, `"other"`},
		{"several audiences", `"acme"`, `["acme","other"]`},
		{"no audience", `"aud":"acme",`, ""},
		{"made in the future", iat, fmt.Sprintf(`"iat":%d,`, at+31)},
		{"good in the future", nbf, fmt.Sprintf(`"nbf":%d,`, at+31)},
		{"no iat", iat, ""},
		{"no nbf", nbf, ""},
		{"no jti", `"jti":"j",`, ""},
		{"no sid", `"sid":"AQIDAAAAAAAAAAAAAAAAAA",`, ""},
		{"sid as a number", `"AQIDAAAAAAAAAAAAAAAAAA"`, `1`},
		{"sid in another spelling", `"AQIDAAAAAAAAAAAAAAAAAA"`, `"AQIDAAAAAAAAAAAAAAAAAB"`},
		{"gen as text", `"gen":7`, `"gen":"7"`},
		{"gen below zero", `"gen":7`, `"gen":-1`},
		{"gen too large", `"gen":7`, `"gen":4294967296`},
		{"no gen", `"gen":7,`, ""},
		{"sub of another user", `"sub":"42"`, `"sub":"1"`},
		{"sub with a zero in front", `"sub":"42"`, `"sub":"042"`},
		{"no sub", `"sub":"42",`, ""},
		{"no user", `"auth_user_id":42,`, ""},
		{"text after the object", `"amr":["otp"]}`, `"amr":["otp"]}{}`},
		{"cut off", `"amr":["otp"]}`, `"amr":["otp"]`},
		{"a list", "", "["},
	} {
		refused(t, k, row.name, forge(t, own.method, own.private, header, payload(c, row.old, row.new)))
	}
	long := payload(c, `"customer"`, `"`+strings.Repeat("c", maxSize)+`"`)
	refused(t, k, "9 KB, rightly signed", forge(t, own.method, own.private, header, long))
	for _, row := range []struct{ name, old, new string }{
		{"another node's clock is a little ahead", nbf, fmt.Sprintf(`"nbf":%d,`, at+29)},
		{"a claim of a later version", `"jti"`, `"cnf":{"jkt":"x"},"jti"`},
	} {
		if _, err := k.Verify(forge(t, own.method, own.private, header, payload(c, row.old, row.new))); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// Attack: a second spelling of a good token gets past whatever compares texts.
func TestTokenHasOneSpelling(t *testing.T) {
	for _, alg := range algorithms {
		c := newClock()
		k := open(t, newStore(), alg, c)
		text := sign(t, k, grant(c))
		parts := strings.Split(text, ".")
		std := strings.NewReplacer("-", "+", "_", "/").Replace(text)
		for std == text { // no such letter in it by chance
			text = sign(t, k, grant(c))
			parts, std = strings.Split(text, "."), strings.NewReplacer("-", "+", "_", "/").Replace(text)
		}
		for _, row := range []struct{ name, text string }{
			{"empty", ""},
			{"line break at the end", text + "\n"},
			{"line break in the payload", parts[0] + "." + parts[1][:9] + "\r\n" + parts[1][9:] + "." + parts[2]},
			{"line break in the signature", text[:len(text)-5] + "\n" + text[len(text)-5:]},
			{"blank in front", " " + text},
			{"padding", text + "=="},
			{"padding of the payload", parts[0] + "." + parts[1] + "=." + parts[2]},
			{"standard base64", std},
			{"a part more", text + "."},
			{"a part less", parts[0] + "." + parts[1]},
			{"no signature", parts[0] + "." + parts[1] + "."},
			{"signature twice", text + parts[2]},
			{"signature cut", text[:len(text)-2]},
			{"a zero byte at the signature's end", text + "AA"},
			{"NUL", text + "\x00"},
			{"9 KB", text + strings.Repeat("A", 9<<10)},
			{"9 KB of payload", parts[0] + "." + strings.Repeat("A", 9<<10) + "." + parts[2]},
			{"scheme in front", "Bearer " + text},
		} {
			refused(t, k, alg+": "+row.name, row.text)
			if row.text != "" && strings.HasPrefix(row.text, parts[0]) && !k.IsOurs(row.text) {
				t.Errorf("%s: %s: would reach the upstream", alg, row.name)
			}
		}
		const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		last := len(text) - 1
		for _, letter := range []byte(letters) {
			if letter != text[last] {
				refused(t, k, alg+": last letter "+string(letter), text[:last]+string(letter))
			}
		}
		if _, err := k.Verify(text); err != nil {
			t.Errorf("%s: the token itself: %v", alg, err)
		}
	}
}

// Attack: (r, n-s) verifies whenever (r, s) does.
func TestMirroredSignatureIsRefused(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "ES256", c)
	own := k.ring.Load().keys[0]
	for range 20 {
		text := sign(t, k, grant(c))
		cut := strings.LastIndexByte(text, '.')
		signature, err := base64url.DecodeString(text[cut+1:])
		if err != nil || !lowS(signature) {
			t.Fatalf("Sign gave a high s, or %v", err)
		}
		s := new(big.Int).SetBytes(signature[32:])
		s.Sub(orderP256, s).FillBytes(signature[32:])
		if own.method.Verify(text[:cut], signature, own.public) != nil {
			t.Fatal("the mirrored signature is none: this test shows nothing")
		}
		refused(t, k, "mirrored signature", text[:cut+1]+base64url.EncodeToString(signature))
	}
}

// Attack: a valid RS256 signature is presented as PS256, and a key of one
// algorithm is used for another.
func TestAlgorithmBelongsToTheKey(t *testing.T) {
	c, store := newClock(), newStore()
	rs := open(t, store, "RS256", c).ring.Load().keys[0]
	k := open(t, store, "PS256", c)
	private := rs.private.(*rsa.PrivateKey)
	ps := fmt.Sprintf(`{"alg":"PS256","kid":"%s","typ":"at+jwt"}`, rs.kid)
	refused(t, k, "PS256 by the RS256 key", forge(t, jwt.SigningMethodPS256, private, ps, payload(c, "", "")))
	asRS := fmt.Sprintf(`{"alg":"RS256","kid":"%s","typ":"at+jwt"}`, rs.kid)
	refused(t, k, "PS256 signature under an RS256 header", forge(t, jwt.SigningMethodPS256, private, asRS, payload(c, "", "")))
	if _, err := k.Verify(forge(t, jwt.SigningMethodRS256, private, asRS, payload(c, "", ""))); err != nil {
		t.Errorf("RS256 by the RS256 key: %v", err)
	}
}

func TestIsOurs(t *testing.T) {
	c := newClock()
	k := open(t, newStore(), "ES256", c)
	foreign := open(t, newStore(), "ES256", c)
	foreign.options.Issuer, foreign.options.Audience = "https://idp.example", issuer // made for our site
	lost := open(t, newStore(), "HS256", c)                                          // our issuer, but a key that is gone
	text := sign(t, k, grant(c))
	parts := strings.Split(text, ".")
	std := strings.NewReplacer("-", "+", "_", "/").Replace(text)
	for _, row := range []struct {
		name, text string
		want       bool
	}{
		{"a token", text, true},
		{"padding", parts[0] + "==." + parts[1] + "=." + parts[2] + "=", true},
		{"standard base64", std, true},
		{"blanks around", "  " + text + "\t", true},
		{"blanks within", text[:10] + " " + text[10:30] + "\n\t" + text[30:], true},
		{"quoted", `"` + text + `"`, true},
		{"percent-encoded", strings.ReplaceAll(text, ".", "%2E"), true},
		{"percent-encoded twice", strings.ReplaceAll(text, ".", "%252e"), true},
		{"percent-encoded, with a bad escape", "%zz%2" + "." + strings.ReplaceAll(text, "e", "%65") + "%", true},
		{"standard base64 with blanks", std[:30] + " " + std[30:], true},
		{"type written out, issuer in capitals", base64url.EncodeToString([]byte(`{"typ":"application/AT+jwt"}`)) + "." + base64url.EncodeToString([]byte(`{"iss":"HTTPS://\u0061pp.example.com"}`)) + ".", true},
		{"percent-encoded in part", "%65" + text[1:], true},
		{"in JSON", `{"token":"` + text + `"}`, true},
		{"after another token", sign(t, foreign, grant(c)) + "," + text, true},
		{"the scheme twice", "Bearer " + text, true},
		{"cut off in the signature", text[:len(text)-20], true},
		{"header alone", parts[0], true},
		{"five parts", text + ".x.y", true},
		{"of a key that is gone", sign(t, lost, grant(c)), true},
		{"refresh token", "sgr1_abc", true},
		{"refresh token in capitals", "SGR1_abc", true},
		{"cookie value, quoted", ` "sGc1_abc"`, true},
		{"cookie value, percent-encoded", `sgc1%5Fabc`, true},
		{"empty", "", false},
		{"an opaque token", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", false},
		{"a bad escape", "100%", false},
		{"dots", "...", false},
		{"a foreign access token", sign(t, foreign, grant(c)), false},
		{"our prefix inside a word", "xsgr1_abc", false},
		{"our issuer's token of another type", base64url.EncodeToString([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + parts[1] + ".AAAA", false},
		{"long and foreign", strings.Repeat("A.", 40000), false},
	} {
		if got := k.IsOurs(row.text); got != row.want {
			t.Errorf("%s: got %v", row.name, got)
		}
	}
}

func FuzzVerify(f *testing.F) {
	c := newClock()
	k := open(f, newStore(), "ES256", c)
	text := sign(f, k, grant(c))
	parts := strings.Split(text, ".")
	f.Add(text)
	f.Add(parts[0] + "." + parts[1] + ".")
	f.Add("..")
	f.Add(text + "=")
	f.Fuzz(func(t *testing.T, altered string) {
		got, err := k.Verify(altered)
		if (err == nil) != (altered == text) {
			t.Errorf("%q: got %v, %v", altered, got, err)
		}
		if err != nil && auth.AsError(err).Code != auth.CodeTokenInvalid {
			t.Errorf("%q: got %v", altered, err)
		}
	})
}

func FuzzClaims(f *testing.F) {
	c := newClock()
	f.Add([]byte(payload(c, "", "")))
	f.Add([]byte(`{"exp":1,"exp":2}`))
	f.Add([]byte(`{"a":{"b":[1,{}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, whole := members(data)
		if _, err := parseClaims(data); err == nil && (!whole || len(list) < len(required)) {
			t.Errorf("%q: accepted", data)
		}
	})
}

func FuzzIsOurs(f *testing.F) {
	c := newClock()
	k := open(f, newStore(), "ES256", c)
	text := sign(f, k, grant(c))
	f.Add(text, 5, " ")
	f.Add("sgr1_x", 0, "=")
	f.Add("%%%", 1, "\xff")
	f.Fuzz(func(t *testing.T, any string, place int, noise string) {
		k.IsOurs(any)
		if strings.ContainsFunc(noise, func(r rune) bool { return !foreign(r) || strings.ContainsRune("+/%", r) }) {
			return
		}
		place = int(uint(place) % uint(len(text)))
		if !k.IsOurs(text[:place] + noise + text[place:]) {
			t.Errorf("with %q at %d it would reach the upstream", noise, place)
		}
	})
}
