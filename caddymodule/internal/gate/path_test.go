package gate

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Spellings of /public/secret/x (which needs a role) and of paths outside that
// some upstream reads so. All of them begin below /public/*, or try to.
var spellings = []string{
	"/public/..;/admin/x", "/public/..%5cadmin/x", "/public/%252e%252e/admin/x", "/public/%2e%2e/admin/x",
	"/public/../admin/x", "/public/..%2fadmin/x", "/public/..%2Fadmin", "/public/x/..%5c..%5cadmin/x",
	"/public/%5c../admin/x", "/public/%25252e%25252e/admin/x", "/public/..%255cadmin/x", "/public/..%00/admin/x",
	"/public/.;a=b/../..;x/admin/x", "/public/%2e%2e;/admin/x", "/public/..%3b/admin/x", "/public//../admin/x",
	"/public/./../admin/x", "/public/%c0%ae%c0%ae/admin/x", "/public/%e0%80%ae%e0%80%ae/admin/x",
	"/public/%2525252525252e/admin", "/public/%u002e%u002e/admin/x",
	"/public/．．/admin/x", "/public/%ef%bc%8e%ef%bc%8e/admin", "/public/‥/admin/x", "/public/..／admin", "/public/..＼admin/x",
	"/public/％2e％2e/admin", "/public/..\u037e/admin", "/public/..∕admin", "/ａｄｍｉｎ/x", "/ＡＤＭＩＮ", "/public／../admin", "/admin？x",
	"/admin;x", "/admin;/x", "/admin%00", "/admin%00x", "/%5cadmin", "//admin", "//admin/x", "/admin//", "/./admin/x", "/admin/.",
	"/%61dmin/x", "/ADMIN/x", "/Admin", "/admin/", "/admin", "/%2561dmin/x", "/admin%2fx", "/admin%5cx", "/admin%3bx=1/y",
	"/admin%3fx", "/admin%23x", "/adm%00in/x", "/adm%0ain/x", "/admin/../public/x", "/x/..%2f..%2fadmin", "/%2fadmin/x",
	"/;x/admin", "/x;/../admin/x",
	"/admin%20", "/admin%20/x", "/admin.", "/admin./x", "/admin%2e%20/x", "/public/..%20/admin/x", "/public/secret./x", "/public/secret%20/x",
	"/public/secret/x", "/public/Secret/x", "/public/%73ecret/x", "/public/secret%2fx", "/public//secret/x",
	"/public/secret;a/x", "/public/x/../secret/x", "/public/ſecret/x", "/public/%C5%BFecret/x",
}

// pathRequest makes a request from a target as net/http would, also from one
// that its parser refuses.
func pathRequest(target string) *http.Request {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		u = &url.URL{Path: target}
	}
	return &http.Request{Method: "GET", URL: u, RequestURI: target, Header: http.Header{}, Host: "app.example.com"}
}

// An attacker names a protected path so that we read a public or free one, and
// the upstream, which gets the raw target, reads the protected one.
func TestNoSpellingOfAProtectedPathGetsThrough(t *testing.T) {
	g := newGate(t, &fake{}, nil)
	for _, target := range spellings {
		if _, readable := readings(pathRequest(target)); !readable {
			if place, _ := g.Own(pathRequest(target)); place != Nowhere {
				t.Errorf("unreadable %s: got %v, want nowhere", target, place)
			}
			continue
		}
		if answer, seen := ask(g, pathRequest(target)); seen != nil || answer.StatusCode != 401 {
			t.Errorf("anonymous at %s: got %d, reached %v", target, answer.StatusCode, seen != nil)
		}
		r := pathRequest(target)
		r.Header.Set("Authorization", "Bearer ours-good")
		if answer, seen := ask(g, r); seen != nil || answer.StatusCode != 403 {
			t.Errorf("without the role at %s: got %d, reached %v", target, answer.StatusCode, seen != nil)
		}
	}
}

