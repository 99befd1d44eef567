package caddymodule_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// Spellings of a path below /admin, which needs a role that nobody has. Most
// begin below /public/, which needs nothing: the gate must not read them in one
// way, and the upstream, which gets them as they are, in another.
var adminSpellings = []string{
	"/public/../admin", "/public/../admin/x", "/public/x/../../admin/x", "/public/./../admin", "/public//../admin",
	"/public/%2e%2e/admin", "/public/%2E%2e/admin/x", "/public/.%2e/admin", "/public%2f..%2fadmin", "/public/..%2fadmin", "/public/..%2Fadmin/x",
	"/public/%252e%252e/admin", "/public/%25252e%25252e/admin", "/public/..%252fadmin", "/public/..%255cadmin",
	`/public/..\admin`, `/public\..\admin`, "/public/..%5cadmin", "/public/%5c../admin", "/public/x/..%5c..%5cadmin/x",
	"/public/..;/admin", "/public/..;x=1/admin", "/public/..%3b/admin", "/public/..%253b/admin", "/public/%2e%2e;/admin", "/public/.;/../admin",
	"/public/..%00/admin", "/public/%00/../../admin", "/public/..%0a/admin", "/public/..%09/admin",
	"/public/%c0%ae%c0%ae/admin", "/public/%e0%80%ae%e0%80%ae/admin", "/public/%uff0e%uff0e/admin", "/public/%u002e%u002e/admin", "/public/%25u002e%25u002e/admin",
	"/public/．．/admin", "/public/%ef%bc%8e%ef%bc%8e/admin", "/public/‥/admin", "/public/..／admin", "/public/％2e％2e/admin", "/public/..\u037e/admin", "/ａdmin/x",
	"/PUBLIC/../ADMIN", "/public/../Admin", "/public/../%61dmin", "/public/..?/../../admin/../..", "http://{host}/public/../admin",
	"/admin", "/admin/", "/ADMIN/x", "/%61dmin/x", "/admin;x", "/admin;x/y", "/admin%00", "/admin%00.css", "/admin%3fx", "/admin%23x", "/admin%2fx", "/admin%5cx",
	"//admin", "//admin/x", `/\admin`, "/%5cadmin", "/.//admin", "/./admin", "/x/../admin", "/;/admin", "/%2fadmin", "/%2e/admin", "/admin/../public/x",
	"/adm%0ain/x", "http://{host}/admin", "/admin%20/../admin",
}

// publicOnly are those above that are no path below /admin to anybody: the '?'
// ends the path. The gate may pass them to a user, but not to a stranger.
var publicOnly = map[string]bool{"/public/..?/../../admin/../..": true}

func attackPaths(a *attacker, t *testing.T) {
	for _, target := range adminSpellings {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			if got, received := a.outcome(t, method+" "+target); received != "" {
				t.Errorf("stranger, %s %s: got %q; the upstream received %q", method, target, got, received)
			}
			// No rule names /app: that it is not public is all that keeps him out.
			target := strings.NewReplacer("admin", "app", "%61dmin", "%61pp", "Admin", "App", "ADMIN", "APP", "adm%0ain", "a%0app").Replace(target)
			if got, received := a.outcome(t, method+" "+target); received != "" {
				t.Errorf("stranger, %s %s: got %q; the upstream received %q", method, target, got, received)
			}
		}
		for _, credential := range []string{"Authorization: Bearer {token}", "Cookie: sidegate={cookie}"} {
			if got, received := a.outcome(t, "GET "+target+"\n"+credential); received != "" && !publicOnly[target] {
				t.Errorf("user without the role, %s: got %q; the upstream received %q", target, got, received)
			}
		}
	}
	const user = "\nAuthorization: Bearer {token}"
	a.run(t, []attack{
		{"a stranger on a public path", "GET /public/x?a=/../admin;%00", "200 anonymous", []string{"GET /public/x?a=/../admin;%00 HTTP/1.1"}},
		{"upper case is as public", "GET /PUBLIC/x", "200 anonymous", nil},
		{"an exact path", "GET /healthz", "200 anonymous", nil},
		{"below an exact path", "GET /healthz/x", "401 token_missing", nil},
		{"beside the prefix", "GET /publicx", "401 token_missing", nil},
		{"an encoded slash in the prefix", "GET /public%2fx", "401 token_missing", nil},
		{"an encoded slash behind the prefix", "GET /public/x%2fy", "401 token_missing", nil},
		{"the prefix itself", "GET /public", "401 token_missing", nil},
		{"a user under the rule", "GET /admin/x" + user, "403 insufficient_role", nil},
		{"a user beside the rule", "GET /administrator" + user, "200 bearer", nil},
		{"an odd path of a user reaches the upstream as it is", "GET /a%2fb;c//d" + user, "200 bearer", []string{"GET /a%2fb;c//d HTTP/1.1"}},
		{"asterisk, which net/http answers", "OPTIONS *", "200", nil},
		{"client's rewrite headers change nothing", "GET /app\nX-Original-URL: /public/x\nX-Rewrite-URL: /public/x\nX-Forwarded-Uri: /public/x\nX-HTTP-Method-Override: OPTIONS", "401 token_missing", nil},
	})
}

