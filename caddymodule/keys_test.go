package caddymodule_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// kidOf is the key that signed an access token.
func kidOf(t testing.TB, access string) string {
	t.Helper()
	head, _, _ := strings.Cut(access, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	var h struct{ Kid string }
	if err != nil || json.Unmarshal(text, &h) != nil {
		t.Fatalf("the head of a token: %q, %v", text, err)
	}
	return h.Kid
}

// published are the key ids of jwks.json.
func (s *site) published() (kids []string) {
	s.t.Helper()
	var set struct{ Keys []struct{ Kid string } }
	r := s.do("GET", apiPath+"/jwks.json", nil)
	if err := json.Unmarshal(r.body, &set); err != nil || r.status != 200 {
		s.t.Fatalf("jwks.json: %d %s", r.status, r.body)
	}
	for _, k := range set.Keys {
		kids = append(kids, k.Kid)
	}
	return kids
}

// Attack: a signing key has leaked. From the very next request on no token of it
// is good, however often it was seen before: not to the app, not to our routes,
// not to log out. Nobody is signed out: clients refresh, cookies do not notice.
func TestRevokedSigningKey(t *testing.T) {
	o := startOffice(t, socket(t), plenty)
	session := o.signIn(phoneA)
	browser := *o.site
	client := *o.client
	browser.client = &client
	browser.withJar()
	challenge := browser.start(phoneB)
	wants(t, "the cookie", browser.do("POST", apiPath+"/otp/verify", map[string]any{
		"challenge_id": challenge, "code": browser.codeOf(challenge), "transport": "cookie",
	}, "Sec-Fetch-Site", "same-origin"), 200, "")
	for range 200 { // so that it is known by heart
		if r := o.do("GET", "/app", nil, "Authorization", bearer(session)); r.status != 200 {
			t.Fatalf("the app: %d %s", r.status, r.body)
		}
	}
	old := o.published()

	wants(t, "the revocation", o.ask("POST", "keys/rotate", `{"revoke":true}`), 200, "")
	for _, path := range []string{"/app", apiPath + "/session", apiPath + "/sessions", apiPath + "/user", apiPath + "/verify"} {
		wants(t, path, o.do("GET", path, nil, "Authorization", bearer(session)), 401, "token_invalid")
	}
	wants(t, "to log out", o.do("POST", apiPath+"/logout", nil, "Authorization", bearer(session)), 401, "token_invalid")
	wants(t, "the browser", browser.do("GET", "/app", nil), 200, "")
	if now := o.published(); len(now) != 1 || now[0] == old[0] {
		t.Errorf("published: %v, before %v", now, old)
	}
	next := o.tokens(o.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": session.Refresh}))
	if next.SessionID != session.SessionID || kidOf(t, next.Access) == old[0] {
		t.Errorf("refreshed to session %s, signed by %s", next.SessionID, kidOf(t, next.Access))
	}
	wants(t, "after a refresh", o.do("GET", "/app", nil, "Authorization", bearer(next)), 200, "")
	o.signIn("+46701234569")
}
