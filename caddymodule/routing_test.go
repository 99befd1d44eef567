package caddymodule_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// startWith runs a site whose block is all the test's own; {app} and {gate} are
// the addresses.
func startWith(t *testing.T, global, block string) *site {
	t.Helper()
	s := newSite(t)
	config := s.config(noLimits+"\n"+global, "", "")
	head, _, _ := strings.Cut(config, "\tbind 127.0.0.1\n")
	s.load(head + "\tbind 127.0.0.1\n" + strings.NewReplacer("{app}", s.upstream.address, "{gate}", s.address).Replace(block) + "\n}\n")
	t.Cleanup(func() { _ = caddy.Stop() })
	return s
}

// who signs in, and is the header of it.
func (s *site) who(phone string) []string {
	return []string{"Authorization", bearer(s.signInWith(phone, nil))}
}

const roles = "directory local {\nroles admin support\nuser_type staff\n}"

// Routes behind the gate know who it is.
func TestMatcherAndPlaceholders(t *testing.T) {
	s := startWith(t, roles, `
	sidegate {
		public /open/*
	}
	@anybody  sidegate
	@admin    sidegate admin
	@either   sidegate nobody support
	@neither  sidegate customer root
	@both {
		sidegate admin
		sidegate support
		path /both/*
	}
	@not not sidegate
	route { # by itself Caddy orders header before the gate
	header @anybody X-Anybody "{http.auth.user.id} {http.auth.user.type} {http.auth.user.roles} {http.auth.user.session_id}"
	header @admin   X-Admin   yes
	header @either  X-Either  yes
	header @neither X-Neither yes
	header @both    X-Both    yes
	header @not     X-Nobody  "yes{http.auth.user.id}"
	respond "{http.auth.user.id}|{http.request.header.X-Auth-User-Id}"
	}`)
	me := s.signInWith(testA, nil)
	r := s.do("GET", "/both/x", nil, "Authorization", bearer(me))
	for name, want := range map[string]string{
		"X-Anybody": "1 staff admin,support " + me.SessionID, "X-Admin": "yes", "X-Either": "yes", "X-Neither": "", "X-Both": "yes", "X-Nobody": "",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("signed in: %s is %q, want %q", name, got, want)
		}
	}
	if string(r.body) != "1|1" {
		t.Errorf("signed in: %q", r.body)
	}
	// What a stranger claims in headers is nothing to a matcher.
	r = s.do("GET", "/open/x", nil, "X-Auth-User-Id", "1", "X-Auth-User-Roles", "admin")
	for _, name := range []string{"X-Anybody", "X-Admin", "X-Either", "X-Neither", "X-Both"} {
		if got := r.header.Get(name); got != "" {
			t.Errorf("stranger: %s is %q", name, got)
		}
	}
	if r.header.Get("X-Nobody") != "yes" || string(r.body) != "|" {
		t.Errorf("stranger: %q %q", r.header.Get("X-Nobody"), r.body)
	}
	wants(t, "stranger elsewhere", s.do("GET", "/both/x", nil), 401, "token_missing")
	r = s.do("GET", "/open/x", nil, "Authorization", bearer(me))
	if string(r.body) != "1|1" || r.header.Get("X-Admin") != "yes" {
		t.Errorf("signed in on an open path: %q %v", r.body, r.header)
	}
}

// A request that no gate has seen matches nothing, even with a good token.
func TestMatcherBeforeTheGate(t *testing.T) {
	s := startWith(t, "", `
	route {
		@early sidegate
		respond @early "let through" 200
		sidegate
		respond "behind the gate {http.auth.user.id}"
	}`)
	if r := s.do("GET", "/", nil, s.who(testA)...); string(r.body) != "behind the gate 1" {
		t.Errorf("got %q", r.body)
	}
	wants(t, "stranger", s.do("GET", "/", nil), 401, "token_missing")
}

func TestAccessLogNamesTheUser(t *testing.T) {
	s := startWith(t, "", `
	log
	sidegate {
		public /open
	}
	respond "ok"`)
	s.do("GET", "/mine", nil, s.who(testA)...)
	s.do("GET", "/open", nil)
	s.do("GET", "/refused", nil)
	want := map[string]string{"/mine": "1", "/open": "", "/refused": ""}
	for deadline := time.Now().Add(20 * time.Second); len(want) > 0; {
		text, _ := os.ReadFile(filepath.Join(s.dir, "caddy.log"))
		for line := range strings.Lines(string(text)) {
			var entry struct {
				UserID  *string `json:"user_id"`
				Request struct{ URI string }
			}
			if json.Unmarshal([]byte(line), &entry) != nil || entry.UserID == nil {
				continue
			}
			id, waited := want[entry.Request.URI]
			if waited && *entry.UserID != id {
				t.Errorf("%s: user_id %q, want %q", entry.Request.URI, *entry.UserID, id)
			}
			delete(want, entry.Request.URI)
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in the log: %v", want)
		}
	}
}

