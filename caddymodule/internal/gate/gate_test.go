package gate

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// someone is the identity behind the credential "ours-good".
var someone = auth.Identity{
	UserID: 42, Type: "customer", Roles: []string{"customer", "support"}, RolesText: "customer,support",
	SessionID: auth.SessionID{1, 2, 3}, DeviceID: "phone-1", AuthTime: noon.Add(-time.Hour),
}

// fake stands for the domain: tokens begin with "ours-", and what follows says
// how they fare.
type fake struct {
	id        auth.Identity
	successor string
	asked     int  // calls that reached the sessions
	rotate    bool // of the last call

	boarded chan auth.Cutter // who has boarded; nil: nobody looks
	live    auth.Live        // has those on board
	active  atomic.Int64     // how often the person has sent something
}

func (f *fake) Board(flight *auth.Flight, id auth.SessionID, c auth.Cutter) {
	f.live.Board(flight, id, c)
	if f.boarded != nil {
		f.boarded <- c
	}
}

func (f *fake) Active(auth.SessionID, time.Time) { f.active.Add(1) }

// hears waits until the person has sent something.
func (f *fake) hears(t *testing.T) {
	t.Helper()
	for began := time.Now(); f.active.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("nobody hears that the person sends something")
		}
	}
}

func (f *fake) IsOurs(token string) bool { return strings.HasPrefix(token, "ours-") }

func (f *fake) Verify(token string) (auth.Proof, error) {
	if token == "ours-expired" {
		return auth.Proof{}, auth.Refuse(auth.CodeTokenExpired)
	}
	return auth.Proof{UserID: uint64(len(token))}, nil
}

func (f *fake) Authenticate(_ context.Context, p auth.Proof, _ auth.Use) (auth.Identity, error) {
	f.asked++
	switch p.UserID {
	case uint64(len("ours-revoked")):
		return auth.Identity{}, auth.Refuse(auth.CodeSessionRevoked)
	case uint64(len("ours-fault")):
		return auth.Identity{}, auth.ErrUnavailable
	}
	return f.id, nil
}

func (f *fake) AuthenticateCookie(_ context.Context, value string, _ auth.Use, rotate bool) (auth.Identity, string, time.Duration, error) {
	f.asked++
	f.rotate = rotate
	switch value {
	case "good":
		if rotate {
			return f.id, f.successor, time.Hour, nil
		}
		return f.id, "", 0, nil
	case "fault":
		return f.id, "x", 0, auth.ErrUnavailable
	case "reused":
		return f.id, "x", 0, auth.Refuse(auth.CodeRefreshReused)
	}
	return f.id, "x", 0, auth.Refuse(auth.CodeRefreshInvalid)
}

func problem(w http.ResponseWriter, _ *http.Request, refusal *auth.Error, credential bool) {
	status := map[auth.Code]int{
		auth.CodeInvalidRequest: 400, auth.CodeInsufficientRole: 403, auth.CodeCrossOrigin: 403,
		codeMethodNotAllowed: 405, codeTooEarly: 425, auth.CodeStoreUnavailable: 503, auth.CodeAccountDisabled: 403,
	}[refusal.Code]
	if credential {
		status = 401
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Sidegate-Error", string(refusal.Code))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": string(refusal.Code)})
}

func newGate(t testing.TB, f *fake, change func(*Config)) *Gate {
	t.Helper()
	if f.id.UserID == 0 {
		f.id = someone
	}
	c := Config{
		Pages: "/auth", Public: []string{"/public/*", "/healthz"},
		Require: []Rule{
			{Paths: []string{"/admin/*", "/public/secret/*"}, Roles: []string{"admin"}},
			{Paths: []string{"/money"}, Fresh: 5 * time.Minute},
		},
		Sessions: f, Tokens: f, Problem: problem, Now: func() time.Time { return noon },
		CookieName: func(*http.Request) string { return hostCookie },
	}
	if change != nil {
		change(&c)
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// request makes a request from a raw target and header lines "Name: value",
// whose names are taken as they stand.
func request(t testing.TB, method, target string, lines ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, "/", nil)
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatalf("target %q: %v", target, err)
	}
	r.URL, r.RequestURI, r.Host = u, target, "app.example.com"
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header[name] = append(r.Header[name], value)
	}
	return r
}

