package caddymodule_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

const phoneC = "+46701234569"

// notices waits for the messages without a code that the sender wrote to a
// number.
func (s *site) notices(to string) (texts []string) {
	for deadline := time.Now().Add(10 * time.Second); texts == nil && time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		lines, _ := os.ReadFile(s.codesFile())
		for line := range strings.Lines(string(lines)) {
			var m map[string]string
			if json.Unmarshal([]byte(line), &m) == nil && m["to"] == to && m["code"] == "" {
				texts = append(texts, m["text"])
			}
		}
	}
	return texts
}

// change is the first half of a change of number.
func (s *site) change(who tokens, phone string) (challenge, code string) {
	s.t.Helper()
	r := s.do("POST", apiPath+"/user/phone", map[string]any{"phone": phone}, "Authorization", bearer(who))
	if wants(s.t, "a code to "+phone, r, 202, ""); s.t.Failed() {
		s.t.FailNow()
	}
	challenge = r.json(s.t)["challenge_id"].(string)
	return challenge, s.codeOf(challenge)
}

func (s *site) bringBack(who tokens, challenge, code string, more ...string) reply {
	s.t.Helper()
	body := map[string]any{"challenge_id": challenge, "code": code}
	for _, name := range more {
		body[name] = true
	}
	return s.do("POST", apiPath+"/user/phone/verify", body, "Authorization", bearer(who), "Accept-Language", "de")
}