// Named matchers open and close paths, with whatever Caddy can match.
func TestRules(t *testing.T) {
	s := startWith(t, "", `
	@hook {
		method POST
		path /hook /admin/hook
		header X-Hook-Secret s3cret
	}
	@files path_regexp \.(css|js)$
	@money path /transfer /pay/*
	@writes {
		method POST PUT
		path /notes/*
	}
	sidegate {
		public  @hook @files /assets/*
		require /admin/* /Panel role admin
		require @writes role editor admin
		require @money fresh 1s
		require /fresh/* role customer fresh 5m
		require /both/*  role customer
		require /both/x  role admin
	}
	reverse_proxy {app}`)
	me := s.who(testA)
	signed := time.Now()
	for _, row := range []struct {
		what, method, path string
		status             int
		code               string
		header             []string
	}{
		{"a hook", "POST", "/hook", 200, "", []string{"X-Hook-Secret", "s3cret"}},
		{"a hook with the wrong secret", "POST", "/hook", 401, "token_missing", []string{"X-Hook-Secret", "x"}},
		{"a hook by GET", "GET", "/hook", 401, "token_missing", []string{"X-Hook-Secret", "s3cret"}},
		{"a hook that a rule closes", "POST", "/admin/hook", 401, "token_missing", []string{"X-Hook-Secret", "s3cret"}},
		{"a file", "GET", "/x/a.css", 200, "", nil},
		{"a file, spelled in another way", "GET", "/x/..;/a.css", 401, "token_missing", nil},
		{"no file", "GET", "/x/a.png", 401, "token_missing", nil},
		{"an asset", "GET", "/assets/a", 200, "", nil},
		{"an asset beside", "GET", "/assetsx", 401, "token_missing", nil},
		{"a page", "GET", "/page", 200, "", me},
		{"admin without the role", "GET", "/admin/", 403, "insufficient_role", me},
		{"admin, without the slash", "GET", "/admin", 403, "insufficient_role", me},
		{"admin in capitals", "GET", "/ADMIN/x", 403, "insufficient_role", me},
		{"admin by another way", "GET", "/x/%2e%2e/admin/x", 403, "insufficient_role", me},
		{"a panel in small letters", "GET", "/panel", 403, "insufficient_role", me},
		{"a note", "GET", "/notes/1", 200, "", me},
		{"a change of a note", "PUT", "/notes/1", 403, "insufficient_role", me},
		{"a recent code and the role", "GET", "/fresh/x", 200, "", me},
		{"two rules, one holds", "GET", "/both/x", 403, "insufficient_role", me},
		{"two rules, one matches", "GET", "/both/y", 200, "", me},
		{"a stranger at a rule", "GET", "/admin/", 401, "token_missing", nil},
	} {
		s.upstream.take()
		r := s.do(row.method, row.path, nil, row.header...)
		wants(t, row.what, r, row.status, row.code)
		if n := len(s.upstream.take()); n != map[bool]int{true: 1}[row.status == 200] {
			t.Errorf("%s: %d requests reached the app", row.what, n)
		}
		if challenge := r.header.Get("WWW-Authenticate"); row.status == 403 && challenge != `Bearer error="insufficient_scope"` {
			t.Errorf("%s: WWW-Authenticate %q", row.what, challenge)
		}
	}
	for time.Since(signed) <= time.Second {
		time.Sleep(50 * time.Millisecond) // the code is to grow old: the shortest age that can be configured
	}
	s.upstream.take()
	r := s.do("GET", "/pay/1", nil, me...)
	wants(t, "money with an old code", r, 401, "reauthentication_required")
	if got := r.header.Get("WWW-Authenticate"); got != `Bearer error="insufficient_user_authentication"` {
		t.Errorf("WWW-Authenticate %q", got)
	}
	page := append([]string{"Sec-Fetch-Mode", "navigate", "Accept", "text/html"}, me...)
	if r = s.do("GET", "/transfer", nil, page...); r.status != 303 || !strings.HasPrefix(r.header.Get("Location"), "/auth/login?return_to=") {
		t.Errorf("in a browser: %d %v", r.status, r.header)
	}
	if n := len(s.upstream.take()); n != 0 {
		t.Errorf("%d requests reached the app", n)
	}
	wants(t, "the session lives on", s.do("GET", "/page", nil, me...), 200, "")
	wants(t, "money with a new code", s.do("GET", "/pay/1", nil, s.who(testA)...), 200, "")
}

// What is ours moves with the configuration, and its old place is the app's.
func TestOwnPathsAndPrefix(t *testing.T) {
	s := startWith(t, "", `
	sidegate {
		api   /id/api
		pages off
		header_prefix Who-
		public /open /auth/* /api/v1/auth/*
	}
	reverse_proxy {app}`)
	page := []string{"Sec-Fetch-Mode", "navigate", "Accept", "text/html"}
	wants(t, "health", s.do("GET", "/id/api/health", nil), 200, "")
	wants(t, "unknown route", s.do("GET", "/id/api/nope", nil), 404, "not_found")
	wants(t, "a page without login pages", s.do("GET", "/page", nil, page...), 401, "token_missing")
	if n := len(s.upstream.take()); n != 0 {
		t.Errorf("%d requests reached the app", n)
	}
	wants(t, "the old place of the pages", s.do("GET", "/auth/login", nil), 200, "")
	wants(t, "the old place of the API", s.do("GET", "/api/v1/auth/health", nil), 200, "")
	s.upstream.take()

	r := s.do("POST", "/id/api/otp", map[string]any{"phone": testA})
	r = s.do("POST", "/id/api/otp/verify", map[string]any{"challenge_id": r.json(t)["challenge_id"], "code": "424242"})
	who := s.tokens(r)
	s.do("GET", "/open", nil, "Authorization", bearer(who), "Who-User-Roles", "root", "who_extra", "x", "X-Auth-User-Id", "the app's own business")
	got := s.upstream.one(t).Header
	if got.Get("Who-User-Id") != "1" || got.Get("Who-User-Roles") != "customer" || got.Get("Who-Session-Id") != who.SessionID || got["Who_extra"] != nil {
		t.Errorf("the app heard %v", got)
	}
	if got.Get("X-Auth-User-Id") != "the app's own business" {
		t.Errorf("another prefix is touched: %v", got)
	}
	r = s.do("GET", "/id/api/verify", nil, "Authorization", bearer(who))
	if r.status != 204 || r.header.Get("Who-User-Id") != "1" {
		t.Errorf("verify: %d %v", r.status, r.header)
	}
}