// serve is the gate in front of an upstream, as caddymodule wires it.
func serve(g *Gate, w http.ResponseWriter, r *http.Request, upstream http.HandlerFunc) {
	if refusal := g.Firewall(r); refusal != nil {
		g.Refuse(w, r, refusal)
		return
	}
	if place, rest := g.Own(r); place != Upstream {
		if place == Nowhere {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, map[Place]string{API: "api", Pages: "pages", Nowhere: "nowhere"}[place]+rest)
		return
	}
	c, refusal := g.Credential(r)
	if refusal != nil {
		g.Refuse(w, r, refusal)
		return
	}
	p, refusal := g.Decide(r, c)
	if refusal != nil {
		g.Refuse(w, r, refusal)
		return
	}
	p.Identify(r)
	defer p.Done()
	upstream(p.Depart(w, r), r)
	if p.Aborted() {
		panic(http.ErrAbortHandler)
	}
}

// ask sends a request through and returns the answer and what the upstream saw
// (nil when it was not reached).
func ask(g *Gate, r *http.Request) (*http.Response, *http.Request) {
	w := httptest.NewRecorder()
	var seen *http.Request
	serve(g, w, r, func(_ http.ResponseWriter, r *http.Request) { seen = r })
	return w.Result(), seen
}

func TestNewRefusesWhatCannotBeMeant(t *testing.T) {
	f := &fake{}
	for name, change := range map[string]func(*Config){
		"a pattern without a slash":            func(c *Config) { c.Public = []string{"assets/*"} },
		"a star inside":                        func(c *Config) { c.Public = []string{"/a/*/b"} },
		"a pattern with an escape":             func(c *Config) { c.Public = []string{"/a%20b"} },
		"a pattern with dots":                  func(c *Config) { c.Public = []string{"/a/../b"} },
		"a pattern with a double slash":        func(c *Config) { c.Public = []string{"/a//b"} },
		"a pattern that ends in slashes":       func(c *Config) { c.Public = []string{"/a//"} },
		"a rule without paths":                 func(c *Config) { c.Require = []Rule{{Roles: []string{"x"}}} },
		"a rule with a bad path":               func(c *Config) { c.Require = []Rule{{Paths: []string{"x"}}} },
		"a rule with negative freshness":       func(c *Config) { c.Require = []Rule{{Paths: []string{"/x"}, Fresh: -1}} },
		"a prefix that eats cookies":           func(c *Config) { c.HeaderPrefix = "C" },
		"a prefix that eats content headers":   func(c *Config) { c.HeaderPrefix = "Content-" },
		"a prefix that eats our own checks":    func(c *Config) { c.HeaderPrefix = "Sec-Fetch-" },
		"a prefix with a byte beyond names":    func(c *Config) { c.HeaderPrefix = "X_Auth-" },
		"an api at the root":                   func(c *Config) { c.API = "/" },
		"an api with a dot at the end":         func(c *Config) { c.API = "/api." },
		"an api with a slash at the end":       func(c *Config) { c.API = "/api/" },
		"pages without a slash":                func(c *Config) { c.Pages = "auth" },
		"api and pages at the same place":      func(c *Config) { c.API = "/Auth" },
		"no sessions":                          func(c *Config) { c.Sessions = nil },
		"a control character in a public path": func(c *Config) { c.Public = []string{"/a\n"} },
	} {
		c := Config{Pages: "/auth", Sessions: f, Tokens: f, Problem: problem}
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDefaults(t *testing.T) {
	f := &fake{}
	g, err := New(Config{Sessions: f, Tokens: f, Problem: problem})
	if err != nil {
		t.Fatal(err)
	}
	if place, rest := g.Own(request(t, "GET", "/api/v1/auth/health")); place != API || rest != "/health" {
		t.Errorf("default api: got %v %q", place, rest)
	}
	if place, _ := g.Own(request(t, "GET", "/auth/login")); place != Upstream {
		t.Errorf("pages off: got %v", place)
	}
	if got := g.headers[userID]; got != "X-Auth-User-Id" {
		t.Errorf("default header: got %q", got)
	}
	if got := g.config.OriginalURI(request(t, "GET", "/x?y")); got != "/x?y" {
		t.Errorf("original target: got %q", got)
	}
}
