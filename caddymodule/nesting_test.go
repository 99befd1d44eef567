package caddymodule_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Another site of this Caddy, without a gate of its own, asks ours. It hears
// who somebody is, by the rules of our site for its paths.
func TestForwardAuth(t *testing.T) {
	other := freeAddress(t)
	s := startWith(t, "", fmt.Sprintf(`
	sidegate {
		public  /open
		require /admin/* role admin
	}
	respond "the first site"
}
http://%s {
	bind 127.0.0.1
	forward_auth {gate} {
		uri /api/v1/auth/verify
		copy_headers X-Auth-User-Id X-Auth-User-Type X-Auth-User-Roles X-Auth-Session-Id X-Auth-Device-Id X-Auth-Time
	}
	reverse_proxy {app}`, other))
	me := s.signInWith(testA, map[string]any{"device_id": "dev"})
	r := s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": s.start(testB), "code": "424242", "transport": "cookie"})
	cookie, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")
	token := []string{"Authorization", bearer(me)}

	gate := s.address
	s.address = other
	forged := []string{"X-Auth-User-Id", "7", "X-Auth-User-Roles", "root", "X-Auth-Time", "1", "X-Auth-Device-Id", "stolen"}
	wants(t, "token", s.do("POST", "/page?x=1", "{}", append(forged, token...)...), 200, "")
	got := s.upstream.one(t)
	for name, want := range map[string]string{
		"X-Auth-User-Id": "1", "X-Auth-User-Type": "customer", "X-Auth-User-Roles": "customer", "X-Auth-Session-Id": me.SessionID, "X-Auth-Device-Id": "dev",
	} {
		if values := got.Header.Values(name); len(values) != 1 || values[0] != want {
			t.Errorf("%s: the app got %q, want %q", name, values, want)
		}
	}
	if got.Header.Get("X-Auth-Time") == "1" || got.Method != "POST" || got.URL.String() != "/page?x=1" {
		t.Errorf("the app got %s %s with %v", got.Method, got.URL, got.Header)
	}
	wants(t, "cookie", s.do("GET", "/page", nil, "Cookie", cookie), 200, "")
	if id := s.upstream.one(t).Header.Get("X-Auth-User-Id"); id != "2" {
		t.Errorf("by cookie the app heard of user %q", id)
	}
	for _, row := range []struct {
		what, method, path string
		status             int
		code               string
		header             []string
	}{
		{"stranger", "GET", "/page", 401, "token_missing", forged},
		{"stranger on a public path", "GET", "/open", 401, "token_missing", nil}, // whose is the claim of the path?
		{"garbage", "GET", "/page", 401, "token_invalid", []string{"Authorization", "Bearer nope"}},
		{"role", "GET", "/admin/x", 403, "insufficient_role", token},
		{"role, another path claimed", "GET", "/admin/x", 403, "insufficient_role", append([]string{"X-Forwarded-Uri", "/page", "X-Forwarded-Method", "GET"}, token...)},
		{"role, a path claimed in another dialect", "GET", "/admin/x", 403, "insufficient_role", append([]string{"X-Original-Uri", "/page"}, token...)},
		{"another site's form", "POST", "/page", 403, "cross_origin_blocked", []string{"Cookie", cookie, "Sec-Fetch-Site", "cross-site"}},
	} {
		wants(t, row.what, s.do(row.method, row.path, nil, row.header...), row.status, row.code)
		if n := len(s.upstream.take()); n != 0 {
			t.Errorf("%s: reached the app", row.what)
		}
	}
	s.address = gate
	wants(t, "logout", s.do("POST", apiPath+"/logout", nil, token...), 204, "")
	s.address = other
	wants(t, "logged out", s.do("GET", "/page", nil, token...), 401, "session_revoked")
}