// No spelling of our own routes reaches the upstream, which may have routes of
// that name: not even from a user.
func attackOwnPaths(a *attacker, t *testing.T) {
	for _, target := range []string{
		"/api/v1/auth", "/api/v1/auth/", "/api/v1/auth/nothing", "/API/V1/AUTH/otp", "/api/v1/%61uth/otp", "/api//v1/auth/otp", "/api/v1/auth//otp",
		"/api/v1/auth/../auth/otp", "/api/v1/x/../auth/otp", "/api/v1/auth;x/otp", "/api;x/v1/auth", "/api%2fv1%2fauth", "/api/v1/auth%2fotp", "/api/v1/auth%00",
		"/api/v1/auth%3fx", "/api/v1%5cauth", `/api/v1\auth/otp`, "/%2561pi/v1/auth", "//api/v1/auth/otp", "/./api/v1/auth", "/public/../api/v1/auth/otp",
		"/public/..;/api/v1/auth", "/public/..%2fapi/v1/auth", "/%c0%afapi/v1/auth", "http://{host}/api//v1/auth",
		"/auth", "/auth/", "/auth/nothing", "/AUTH/Login", "/%61uth/x", "//auth/login", "/auth//login", "/./auth/login", "/x/../auth/login", "/auth;x/login",
		"/auth%2flogin", "/auth%00", "/auth%3fx", "/auth%23", `/\auth`, "/%5cauth", "/%2561uth/login", "/public/..;/auth/login", "/public/%2e%2e/auth",
		"/api/v1/auth/..;/../../../auth", "/auth/../app",
	} {
		for _, credential := range []string{"", "\nAuthorization: Bearer {token}", "\nCookie: sidegate={cookie}"} {
			if got, received := a.outcome(t, "GET "+target+credential); received != "" {
				t.Errorf("%s%s: got %q; the upstream received %q", target, strings.TrimSpace(credential), got, received)
			}
		}
	}
	a.run(t, []attack{
		{"a name that only begins alike", "GET /authx\nAuthorization: Bearer {token}", "200 bearer", nil},
		{"the parent of ours", "GET /api/v1\nAuthorization: Bearer {token}", "200 bearer", nil},
		{"ours further down", "GET /x/auth/login\nAuthorization: Bearer {token}", "200 bearer", nil},
	})
}

// Where a link to our login page could lead after the login, as query values.
var elsewhere = []string{
	"//evil.example", "///evil.example", "%2f%2fevil.example", "/%5cevil.example", `/\evil.example`, `\\evil.example`, "%5c%5cevil.example", "%5c/evil.example",
	"https:evil.example", "https://evil.example", "https%3a%2f%2fevil.example", "HTTPS://evil.example/", "http:/evil.example", "javascript:alert(1)", "data:text/html,x",
	"evil.example", "@evil.example", ".evil.example", ":80@evil.example", "%20//evil.example", "%09//evil.example", "/%09/evil.example", "/%0a/evil.example", "/%0d/evil.example",
	"/%00/evil.example", "/x%0d%0aLocation:%20https://evil.example", "/x%0d%0aSet-Cookie:%20sidegate=forged", "/x//evil.example", "/.//evil.example", "/x/..//evil.example",
	"/%E2%80%A8/evil.example", "/auth/login", "/AUTH/logout", "/api/v1/auth/logout", "/x/../auth/logout", "",
}

