package caddymodule_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const phoneA, phoneB = "+46701234567", "+46701234568"

// The life of a sign-in, step by step, with a real Caddy, real HTTP and a real
// store.
func TestWalk(t *testing.T) {
	s := startSite(t, "", "public /healthz")
	api := func(method, route string, body any, headers ...string) reply {
		t.Helper()
		return s.do(method, apiPath+route, body, headers...)
	}

	// A stranger gets nowhere, a public path apart.
	wants(t, "stranger", s.do("GET", "/app", nil), 401, "token_missing")
	wants(t, "public path", s.do("GET", "/healthz", nil), 200, "")
	if got := s.upstream.one(t); got.URL.Path != "/healthz" || got.Header.Get("X-Auth-User-Id") != "" {
		t.Errorf("the app saw %s with %v", got.URL, got.Header)
	}
	wants(t, "health", api("GET", "/health", nil), 200, "")

	// Phase 1: the code.
	r := api("POST", "/otp", map[string]any{"phone": "+46 70-123 45 67"})
	pending := r.json(t)
	if r.status != 202 || pending["expires_in"] != 300.0 || pending["resend_after"] != 60.0 || pending["code_length"] != 6.0 || pending["channel"] != "sms" {
		t.Errorf("got %d %v", r.status, pending)
	}
	challenge := pending["challenge_id"].(string)
	code := s.codeOf(challenge)
	status := api("GET", "/otp/"+challenge, nil)
	if left := status.json(t)["attempts_left"]; left != 5.0 {
		t.Errorf("got %v", status.json(t))
	}
	wants(t, "too early a resend", api("POST", "/otp", map[string]any{"phone": phoneA, "challenge_id": challenge}), 429, "rate_limited")
	wrong := api("POST", "/otp/verify", map[string]any{"challenge_id": challenge, "code": flip(code)})
	wants(t, "wrong code", wrong, 400, "otp_invalid")
	if wrong.json(t)["attempts_left"] != 4.0 {
		t.Errorf("got %s", wrong.body)
	}

	// Phase 2: signed in.
	device := map[string]any{"device_id": "dev-1", "device_type": "web", "device_name": "Chrome on Windows", "platform": "Windows", "unknown": "dropped"}
	r = api("POST", "/otp/verify", map[string]any{"challenge_id": challenge, "code": code[:3] + " " + code[3:], "device": device})
	first := s.tokens(r)
	body := r.json(t)
	if body["auth_user_id"] != 1.0 || body["expires_in"] != 900.0 || body["token_type"] != "Bearer" || body["user_type"] != "customer" || body["device_id"] != "dev-1" || body["is_new_user"] != true {
		t.Errorf("got %s", r.body)
	}
	if roles, ok := body["user_roles"].([]any); !ok || len(roles) != 1 || roles[0] != "customer" {
		t.Errorf("user_roles: got %v", body["user_roles"])
	}
	wants(t, "the code again", api("POST", "/otp/verify", map[string]any{"challenge_id": challenge, "code": code}), 400, "otp_expired")

	// Phase 3: working. The app hears who it is, and nothing of our credential.
	wants(t, "app", s.do("GET", "/app", nil, "Authorization", bearer(first)), 200, "")
	got := s.upstream.one(t)
	for name, want := range map[string]string{
		"X-Auth-User-Id": "1", "X-Auth-User-Type": "customer", "X-Auth-User-Roles": "customer",
		"X-Auth-Session-Id": first.SessionID, "X-Auth-Device-Id": "dev-1", "Authorization": "",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s: the app got %q, want %q", name, got.Header.Get(name), want)
		}
	}
	if at, err := strconv.ParseInt(got.Header.Get("X-Auth-Time"), 10, 64); err != nil || time.Since(time.Unix(at, 0)) > time.Minute {
		t.Errorf("X-Auth-Time: got %q", got.Header.Get("X-Auth-Time"))
	}
	info := api("GET", "/session", nil, "Authorization", bearer(first)).json(t)
	if info["session_id"] != first.SessionID || info["is_active"] != true || info["device_name"] != "Chrome on Windows" || info["current"] != true {
		t.Errorf("session: got %v", info)
	}
	wants(t, "activity", api("POST", "/session/"+first.SessionID+"/activity", map[string]any{}, "Authorization", bearer(first)), 204, "")
	user := api("GET", "/user", nil, "Authorization", bearer(first)).json(t)
	if phone := user["phone"].(string); !strings.HasSuffix(phone, "67") || strings.Contains(phone, "1234") {
		t.Errorf("phone: got %q", phone)
	}
	put := api("PUT", "/device", map[string]any{"device_name": "Firefox", "fcm_token": "push-me"}, "Authorization", bearer(first))
	if v := put.json(t); v["device_name"] != "Firefox" || v["has_fcm_token"] != true || strings.Contains(string(put.body), "push-me") {
		t.Errorf("device: got %s", put.body)
	}

	// Phase 4: renewed.
	second := s.tokens(api("POST", "/refresh", map[string]any{"refresh_token": first.Refresh}))
	if second.SessionID != first.SessionID || second.Refresh == first.Refresh {
		t.Errorf("got %+v", second)
	}
	repeat := s.tokens(api("POST", "/refresh", map[string]any{"refresh_token": first.Refresh}))
	if repeat.Refresh != second.Refresh {
		t.Error("the same predecessor gave another successor")
	}

	// Phase 5: a second device; the first one ends it.
	other := s.signIn(phoneA)
	list := api("GET", "/sessions", nil, "Authorization", bearer(second)).json(t)["sessions"].([]any)
	if len(list) != 2 {
		t.Errorf("%d sessions, want 2", len(list))
	}
	wants(t, "end the other", api("DELETE", "/sessions/"+other.SessionID, nil, "Authorization", bearer(second)), 204, "")
	wants(t, "ended session", s.do("GET", "/app", nil, "Authorization", bearer(other)), 401, "session_revoked")
	ended := api("GET", "/session", nil, "Authorization", bearer(other)).json(t)
	if ended["is_active"] != false || ended["end_reason"] != "revoked" {
		t.Errorf("got %v", ended)
	}
	wants(t, "ended session's refresh", api("POST", "/refresh", map[string]any{"refresh_token": other.Refresh}), 400, "session_revoked")

	// Phase 6: a restart changes nothing.
	s.restart("", "public /healthz")
	wants(t, "after restart", s.do("GET", "/app", nil, "Authorization", bearer(second)), 200, "")
	wants(t, "ended, after restart", s.do("GET", "/app", nil, "Authorization", bearer(other)), 401, "session_revoked")

	// Phase 7: out, at once.
	wants(t, "logout", api("POST", "/logout", map[string]any{}, "Authorization", bearer(second)), 204, "")
	wants(t, "logout again", api("POST", "/logout", map[string]any{}, "Authorization", bearer(second)), 204, "")
	wants(t, "old access token", s.do("GET", "/app", nil, "Authorization", bearer(second)), 401, "session_revoked")
	wants(t, "old refresh token", api("POST", "/refresh", map[string]any{"refresh_token": second.Refresh}), 400, "session_revoked")
}