func TestPublicPaths(t *testing.T) {
	g := newGate(t, &fake{}, func(c *Config) { c.Public = append(c.Public, "/Straße/*", "/k") })
	for target, want := range map[string]bool{
		"/public/x": true, "/PUBLIC/x": true, "/public/": true, "/public/x/y/": true, "/healthz": true, "/Healthz": true,
		"/public/x%20y": true, "/public/%61": true, "/%70ublic/x": true, "/stra%C3%9Fe/x": true, "/k": true, "/K": true,
		"/public/x?a=../../b;c%2f": true, "/public/図面（１）.pdf": true, "/public/何？.pdf": true, "/public/x…": true, "http://app.example.com/public/x": true,
		"/public": false, "/publicx": false, "/healthz/": false, "/healthz/x": false, "/": false, "/public/../x": false,
		"/public/x;y": false, "/public//x": false, "/public/%2e/x": false, "/public/x%2fy": false, "/public/x%5cy": false,
		"/public/%00": false, "/public/%25": false, "/public/..%20/x": false, "/public/%20/x": false, "/public/.../x": false,
		"/public/x%20": true, "/public/v1./x": true, "/public/.well-known": true, "/public/%7f": false, "/public/%ff": false, "*": false,
		"http://app.example.com": false, "/%E2%84%AA": false, // the Kelvin sign is no k here
		"/public/a／b": false, "/ｐｕｂｌｉｃ/x": false, "/public/a；b": false, "/public/100％": false,
	} {
		if got := g.isPublic(pathRequest(target)); got != want {
			t.Errorf("%s: got %v, want %v", target, got, want)
		}
	}
}

func TestRequiredPaths(t *testing.T) {
	g := newGate(t, &fake{}, func(c *Config) { c.Public = []string{"/*"} })
	for target, status := range map[string]int{
		"/admin": 401, "/admin/": 401, "/admin/x": 401, "/money": 401, "/money/": 401, "/MONEY": 401, "/money;v=1": 401,
		"/administrator": 200, "/money/x": 200, "/x/admin": 200, "/moneyx": 200,
		"/x;y": 401, // readable and under no rule, but not plain: it needs a session
	} {
		if answer, _ := ask(g, pathRequest(target)); answer.StatusCode != status {
			t.Errorf("%s: got %d, want %d", target, answer.StatusCode, status)
		}
	}
	for target, status := range map[string]int{"/x;y": 200, "/a%2fb": 200, "/x//y": 200, "/%2525": 200, "/x%25252525252541y": 404, "/x%252525y": 200, "/100%25": 200, "/100%25-%2f": 200, "/x%2525u0041": 404, "/caf%e9": 200} {
		r := pathRequest(target)
		r.Header.Set("Authorization", "Bearer ours-good")
		if answer, _ := ask(g, r); answer.StatusCode != status {
			t.Errorf("signed in at %s: got %d, want %d", target, answer.StatusCode, status)
		}
	}
}

// Something before us changed one of URL and RequestURI: the stricter holds.
func TestBothPathsOfARewrittenRequestAreJudged(t *testing.T) {
	g := newGate(t, &fake{}, nil)
	for _, pair := range [][2]string{{"/admin/x", "/public/x"}, {"/public/x", "/admin/x"}, {"/free", "/public/x"}, {"/public/x", "/free"}} {
		r := pathRequest(pair[0])
		r.RequestURI = pair[1]
		if _, seen := ask(g, r); seen != nil {
			t.Errorf("%v: passed without a session", pair)
		}
		r = pathRequest(pair[0])
		r.RequestURI = pair[1]
		r.Header.Set("Authorization", "Bearer ours-good")
		if _, seen := ask(g, r); (seen == nil) != strings.Contains(pair[0]+pair[1], "admin") {
			t.Errorf("%v: signed in, reached %v", pair, seen != nil)
		}
	}
	r := pathRequest("/free")
	r.RequestURI = "/auth/login"
	if place, _ := g.Own(r); place != Nowhere {
		t.Errorf("own path by the target alone: got %v", place)
	}
	r = pathRequest("/public/x")
	r.URL.RawPath = "/public/..%2fx"
	if g.isPublic(r) {
		t.Error("an odd RawPath is public")
	}
	r.RequestURI = ""
	if got := target(&http.Request{URL: &url.URL{Path: "/a b"}}); got != "/a%20b" {
		t.Errorf("target without RequestURI: got %q", got)
	}
}