// staysHere is a browser's reading (WHATWG URL, 4.4), written without the code
// under test: a path of this origin and none of ours.
func staysHere(location string) bool {
	if !strings.HasPrefix(location, "/") || strings.ContainsAny(location, "\\\t\r\n\x00 ") {
		return false
	}
	u, err := url.Parse(location)
	return err == nil && u.Host == "" && !strings.HasPrefix(location, "//") && !strings.HasPrefix(strings.ToLower(u.Path), "/auth/log") && !strings.HasPrefix(u.Path, "/api/v1/auth")
}

// The gate sends a browser to the login page with the path it asked for.
func attackRedirect(a *attacker, t *testing.T) {
	for target, want := range map[string]string{
		"/app?a=1&b=%2F": "/app?a=1&b=%2F", "//evil.example": "/", "//evil.example/%2e%2e": "/", "///evil.example": "/", `/\evil.example`: "/",
		"/x//evil.example": "/", "https://evil.example/": "", "http://{host}//evil.example": "/", "/x%0d%0aLocation:%20https://evil.example": "/",
		"/x%0d%0aSet-Cookie:%20a=b":           "/x%0d%0aSet-Cookie:%20a=b",
		"/app?return_to=https://evil.example": "/app?return_to=https://evil.example", "/.//evil.example": "/", "/app#https://evil.example": "/",
		"/?\x80\xff": "/", "/" + strings.Repeat("a", 3000): "/", "http://{host}/app": "/",
	} {
		a.wire.take()
		r := a.send(t, "GET "+target+"\nAccept: text/html\nSec-Fetch-Mode: navigate")
		if want == "" { // another host: not this site
			if r.header.Get("Location") != "" || len(a.wire.take()) > 0 {
				t.Errorf("%s: got %d to %q", target, r.status, r.header.Get("Location"))
			}
			continue
		}
		location := r.header.Values("Location")
		if r.status != http.StatusSeeOther || len(location) != 1 || location[0] != "/auth/login?return_to="+url.QueryEscape(want) || len(a.wire.take()) > 0 {
			t.Errorf("%.60s: got %d to %q, want %q", target, r.status, location, want)
		}
	}
}

var returnField = regexp.MustCompile(`name="return_to" value="([^"]*)"`)

// The login page takes the way back from its address and carries it in a form.
func attackLoginForm(a *attacker, t *testing.T) {
	for _, to := range elsewhere {
		page := a.send(t, "GET /auth/login?return_to="+to)
		field := returnField.FindSubmatch(page.body)
		if page.status == http.StatusBadRequest && page.header.Get("Sidegate-Error") == "" {
			continue // net/http takes it for no request
		}
		if page.status != http.StatusOK || field == nil || string(field[1]) != "/" {
			t.Errorf("%q: page %d has the way back %q", to, page.status, field)
		}
	}
	if page := a.send(t, "GET /auth/login?return_to=%22%3E%3Cscript%3E"); strings.Contains(string(page.body), "<script>") {
		t.Errorf("script in the page: %s", page.body)
	}
	// The last step, past the page: the attacker writes the form himself.
	for i, to := range elsewhere {
		if i%5 != 0 { // a sign-in each
			continue
		}
		challenge := a.start(fmt.Sprintf("+46701235%03d", i))
		body := "challenge_id=" + challenge + "&code=" + a.codeOf(challenge) + "&return_to=" + to
		r := a.do("POST", "/auth/login/code", body, "Content-Type", "application/x-www-form-urlencoded")
		if location := r.header.Get("Location"); r.status != http.StatusSeeOther || !staysHere(location) {
			t.Errorf("%q: signed in, got %d to %q", to, r.status, location)
		}
	}
}
