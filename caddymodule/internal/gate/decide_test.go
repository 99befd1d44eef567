package gate

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestEveryMatchingRuleMustHold(t *testing.T) {
	f := &fake{id: auth.Identity{UserID: 1, Roles: []string{"staff"}, AuthTime: noon.Add(-10 * time.Minute)}}
	g := newGate(t, f, func(c *Config) {
		c.Public = []string{"/free/*"}
		c.Require = []Rule{
			{Paths: []string{"/staff/*", "/free/staff"}, Roles: []string{"boss", "staff"}},
			{Paths: []string{"/staff/boss/*"}, Roles: []string{"boss"}},
			{Paths: []string{"/staff/pay"}, Fresh: 5 * time.Minute},
			{Paths: []string{"/staff/tea"}, Fresh: 10 * time.Minute},
			{Paths: []string{"/free/signed"}},
		}
	})
	for _, test := range []struct {
		target         string
		signed, nobody string
	}{
		{"/free/x", "", ""},
		{"/free/signed", "", "token_missing"},
		{"/free/staff", "", "token_missing"},
		{"/other", "", "token_missing"},
		{"/staff/x", "", "token_missing"},
		{"/staff/boss/x", "insufficient_role", "token_missing"},
		{"/staff/pay", "reauthentication_required", "token_missing"},
		{"/staff/tea", "", "token_missing"},
	} {
		answer, _ := ask(g, request(t, "GET", test.target, "Authorization: Bearer ours-good"))
		if got := answer.Header.Get("Sidegate-Error"); got != test.signed {
			t.Errorf("signed in at %s: got %q, want %q", test.target, got, test.signed)
		}
		answer, _ = ask(g, request(t, "GET", test.target))
		if got := answer.Header.Get("Sidegate-Error"); got != test.nobody {
			t.Errorf("nobody at %s: got %q, want %q", test.target, got, test.nobody)
		}
	}
	f.id.AuthTime = time.Time{}
	answer, _ := ask(g, request(t, "GET", "/staff/tea", "Authorization: Bearer ours-good"))
	if got := answer.Header.Get("Sidegate-Error"); got != "reauthentication_required" {
		t.Errorf("a code at no known time: got %q", got)
	}
	// A clock that was set back by a day must not make a code fresh for a day.
	f.id.AuthTime = noon.Add(24 * time.Hour)
	answer, _ = ask(g, request(t, "GET", "/staff/tea", "Authorization: Bearer ours-good"))
	if got := answer.Header.Get("Sidegate-Error"); got != "reauthentication_required" {
		t.Errorf("a code of tomorrow: got %q", got)
	}
	f.id.AuthTime = noon.Add(time.Second) // another node's clock
	answer, _ = ask(g, request(t, "GET", "/staff/tea", "Authorization: Bearer ours-good"))
	if got := answer.Header.Get("Sidegate-Error"); got != "" {
		t.Errorf("a code of this moment: got %q", got)
	}
}

// A request that comes back, as to an error's page, has no credential any more.
// It is who it was, and meets the rules of where it comes to.
func TestResume(t *testing.T) {
	g := newGate(t, &fake{}, func(c *Config) {
		c.Public = []string{"/free"}
		c.Require = []Rule{{Paths: []string{"/staff"}, Roles: []string{"staff"}}}
	})
	customer := &Passage{SignedIn: true, Identity: auth.Identity{UserID: 7, Roles: []string{"customer"}}}
	for _, test := range []struct {
		name, target string
		before       *Passage
		want         auth.Code
	}{
		{"signed in", "/x", customer, ""},
		{"signed in without the role", "/staff", customer, auth.CodeInsufficientRole},
		{"nobody", "/x", &Passage{}, auth.CodeTokenMissing},
		{"nobody at a public path", "/free", &Passage{}, ""},
	} {
		p, refusal := g.Resume(request(t, "GET", test.target), test.before)
		switch {
		case refusal != nil && refusal.Code != test.want, refusal == nil && test.want != "":
			t.Errorf("%s: got %v, want %q", test.name, refusal, test.want)
		case p != nil && (p.SignedIn != test.before.SignedIn || p.Identity.UserID != test.before.Identity.UserID):
			t.Errorf("%s: got %+v", test.name, p.Identity)
		}
	}
}

