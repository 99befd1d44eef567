package caddymodule_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// behindNginx is the site as its users see it: https://app.example.com.
type behindNginx struct {
	*site
	asked *questions
	load  func(roles string)

	me     tokens // one user, by token
	cookie string // another, by cookie
}

func (b *behindNginx) token() http.Header { return http.Header{"Authorization": {bearer(b.me)}} }

func newBehindNginx(t *testing.T) *behindNginx {
	t.Helper()
	findNginx(t)
	s := newSite(t)
	gate := freeAddress(t)
	b := &behindNginx{site: s, load: func(roles string) { s.load(documentedGate(t, s.dir, gate, freeAddress(t), roles)) }}
	b.load("customer")
	t.Cleanup(func() { _ = caddy.Stop() })
	var way string
	b.asked, way = newQuestions(t, gate)
	nginx := startNginx(t, way, s.upstream.address)
	s.client.Transport = &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, nginx)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the certificate is the test's own
	}
	return b
}

// send takes headers as they are written, in any case and as often as given.
func (b *behindNginx) send(method, path, body string, header http.Header) reply {
	b.t.Helper()
	r, err := http.NewRequest(method, "https://app.example.com"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, text}
}

func (b *behindNginx) signIn(phone, transport string) reply {
	b.t.Helper()
	json := http.Header{"Content-Type": {"application/json"}}
	r := b.send("POST", apiPath+"/otp", fmt.Sprintf(`{"phone": %q}`, phone), json)
	wants(b.t, "a code", r, 202, "")
	r = b.send("POST", apiPath+"/otp/verify", fmt.Sprintf(`{"challenge_id": %q, "code": "424242", "transport": %q}`, r.json(b.t)["challenge_id"], transport), json)
	wants(b.t, "a sign-in", r, 200, "")
	return r
}

