package caddymodule_test

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// withErrors runs a site whose errors go to the app, past these lines.
func withErrors(t *testing.T, first, gate string) *site {
	t.Helper()
	s := newSite(t)
	rest := "handle_errors {\n" + first + "\nreverse_proxy " + s.upstream.address + "\n}\n" +
		"@lost path /lost/*\nroute @lost {\nerror 404\n}"
	config := s.config(noLimits, gate, rest)
	// A site without a host: its routes are the server's own.
	s.load(strings.Replace(config, "http://"+s.address+" {", ":"+strings.Split(s.address, ":")[1]+" {", 1))
	t.Cleanup(func() { _ = caddy.Stop() })
	return s
}

const ungated = "handle_errors passes requests on"

// Caddy refuses a method of 33 letters before any handler, and its error routes
// would take the request, and whatever it claims, to the app.
func TestErrorsBeforeTheGate(t *testing.T) {
	s := withErrors(t, "sidegate {\npublic /oops\n}", "public /open/*")
	long := strings.Repeat("A", 33)
	forged := []string{"X-Auth-User-Id", "666", "X_Auth_User_Roles", "admin"}
	wants(t, "a method that Caddy refuses", s.do(long, "/admin", nil, forged...), 401, "token_missing")
	wants(t, "an own route by such a method", s.do(long, apiPath+"/user", nil, forged...), 405, "method_not_allowed")
	wants(t, "a public path of the error routes", s.do(long, "/oops", nil, forged...), 200, "")
	got := s.upstream.take()
	if len(got) != 1 || got[0].URL.Path != "/oops" {
		t.Fatalf("the app got %d requests", len(got))
	}
	for name := range got[0].Header {
		if strings.HasPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "x-auth-") {
			t.Errorf("the app got %s", name)
		}
	}
	if strings.Contains(s.log(), ungated) {
		t.Error("the log warns of errors that have a gate")
	}
}

// Who has passed the gate before the error is still known, and the rules hold.
func TestErrorsBehindTheGate(t *testing.T) {
	s := withErrors(t, "sidegate {\nrequire /lost/admin role admin\n}", "public /lost/open")
	who := []string{"Authorization", bearer(s.signInWith(testA, nil)), "X-Auth-User-Roles", "admin"}
	wants(t, "signed in", s.do("GET", "/lost/x", nil, who...), 200, "")
	if got := s.upstream.take()[0].Header; got.Get("X-Auth-User-Id") != "1" || got.Get("X-Auth-User-Roles") != "customer" || got.Get("Authorization") != "" {
		t.Errorf("the app got %v", got)
	}
	wants(t, "a rule of the error routes", s.do("GET", "/lost/admin", nil, who...), 403, "insufficient_role")
	wants(t, "a stranger, whom only the first gate lets in", s.do("GET", "/lost/open", nil), 401, "token_missing")
}

func TestErrorsWithoutAGate(t *testing.T) {
	s := withErrors(t, "rewrite * /oops", "")
	if !strings.Contains(s.log(), ungated) {
		t.Error("the log does not warn")
	}
}