// The life of a change of number, with a real Caddy, real HTTP and a real store.
func TestChangeOfNumber(t *testing.T) {
	s := startSite(t, noLimits+"\napp_name Acme", "")
	own, other, owner := s.signIn(phoneA), s.signIn(phoneA), s.signIn(phoneB)

	// Whose the number is, is told after a right code alone: what comes before is
	// the same for all.
	for _, phone := range []string{phoneB, phoneC} {
		r := s.do("POST", apiPath+"/user/phone", map[string]any{"phone": phone}, "Authorization", bearer(own))
		pending := r.json(t)
		delete(pending, "challenge_id")
		if text, _ := json.Marshal(pending); r.status != 202 || string(text) != `{"channel":"sms","code_length":6,"expires_in":300,"resend_after":60}` {
			t.Errorf("%s: %d %s", phone, r.status, r.body)
		}
	}
	challenge, code := s.change(own, phoneB)
	wants(t, "a wrong code", s.bringBack(own, challenge, flip(code)), 400, "otp_invalid")
	wants(t, "another's number", s.bringBack(own, challenge, code), 403, "account_disabled")
	wants(t, "its code again", s.bringBack(own, challenge, code), 400, "otp_expired")

	// Attack: challenges of one kind, or of one user, used for another.
	challenge, code = s.change(own, phoneC)
	signIn := s.start(phoneC)
	unknown := s.bringBack(own, newID, code)
	for name, r := range map[string]reply{
		"a sign-in's code as proof":     s.bringBack(own, signIn, s.codeOf(signIn)),
		"another user's challenge":      s.bringBack(owner, challenge, code),
		"a new number's code signs in":  s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": code}),
		"an unknown one, for reference": unknown,
	} {
		if wants(t, name, r, 400, "otp_expired"); string(r.body) != string(unknown.body) {
			t.Errorf("%s: %s tells more than %s", name, r.body, unknown.body)
		}
	}
	if left := s.do("GET", apiPath+"/otp/"+challenge, nil).json(t)["attempts_left"]; left != 5.0 {
		t.Errorf("that cost tries: %v left", left)
	}

	r := s.bringBack(own, challenge, code)
	user := r.json(t)
	if phone, _ := user["phone"].(string); r.status != 200 || user["auth_user_id"] != 1.0 || !strings.HasSuffix(phone, "69") || strings.Contains(phone, "1234") {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if again := s.do("GET", apiPath+"/user", nil, "Authorization", bearer(own)); string(again.body) != string(r.body) {
		t.Errorf("GET /user: %s, want %s", again.body, r.body)
	}
	if got := s.notices(phoneA); len(got) != 1 || got[0] != "Ihre Nummer zum Anmelden bei Acme wurde geändert. Waren Sie das nicht? Melden Sie es dem Support." {
		t.Errorf("the old number got %q", got)
	}

	// The sessions live on, until they are told not to; the numbers are what they
	// are after a restart, too.
	wants(t, "the other session", s.do("GET", "/app", nil, "Authorization", bearer(other)), 200, "")
	s.restart(noLimits+"\napp_name Acme", "")
	if by := s.signIn(phoneC); by.UserID != 1 {
		t.Errorf("the new number signs in as %d", by.UserID)
	}
	if by := s.signIn(phoneA); by.UserID != 3 {
		t.Errorf("the old number signs in as %d", by.UserID)
	}
	challenge, code = s.change(own, "+46701234570")
	wants(t, "and the others out", s.bringBack(own, challenge, code, "end_others"), 200, "")
	wants(t, "the own session", s.do("GET", "/app", nil, "Authorization", bearer(own)), 200, "")
	wants(t, "the other session", s.do("GET", "/app", nil, "Authorization", bearer(other)), 401, "session_revoked")
	if ended := s.do("GET", apiPath+"/session", nil, "Authorization", bearer(other)).json(t); ended["end_reason"] != "revoked" {
		t.Errorf("got %v", ended)
	}
	challenge, code = s.change(own, phoneC)
	wants(t, "a third change", s.bringBack(own, challenge, code), 200, "")
	r = s.do("POST", apiPath+"/user/phone", map[string]any{"phone": phoneC}, "Authorization", bearer(own))
	if wants(t, "a fourth", r, 429, "rate_limited"); !strings.Contains(string(r.body), "changed too often") || r.header.Get("Retry-After") == "" {
		t.Errorf("got %s", r.body)
	}
	log, _ := os.ReadFile(s.dir + "/caddy.log")
	for _, phone := range []string{phoneA, phoneB, phoneC} {
		if strings.Contains(string(log), phone) {
			t.Errorf("%s stands in the log", phone)
		}
	}
}

// The same in a browser: forms, cookies, redirects.
func TestChangeOfNumberInABrowser(t *testing.T) {
	s := startSite(t, noLimits, "")
	s.withJar()
	form := []string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate"}
	post := func(path string, values url.Values) reply { return s.do("POST", path, values.Encode(), form...) }
	leads := func(r reply, where string) {
		t.Helper()
		if r.status != http.StatusSeeOther || r.header.Get("Location") != where {
			t.Fatalf("got %d to %q, want %q: %s", r.status, r.header.Get("Location"), where, r.body)
		}
	}
	challengeIn := func(r reply) string {
		t.Helper()
		found := regexp.MustCompile(`name="challenge_id" value="([^"]+)"`).FindSubmatch(r.body)
		if r.status != 200 || found == nil {
			t.Fatalf("no code form: %d %s", r.status, r.body)
		}
		return string(found[1])
	}
	const page = "/auth/account/phone"
	leads(s.do("GET", page, nil), "/auth/login?return_to=%2Fauth%2Faccount%2Fphone")
	id := challengeIn(post("/auth/login", url.Values{"phone": {phoneA}, "return_to": {page}}))
	leads(post("/auth/login/code", url.Values{"challenge_id": {id}, "code": {s.codeOf(id)}, "return_to": {page}}), page)
	if r := s.do("GET", "/auth/account", nil); !strings.Contains(string(r.body), `href="`+page+`"`) {
		t.Errorf("no link: %s", r.body)
	}
	wants(t, "the form", s.do("GET", page, nil), 200, "")
	id = challengeIn(post(page, url.Values{"phone": {phoneB}}))
	r := post(page+"/code", url.Values{"challenge_id": {id}, "phone": {phoneB}, "code": {s.codeOf(id)}, "end_others": {"yes"}})
	leads(r, "/auth/account?done=number_others")
	if got := r.header.Values("Set-Cookie"); len(got) != 1 || !strings.HasPrefix(got[0], "sidegate-device=") {
		t.Errorf("cookies %q", got)
	}
	if r := s.do("GET", apiPath+"/user", nil); !strings.Contains(string(r.body), `68"`) {
		t.Errorf("got %s", r.body)
	}
}

// Where the app keeps the numbers, they are changed there.
func TestNumbersThatTheAppKeeps(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"auth_user_id":7,"user_type":"customer","user_roles":[]}`)
	}))
	t.Cleanup(app.Close)
	s := newSite(t)
	s.load(strings.Replace(s.config(noLimits, "", ""), "store badger", "directory webhook "+app.URL+"\nstore badger", 1))
	t.Cleanup(func() { _ = caddy.Stop() })
	own := s.signIn(phoneA)
	for path, body := range map[string]map[string]any{"/user/phone": {"phone": phoneB}, "/user/phone/verify": {"challenge_id": newID, "code": "123456"}} {
		r := s.do("POST", apiPath+path, body, "Authorization", bearer(own))
		if wants(t, path, r, 404, "not_found"); !strings.Contains(string(r.body), "kept by the app") {
			t.Errorf("%s: %s", path, r.body)
		}
		wants(t, path+" of nobody", s.do("POST", apiPath+path, body), 401, "token_missing")
	}
	challenge := s.start(phoneA)
	r := s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": s.codeOf(challenge), "transport": "cookie"})
	cookie, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")
	if r := s.do("GET", "/auth/account", nil, "Cookie", cookie); r.status != 200 || strings.Contains(string(r.body), "/account/phone") {
		t.Errorf("got %d %s", r.status, r.body)
	}
	wants(t, "the page", s.do("GET", "/auth/account/phone", nil, "Cookie", cookie), 404, "")
}