func TestNamedMatchers(t *testing.T) {
	below := func(prefix string) func(*http.Request) bool {
		return func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, prefix) }
	}
	g := newGate(t, &fake{}, func(c *Config) {
		c.PublicMatch = []func(*http.Request) bool{below("/open")}
		c.Require = []Rule{{Match: []func(*http.Request) bool{below("/closed"), below("/Case")}, Roles: []string{"admin"}}}
	})
	for target, status := range map[string]int{
		"/open/x": 200, "/open/..%2fclosed": 401, "/open;/x": 401, "/other": 401, "/open//x": 401,
	} {
		if answer, _ := ask(g, pathRequest(target)); answer.StatusCode != status {
			t.Errorf("anonymous at %s: got %d, want %d", target, answer.StatusCode, status)
		}
	}
	for target, status := range map[string]int{
		"/closed/x": 403, "/open/..%2fclosed": 403, "/open/..;/closed/x": 403, "/x%2f..%2fclosed": 403, "/closed;x": 403,
		"/closed%3fx": 403, "/x//..;/Case": 403, "/x;y": 200, "/other": 200,
	} {
		r := pathRequest(target)
		r.Header.Set("Authorization", "Bearer ours-good")
		if answer, _ := ask(g, r); answer.StatusCode != status {
			t.Errorf("signed in at %s: got %d, want %d", target, answer.StatusCode, status)
		}
	}
}