// cookies are the pairs that an answer sets.
func cookies(r reply) string {
	var pairs []string
	for _, c := range (&http.Response{Header: r.header}).Cookies() {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

// What docs/deploy/forward-auth shows for nginx holds, in nginx.
func TestNginx(t *testing.T) {
	b := newBehindNginx(t)
	b.me = b.tokens(b.signIn(testA, "bearer"))
	b.cookie = cookies(b.signIn(testB, "cookie")) + "; __Host-sidegate-device=x" // which test numbers do not get
	if !strings.HasPrefix(b.cookie, "__Host-sidegate=") {
		t.Fatalf("the sign-in set %q", b.cookie)
	}
	for _, row := range []struct {
		name string
		test func(*testing.T, *behindNginx)
	}{
		{"a session passes, and the app hears whose", testNginxPasses},
		{"no identity of the client's reaches the app", testNginxSpoofing},
		{"what the gate refuses does not reach the app", testNginxRefusals},
		{"the gate's own routes and pages answer", testNginxOwnRoutes},
		{"an answer of the app's is no answer of the gate's", testNginxAppAnswers},
		{"logged out is out", testNginxLogout},
		{"without the gate nobody passes", testNginxGateDown},
	} {
		t.Run(row.name, func(t *testing.T) { row.test(t, b) })
	}
}

func testNginxPasses(t *testing.T, b *behindNginx) {
	b.asked.take()
	wants(t, "token", b.send("POST", "/page?x=1", "a body of the app's", b.token()), 200, "")
	got := b.upstream.one(t)
	wantIdentity(t, got, map[string]string{"X-Auth-User-Id": "1", "X-Auth-User-Roles": "customer", "X-Auth-Session-Id": b.me.SessionID})
	if got.Method != "POST" || got.URL.String() != "/page?x=1" || got.ContentLength != 19 || got.Host != "app.example.com" {
		t.Errorf("the app got %s %s%s with %d bytes", got.Method, got.Host, got.URL, got.ContentLength)
	}
	if q := b.asked.take(); len(q) != 1 || q[0] != (question{"GET", apiPath + "/verify", 0}) {
		t.Errorf("the gate was asked %+v", q)
	}
	wants(t, "cookie", b.send("GET", "/page", "", http.Header{"Cookie": {"first=1; " + b.cookie + "; last=2"}}), 200, "")
	got = b.upstream.one(t)
	wantIdentity(t, got, map[string]string{"X-Auth-User-Id": "2"})
	if text := strings.Join(got.Header["Cookie"], "|"); strings.Contains(text, "sidegate") || !strings.Contains(text, "first=1;") || !strings.Contains(text, "last=2") {
		t.Errorf("the app got the cookies %q", text)
	}
}

// Attack: a client says who it is, in every spelling that an app could take
// for the gate's.
func testNginxSpoofing(t *testing.T, b *behindNginx) {
	for _, name := range []string{
		"X-Auth-User-Id", "x-auth-user-id", "X_Auth_User_Id", "X.Auth.User.Id", "X-Auth_User-Id", "x_AUTH-user.id",
		"X-Auth-User-Roles", "X_AUTH_USER_ROLES", "X-Auth-User-Type", "X-Auth-Session-Id", "X-Auth-Device-Id", "X-Auth-Time", "x_auth_time",
	} {
		h := b.token()
		h[name] = []string{"666", "667"}
		wants(t, name, b.send("GET", "/page", "", h), 200, "")
		wantIdentity(t, b.upstream.one(t), map[string]string{"X-Auth-User-Id": "1"})
	}
	h := b.token()
	h["Connection"] = []string{"X-Auth-User-Id"}
	wants(t, "named in Connection", b.send("GET", "/page", "", h), 200, "")
	wantIdentity(t, b.upstream.one(t), map[string]string{"X-Auth-User-Id": "1"})
}

func testNginxRefusals(t *testing.T, b *behindNginx) {
	both := b.token()
	both["Cookie"] = []string{b.cookie}
	page := http.Header{"Sec-Fetch-Mode": {"navigate"}, "Accept": {"text/html"}}
	claims := func(header ...string) http.Header {
		h := b.token()
		for i := 0; i < len(header); i += 2 {
			h[header[i]] = []string{header[i+1]}
		}
		return h
	}
	for _, row := range []struct {
		what, method, path string
		header             http.Header
		status             int
		code               string
	}{
		{"a stranger", "GET", "/page", http.Header{"X-Auth-User-Id": {"1"}}, 401, "token_missing"},
		{"a stranger's body", "POST", "/page", nil, 401, "token_missing"},
		{"garbage", "GET", "/page", http.Header{"Authorization": {"Bearer nope"}}, 401, "token_invalid"},
		{"a role", "GET", "/admin/x", b.token(), 403, "insufficient_role"},
		{"a role, in another spelling", "GET", "/public/..%5cadmin/x", b.token(), 403, "insufficient_role"},
		{"a role, another path claimed", "GET", "/admin/x", claims("X-Original-URI", "/page", "X-Original-Method", "GET"), 403, "insufficient_role"},
		{"a role, claimed in other dialects", "GET", "/admin/x", claims("X-Forwarded-Uri", "/page", "X-Original-URL", "/page"), 403, "insufficient_role"},
		{"another site's form", "POST", "/page", http.Header{"Cookie": {b.cookie}, "Sec-Fetch-Site": {"cross-site"}}, 403, "cross_origin_blocked"},
		{"another site's form with a claim", "POST", "/page", http.Header{"Cookie": {b.cookie}, "Origin": {"https://evil.example"}, "X-Original-Method": {"GET"}}, 403, "cross_origin_blocked"},
		{"a cookie and a token", "GET", "/page", both, 500, ""},
		{"the question itself", "GET", "/_verify", b.token(), 404, ""},
		{"a browser that opens a page", "GET", "/page?a=1&b=2", page, 303, ""},
	} {
		b.asked.take()
		body := ""
		if row.method == "POST" {
			body = "secret=1"
		}
		r := b.send(row.method, row.path, body, row.header)
		wants(t, row.what, r, row.status, row.code)
		for _, q := range b.asked.take() {
			if q.body != 0 {
				t.Errorf("%s: the gate got the app's body: %+v", row.what, q)
			}
		}
		if n := len(b.upstream.take()); n != 0 {
			t.Errorf("%s: reached the app", row.what)
		}
		if to := r.header.Get("Location"); row.status == 303 && to != "/auth/login?return_to=%2Fpage%3Fa%3D1%26b%3D2" {
			t.Errorf("%s: sent to %q", row.what, to)
		}
	}
}

func testNginxOwnRoutes(t *testing.T, b *behindNginx) {
	wants(t, "page", b.send("GET", "/auth/login", "", nil), 200, "")
	wants(t, "another spelling", b.send("GET", "/x/..%2fAUTH/login", "", b.token()), 404, "not_found")
	if n := len(b.upstream.take()); n != 0 {
		t.Error("a spelling of the gate's path reached the app")
	}
}

func testNginxAppAnswers(t *testing.T, b *behindNginx) {
	b.upstream.answerWith(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Sidegate-Error", "session_revoked")
		w.WriteHeader(http.StatusUnauthorized)
	})
	defer b.upstream.answerWith(nil)
	if r := b.send("GET", "/page", "", b.token()); r.status != 401 || r.header.Get("Sidegate-Error") != "" {
		t.Errorf("got %d %v", r.status, r.header)
	}
	b.upstream.take()
}

func testNginxLogout(t *testing.T, b *behindNginx) {
	wants(t, "logout", b.send("POST", apiPath+"/logout", "", http.Header{"Cookie": {b.cookie}}), 204, "")
	wants(t, "after it", b.send("GET", "/page", "", http.Header{"Cookie": {b.cookie}}), 401, "session_revoked")
}

func testNginxGateDown(t *testing.T, b *behindNginx) {
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	wants(t, "gate down", b.send("GET", "/page", "", b.token()), 500, "")
	if n := len(b.upstream.take()); n != 0 {
		t.Error("reached the app")
	}
}

// A role that is there opens, and the cookie is renewed by the gate's own routes.
func TestNginxRoleAndRenewal(t *testing.T) {
	b := newBehindNginx(t)
	b.load("admin")
	first := cookies(b.signIn(testA, "cookie"))
	wants(t, "admin", b.send("GET", "/admin/x", "", http.Header{"Cookie": {first}}), 200, "")
	wantIdentity(t, b.upstream.one(t), map[string]string{"X-Auth-User-Roles": "admin"})
	if r := b.send("GET", "/page", "", http.Header{"Cookie": {first}}); cookies(r) != "" {
		t.Errorf("a request to the app set %q", cookies(r))
	}
	r := b.send("POST", apiPath+"/refresh", "{}", http.Header{"Cookie": {first}, "Content-Type": {"application/json"}})
	wants(t, "renewal", r, 200, "")
	next := cookies(r)
	if next == "" || strings.Contains(first, next) {
		t.Fatalf("renewed %q to %q", first, next)
	}
	wants(t, "the next cookie", b.send("GET", "/admin/x", "", http.Header{"Cookie": {next}}), 200, "")
}

// wantIdentity fails unless all that an app could read as the gate's is one of
// its six headers, once, and no credential of ours is there.
func wantIdentity(t *testing.T, got *http.Request, want map[string]string) {
	t.Helper()
	for name, values := range got.Header {
		folded := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
		if strings.HasPrefix(folded, "x-auth-") && (len(values) != 1 || strings.HasPrefix(values[0], "66") || name != http.CanonicalHeaderKey(folded)) {
			t.Errorf("the app got %s: %q", name, values)
		}
	}
	for name, value := range want {
		if got.Header.Get(name) != value {
			t.Errorf("the app got %s: %q, want %q", name, got.Header.Get(name), value)
		}
	}
	if got.Header.Get("Authorization") != "" {
		t.Error("the app got the token")
	}
}