func TestRefusalsHaveTheirOwnCodes(t *testing.T) {
	for line, want := range map[string]string{
		"Authorization: Bearer ours-expired":       "token_expired",
		"Authorization: Bearer ours-revoked":       "session_revoked",
		"Authorization: Bearer theirs":             "token_invalid",
		"Authorization: Bearer ours-fault":         "store_unavailable",
		"Cookie: __Host-sidegate=reused":           "session_revoked",
		"Cookie: __Host-sidegate=bad":              "token_invalid",
		"Cookie: __Host-sidegate=fault":            "store_unavailable",
		"Cookie: __Host-sidegate=; x=y":            "token_invalid",
		"Authorization: Basic eA==":                "token_missing",
		"Authorization: Bearer ours-good, theirs":  "invalid_request",
		"Cookie: __Host-sidegate=a, sidegate=good": "token_invalid",
	} {
		answer, _ := ask(newGate(t, &fake{}, nil), request(t, "GET", "/x", line))
		if got := answer.Header.Get("Sidegate-Error"); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

func TestIdentityHeaders(t *testing.T) {
	forged := []string{"X-Auth-User-Id: 1", "X-Auth-Time: 1", "x-auth-device-id: 1", "Authorization: Bearer ours-good"}
	for _, test := range []struct {
		name string
		id   auth.Identity
		want map[string]string
	}{
		{"all of them", someone, map[string]string{
			"X-Auth-User-Id": "42", "X-Auth-User-Type": "customer", "X-Auth-User-Roles": "customer,support",
			"X-Auth-Session-Id": someone.SessionID.String(), "X-Auth-Device-Id": "phone-1", "X-Auth-Time": "1782903600",
		}},
		{"what is missing is absent", auth.Identity{UserID: 18446744073709551615}, map[string]string{
			"X-Auth-User-Id": "18446744073709551615", "X-Auth-Session-Id": "AAAAAAAAAAAAAAAAAAAAAA",
		}},
		{"what would break a line is absent", auth.Identity{UserID: 1, Type: "a\r\nX-Auth-User-Id: 2", RolesText: "a\x00", DeviceID: "\x7f"}, map[string]string{
			"X-Auth-User-Id": "1", "X-Auth-Session-Id": "AAAAAAAAAAAAAAAAAAAAAA",
		}},
	} {
		_, seen := ask(newGate(t, &fake{id: test.id}, nil), request(t, "GET", "/x", forged...))
		if len(seen.Header) != len(test.want) {
			t.Errorf("%s: got %v", test.name, seen.Header)
		}
		for name, value := range test.want {
			if got := seen.Header[name]; !equal(got, []string{value}) {
				t.Errorf("%s: %s is %q, want %q", test.name, name, got, value)
			}
		}
	}
	_, seen := ask(newGate(t, &fake{}, nil), request(t, "GET", "/public/x", forged[:3]...))
	if len(seen.Header) != 0 {
		t.Errorf("anonymous: got %v", seen.Header)
	}
	g := newGate(t, &fake{}, func(c *Config) { c.HeaderPrefix = "remote-" })
	_, seen = ask(g, request(t, "GET", "/x", "Authorization: Bearer ours-good", "REMOTE_USER_ID: 1", "X-Auth-User-Id: theirs"))
	if len(seen.Header) != 7 || seen.Header.Get("Remote-User-Id") != "42" {
		t.Errorf("another prefix: got %v", seen.Header)
	}
	// A handler that appends to one header must not write into the next one.
	_ = append(seen.Header["Remote-User-Id"], "x")
	if seen.Header.Get("Remote-User-Type") != "customer" {
		t.Error("the headers share room")
	}
}

func TestNavigationsGoToLogin(t *testing.T) {
	html := "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
	for _, test := range []struct {
		name, method, target string
		lines                []string
		location             string
	}{
		{"a browser opens a page", "GET", "/x?a=b&c=d", []string{"Sec-Fetch-Mode: navigate"}, "/auth/login?return_to=%2Fx%3Fa%3Db%26c%3Dd"},
		{"a form is sent", "POST", "/x", []string{"Sec-Fetch-Mode: navigate"}, "/auth/login?return_to=%2Fx"},
		{"an old browser", "GET", "/x", []string{html}, "/auth/login?return_to=%2Fx"},
		{"an old browser asks for the head", "HEAD", "/x", []string{"Accept: TEXT/HTML"}, "/auth/login?return_to=%2Fx"},
		{"an absolute target", "GET", "http://evil.example/x", []string{html}, "/auth/login?return_to=%2F"},
		{"two slashes", "GET", "//evil.example/x", []string{html}, "/auth/login?return_to=%2F"},
		{"a dead session", "GET", "/x", []string{html, "Cookie: __Host-sidegate=bad"}, "/auth/login?return_to=%2Fx"},
		{"an old sign-in", "GET", "/money", []string{html, "Cookie: __Host-sidegate=good"}, "/auth/login?return_to=%2Fmoney"},
		{"a script", "GET", "/x", []string{"Sec-Fetch-Mode: cors", html}, ""},
		{"a browser that names the place only", "GET", "/x", []string{"Sec-Fetch-Dest: empty", html}, ""},
		{"two modes", "GET", "/x", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Mode: navigate"}, ""},
		{"an old browser sends a form", "POST", "/x", []string{html}, ""},
		{"a websocket", "GET", "/x", []string{"Upgrade: websocket", html}, ""},
		{"no browser", "GET", "/x", []string{"Accept: */*"}, ""},
		{"the wrong role", "GET", "/admin", []string{html, "Cookie: __Host-sidegate=good"}, ""},
		{"a fault", "GET", "/x", []string{html, "Cookie: __Host-sidegate=fault"}, ""},
	} {
		answer, seen := ask(newGate(t, &fake{}, nil), request(t, test.method, test.target, test.lines...))
		got := answer.Header.Get("Location")
		if got != test.location || (answer.StatusCode == 303) != (test.location != "") || seen != nil {
			t.Errorf("%s: got %d %q, want %q", test.name, answer.StatusCode, got, test.location)
		}
		if answer.StatusCode == 303 && (answer.Header.Get("Cache-Control") != "no-store" || answer.Header.Get("Vary") == "") {
			t.Errorf("%s: got %v", test.name, answer.Header)
		}
	}
	g := newGate(t, &fake{}, func(c *Config) { c.Pages = "" })
	if answer, _ := ask(g, request(t, "GET", "/x", html)); answer.StatusCode != 401 {
		t.Errorf("without pages: got %d", answer.StatusCode)
	}
	g = newGate(t, &fake{}, func(c *Config) { c.OriginalURI = func(*http.Request) string { return "/before" } })
	if answer, _ := ask(g, request(t, "GET", "/x", html)); answer.Header.Get("Location") != "/auth/login?return_to=%2Fbefore" {
		t.Errorf("after a rewrite: got %v", answer.Header)
	}
}

func TestVerify(t *testing.T) {
	bearer := "Authorization: Bearer ours-good"
	for _, test := range []struct {
		name   string
		lines  []string
		status int
	}{
		{"a session", []string{bearer}, 204},
		{"a session by cookie", []string{"Cookie: __Host-sidegate=good"}, 204},
		{"nothing", nil, 401},
		{"a dead session in a browser", []string{"Authorization: Bearer ours-revoked", "Accept: text/html"}, 401},
		{"both", []string{bearer, "Cookie: __Host-sidegate=good"}, 400},
		{"a fault", []string{"Authorization: Bearer ours-fault"}, 503},
		{"public paths do not count", []string{"X-Forwarded-Uri: /public/x"}, 401},
		{"a path", []string{bearer, "X-Forwarded-Uri: /x?y"}, 204},
		{"a path that needs a role", []string{bearer, "X-Forwarded-Uri: /admin/x"}, 403},
		{"an odd spelling of it", []string{bearer, "X-Forwarded-Uri: /public/..%5cadmin"}, 403},
		{"a fresh code", []string{bearer, "X-Forwarded-Uri: /money"}, 401},
		{"what nginx calls it", []string{bearer, "X-Original-Uri: /admin/x"}, 403},
		{"what nginx's ingress calls it", []string{bearer, "X-Original-Url: https://app.example.com/admin/x"}, 403},
		{"a free path hides the other one", []string{bearer, "X-Forwarded-Uri: /x", "X-Original-Uri: /admin"}, 403},
		{"two paths", []string{bearer, "X-Forwarded-Uri: /x", "X-Forwarded-Uri: /x"}, 400},
		{"two hosts", []string{bearer, "X-Forwarded-Host: a", "X-Forwarded-Host: b"}, 400},
		{"no path at all", []string{bearer, "X-Forwarded-Uri: x"}, 400},
		{"a form of another site", []string{"Cookie: __Host-sidegate=good", "X-Forwarded-Method: post", "Sec-Fetch-Site: cross-site"}, 403},
		{"a form of another origin", []string{"Cookie: __Host-sidegate=good", "X-Original-Method: POST", "Origin: https://evil.example"}, 403},
		{"a form of the host in front", []string{"Cookie: __Host-sidegate=good", "X-Forwarded-Method: POST", "X-Forwarded-Host: shop.example", "Origin: https://shop.example"}, 204},
		{"a page of another site", []string{"Cookie: __Host-sidegate=good", "X-Forwarded-Method: GET", "Sec-Fetch-Site: cross-site"}, 204},
		{"a websocket of another origin", []string{"Cookie: __Host-sidegate=good", "Sec-Websocket-Key: x", "Origin: https://evil.example"}, 403},
	} {
		f := &fake{successor: "next"}
		w := httptest.NewRecorder()
		newGate(t, f, nil).Verify(w, request(t, "GET", "/api/v1/auth/verify", test.lines...))
		if w.Code != test.status {
			t.Errorf("%s: got %d, want %d", test.name, w.Code, test.status)
		}
		if got := w.Header().Get("X-Auth-User-Id"); (got == "42") != (test.status == 204) || f.rotate {
			t.Errorf("%s: user %q, rotate %v", test.name, got, f.rotate)
		}
	}
	w := httptest.NewRecorder()
	newGate(t, &fake{id: auth.Identity{UserID: 7}}, nil).Verify(w, request(t, "GET", "/verify", bearer))
	for name, want := range map[string]string{"X-Auth-User-Id": "7", "X-Auth-User-Type": "", "X-Auth-User-Roles": "", "X-Auth-Device-Id": "", "X-Auth-Time": ""} {
		if got := w.Header()[name]; !equal(got, []string{want}) {
			t.Errorf("%s: got %q, want one %q", name, got, want)
		}
	}
}