// A matcher that says what is not public is asked about what an upstream may
// read as well.
func TestNamedMatcherOfTheRest(t *testing.T) {
	g := newGate(t, &fake{}, func(c *Config) {
		c.PublicMatch = []func(*http.Request) bool{func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/admin/") }}
	})
	for target, status := range map[string]int{
		"/x": 200, "/x.": 200, "/図面（１）.pdf": 200, "/admin/x": 401,
		"/admin./x": 401, "/admin%20/x": 401, "/ａdmin/x": 401, "/%ef%bd%81dmin/x": 401,
	} {
		if answer, _ := ask(g, pathRequest(target)); answer.StatusCode != status {
			t.Errorf("anonymous at %s: got %d, want %d", target, answer.StatusCode, status)
		}
	}
}

// No spelling of our own routes may reach the upstream, which could have
// routes of the same name.
func TestOwnPathsNeverReachTheUpstream(t *testing.T) {
	g := newGate(t, &fake{}, func(c *Config) { c.Public = []string{"/*"} })
	for target, want := range map[string]string{
		"/api/v1/auth": "api", "/api/v1/auth/": "api/", "/api/v1/auth/otp": "api/otp", "/API/v1/Auth/otp/AbC": "api/otp/AbC",
		"/api/v1/%61uth/x": "api/x", "/auth": "pages", "/auth/login?x=/admin": "pages/login", "/AUTH/login": "pages/login",
		"/api/v1/auth//otp": "nowhere", "/api//v1/auth/otp": "nowhere", "/api/v1/x/../auth/otp": "nowhere", "/api/v1/auth;x/otp": "nowhere",
		"/api%2fv1/auth/otp": "nowhere", "/x/..%5cauth/login": "nowhere", "/%2561uth/login": "nowhere", "/auth%00": "nowhere",
		"/auth%3fx": "nowhere", "//auth/login": "nowhere", "/./auth": "nowhere", "/%5cauth": "nowhere", "/auth/../x": "nowhere",
		"/%25252525252561uth": "nowhere", "/%c0%afauth": "nowhere", "/%61pi/v1/auth%2f": "nowhere",
		"/authx": "", "/api/v1/authx": "", "/api/v1": "", "/x/auth/login": "", "/x;auth": "",
		"/" + strings.Repeat("a/", 4096) + "/": "nowhere",
	} {
		r := pathRequest(target)
		r.Header.Set("Authorization", "Bearer ours-good")
		answer, seen := ask(g, r)
		body := make([]byte, 200)
		n, _ := answer.Body.Read(body)
		if got := string(body[:n]); got != want || (seen != nil) != (want == "") {
			t.Errorf("%.40s: got %q, reached %v", target, got, seen != nil)
		}
	}
	nested := newGate(t, &fake{}, func(c *Config) { c.API, c.Pages = "/auth/api", "/auth" })
	if place, rest := nested.Own(pathRequest("/auth/api/otp")); place != API || rest != "/otp" {
		t.Errorf("api below pages: got %v %q", place, rest)
	}
	look := newGate(t, &fake{}, func(c *Config) { c.API = "/kit" })
	if place, _ := look.Own(pathRequest("/%E2%84%AAit/x")); place != Nowhere {
		t.Errorf("a letter that looks like ours: got %v", place)
	}
}

// A path that asks for endless work gets none: past the bounds it counts as
// unreadable.
func TestReadingsAreBounded(t *testing.T) {
	for name, target := range map[string]string{
		"too long":  strings.Repeat("/a//", maxHardTarget/4+1),
		"too deep":  "/%2525252541",
		"too many":  "/a;%00/%3f;//b\\%0a/../%2523;/%2500//%253b/..%255c%250a;/%253f//%25253f;%252500",
		"not UTF-8": "/%c0%ae",
		"too much":  strings.Repeat("/a.;%2e\\//%252f", maxHardTarget/15), // 25 readings, most of 2 to 4 KiB
	} {
		r := pathRequest(target)
		all, ok := readings(r)
		if ok || len(all) > 2*maxReadings {
			t.Errorf("%s: got %d readings, ok %v", name, len(all), ok)
		}
		applied := 0
		_ = newGate(t, &fake{}, nil).requirements(r, func(rule) error { applied++; return nil })
		if applied != 2 {
			t.Errorf("%s: %d rules apply, want all 2", name, applied)
		}
	}
}

// A long path that is odd in one way is read like a short one: it does not meet
// rules that are not for it.
func TestLongOddPathsAreRead(t *testing.T) {
	for _, target := range []string{
		"/files/" + strings.Repeat("a%2Fb", 800), "/files/" + strings.Repeat("x", 3900) + ";v=1", "/files/" + strings.Repeat("a.", 1900) + "/x",
	} {
		if all, ok := readings(pathRequest(target)); !ok {
			t.Errorf("%.20s…: %d readings are too many", target, len(all))
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, target := range spellings {
		f.Add(target)
	}
	f.Add("/public/x")
	f.Add("/auth/login")
	g := newGate(f, &fake{}, nil)
	admin := g.rules[0]
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		r := &http.Request{Method: "GET", URL: u, RequestURI: target, Header: http.Header{}}
		plain := Plain(r)
		if g.isPublic(r) && !plain {
			t.Fatalf("%q is public and not plain", target)
		}
		all, ok := readings(r)
		if plain && len(target) <= maxHardTarget && !strings.Contains(target, "%") && !ok {
			t.Fatalf("%q is plain and unreadable", target)
		}
		closed, own := !plain && !ok, !plain && !ok
		for _, reading := range all {
			closed = closed || admin.closesPath(foldPath(reading, true))
			own = own || g.ownPath(foldPath(reading, true)) != Upstream
		}
		applied := false
		_ = g.requirements(r, func(c rule) error {
			applied = applied || c.roles != nil
			return nil
		})
		if closed && !applied {
			t.Fatalf("%q: a reading is under the rule, and the rule does not apply (%q)", target, all)
		}
		if place, _ := g.Own(r); own && place == Upstream {
			t.Fatalf("%q: a reading is ours, and the upstream gets it (%q)", target, all)
		}
	})
}
