package caddymodule_test

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Envoy asks with the client's method, path and host, without a body, and takes
// 200 alone for a yes. What docs/deploy/forward-auth has for it answers so.
func TestQuestionsOfEnvoy(t *testing.T) {
	s := newSite(t)
	gate, envoy := freeAddress(t), freeAddress(t)
	s.load(documentedGate(t, s.dir, gate, envoy, "customer"))
	t.Cleanup(func() { _ = caddy.Stop() })
	s.address = gate
	token := []string{"Authorization", bearer(s.signInWith(testA, nil))}
	r := s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": s.start(testB), "code": "424242", "transport": "cookie"})
	cookie := []string{"Cookie", cookies(r)}

	s.address = envoy
	for _, row := range []struct {
		what, method, path string
		status             int
		code               string
		header             []string
	}{
		{"token", "GET", "/page?x=1", 200, "", token},
		{"token, another method", "DELETE", "/page", 200, "", token},
		{"cookie", "POST", "/page", 200, "", cookie},
		{"stranger", "POST", "/page", 401, "token_missing", nil},
		{"stranger who opens a page", "GET", "/page", 401, "token_missing", []string{"Sec-Fetch-Mode", "navigate"}},
		{"role", "GET", "/admin/x", 403, "insufficient_role", token},
		{"role, in another spelling", "GET", "/public/..%5cadmin/x", 403, "insufficient_role", token},
		{"role, another path claimed", "GET", "/admin/x", 403, "insufficient_role", append([]string{"X-Forwarded-Uri", "/page"}, token...)},
		{"another site's form", "POST", "/page", 403, "cross_origin_blocked", append([]string{"Sec-Fetch-Site", "cross-site"}, cookie...)},
		{"another site's form, another method claimed", "POST", "/page", 403, "cross_origin_blocked",
			append([]string{"Sec-Fetch-Site", "cross-site", "X-Forwarded-Method", "GET"}, cookie...)},
		{"a path of the gate's", "POST", apiPath + "/logout", 401, "token_missing", nil},
	} {
		r := s.do(row.method, row.path, nil, row.header...)
		wants(t, row.what, r, row.status, row.code)
		if id := r.header.Get("X-Auth-User-Id"); (id != "") != (row.status == http.StatusOK) {
			t.Errorf("%s: %d with user %q", row.what, r.status, id)
		}
	}
}