// Inside handle, handle_path and route the gate guards what stands behind it.
func TestNesting(t *testing.T) {
	for _, row := range []struct {
		what, block string
		api         string            // where the API answers
		open        map[string]string // paths without a gate, and what they answer
		closed      map[string]string // paths behind it
	}{
		{
			"handle", `
	handle /app/* {
		sidegate {
			api /app/auth
		}
		respond "app {http.auth.user.id} {http.request.uri}"
	}
	handle {
		respond "outside"
	}`, "/app/auth", map[string]string{"/": "outside", "/apple": "outside"}, map[string]string{"/app/x": "app 1 /app/x"},
		},
		{
			"handle_path", `
	handle_path /app/* {
		sidegate
		respond "app {http.auth.user.id} {http.request.uri}"
	}
	respond "outside"`, "/app/api/v1/auth", map[string]string{"/": "outside"}, map[string]string{"/app/x": "app 1 /x"},
		},
		{
			"handles behind the gate", `
	sidegate {
		public /open/*
	}
	handle /open/* {
		respond "open {http.auth.user.id}"
	}
	handle_path /app/* {
		respond "app {http.auth.user.id} {http.request.uri}"
	}
	handle {
		respond "rest {http.auth.user.id}"
	}`, apiPath, map[string]string{"/open/x": "open "}, map[string]string{"/app/x": "app 1 /x", "/else": "rest 1", "/openx": "rest 1"},
		},
		{
			"route, in the order as written", `
	route {
		respond /before "before"
		sidegate
		route /app/* {
			respond "app {http.auth.user.id}"
		}
		respond "rest {http.auth.user.id}"
	}`, apiPath, map[string]string{"/before": "before"}, map[string]string{"/app/x": "app 1", "/else": "rest 1"},
		},
	} {
		t.Run(row.what, func(t *testing.T) {
			s := startWith(t, "", row.block)
			r := s.do("POST", row.api+"/otp", map[string]any{"phone": testA})
			me := s.tokens(s.do("POST", row.api+"/otp/verify", map[string]any{"challenge_id": r.json(t)["challenge_id"], "code": "424242"}))
			for path, want := range row.open {
				if r := s.do("GET", path, nil); r.status != 200 || string(r.body) != want {
					t.Errorf("%s: got %d %q, want %q", path, r.status, r.body, want)
				}
			}
			for path, want := range row.closed {
				wants(t, path, s.do("GET", path, nil), 401, "token_missing")
				if r := s.do("GET", path, nil, "Authorization", bearer(me)); r.status != 200 || string(r.body) != want {
					t.Errorf("%s: got %d %q, want %q", path, r.status, r.body, want)
				}
			}
		})
	}
}

// The gate judges the path that the app will see, and sends a person back to
// the one that she asked for.
func TestRewrites(t *testing.T) {
	s := startWith(t, "", `
	rewrite /shortcut  /admin/x
	rewrite /style     /assets/style.css
	rewrite /in        /auth/login
	rewrite /alive     /api/v1/auth/health
	uri /v1/* strip_prefix /v1
	sidegate {
		public  /assets/* /style /shortcut
		require /admin/* role admin
	}
	route {
		rewrite /page /inner{uri}
		reverse_proxy {app}
	}`)
	me := s.who(testA)
	for _, row := range []struct {
		path   string
		status int
		code   string
		app    string // the path that reaches it
		header []string
	}{
		{"/shortcut", 401, "token_missing", "", nil}, // public is the path before, and the rule is for the one after
		{"/shortcut", 403, "insufficient_role", "", me},
		{"/v1/admin/x", 403, "insufficient_role", "", me},
		{"/v1/page", 200, "", "/inner/page", me},
		{"/v1/assets/x", 200, "", "/assets/x", nil},
		{"/style", 200, "", "/assets/style.css", nil},
		{"/alive", 200, "", "", nil},
		{"/v1/api/v1/auth/health", 200, "", "", nil},
		{"/v1/api/v1/auth/nope", 404, "not_found", "", nil},
		{"/page", 200, "", "/inner/page", me},
		{"/page", 401, "token_missing", "", nil},
		{"/in", 200, "", "", []string{"Accept", "text/html"}},
	} {
		s.upstream.take()
		r := s.do("GET", row.path, nil, row.header...)
		wants(t, row.path, r, row.status, row.code)
		app := ""
		if got := s.upstream.take(); len(got) > 0 {
			app = got[0].URL.Path
		}
		if app != row.app {
			t.Errorf("%s: the app got %q, want %q", row.path, app, row.app)
		}
	}
	r := s.do("GET", "/v1/page?x=1", nil, "Sec-Fetch-Mode", "navigate", "Accept", "text/html")
	if got := r.header.Get("Location"); r.status != http.StatusSeeOther || got != "/auth/login?return_to=%2Fv1%2Fpage%3Fx%3D1" {
		t.Errorf("got %d to %q", r.status, got)
	}
}