// flip makes a wrong code of a right one.
func flip(code string) string {
	return string('0'+('9'-code[0])) + code[1:]
}

// The same in a browser: forms, cookies, redirects.
func TestWalkInABrowser(t *testing.T) {
	s := startSite(t, "", "public /healthz")
	s.withJar()
	page := []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "none", "Sec-Fetch-Dest", "document"}
	form := []string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate"}

	r := s.do("GET", "/app?x=1", nil, page...)
	if r.status != http.StatusSeeOther || r.header.Get("Location") != "/auth/login?return_to=%2Fapp%3Fx%3D1" {
		t.Fatalf("got %d to %q", r.status, r.header.Get("Location"))
	}
	r = s.do("GET", r.header.Get("Location"), nil, page...)
	wants(t, "login page", r, 200, "")
	if !strings.Contains(r.header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("policy: %q", r.header.Get("Content-Security-Policy"))
	}
	r = s.do("POST", "/auth/login", url.Values{"phone": {phoneA}, "return_to": {"/app?x=1"}}.Encode(), form...)
	challenge := regexp.MustCompile(`name="challenge_id" value="([^"]+)"`).FindSubmatch(r.body)
	if r.status != 200 || challenge == nil {
		t.Fatalf("code page: %d %s", r.status, r.body)
	}
	id := string(challenge[1])
	r = s.do("POST", "/auth/login/code", url.Values{"challenge_id": {id}, "code": {s.codeOf(id)}, "return_to": {"/app?x=1"}}.Encode(), form...)
	if r.status != http.StatusSeeOther || r.header.Get("Location") != "/app?x=1" {
		t.Fatalf("after the code: %d to %q: %s", r.status, r.header.Get("Location"), r.body)
	}
	cookie := r.header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "sidegate=sgc1_") || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Lax") || !strings.Contains(cookie, "Path=/") {
		t.Errorf("cookie: %q", cookie)
	}
	s.upstream.take()
	wants(t, "app", s.do("GET", "/app?x=1", nil, page...), 200, "")
	if got := s.upstream.one(t); got.Header.Get("X-Auth-User-Id") != "1" || got.Header.Get("Cookie") != "" {
		t.Errorf("the app got %v", got.Header)
	}
	wants(t, "account page", s.do("GET", "/auth/account", nil, page...), 200, "")
	r = s.do("POST", "/auth/logout", "", form...)
	if r.status != http.StatusSeeOther {
		t.Errorf("logout: %d %s", r.status, r.body)
	}
	if r = s.do("GET", "/app", nil, page...); r.status != http.StatusSeeOther {
		t.Errorf("after logout: got %d", r.status)
	}
}
