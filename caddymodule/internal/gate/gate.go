// Package gate is the way of a request to the upstream: the header firewall,
// the rules for paths, the credential, the identity headers, and what is taken
// out of the answer. It knows net/http and the domain, and no Caddy.
//
// A request passes the stages in this order, and each one stands for itself:
//
//	refusal := g.Firewall(r)             // always first
//	place, rest := g.Own(r)              // our own routes never reach the upstream
//	credential, refusal := g.Credential(r)
//	passage, refusal := g.Decide(r, credential)
//	passage.Identify(r)                  // last: nothing that fails leaves an identity
//	next(passage.Depart(w, r), r)        // on the way it can be cut
//	passage.Done()
//
// A refusal at any stage goes to g.Refuse.
package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Sessions says whether the session behind a credential lives. All methods
// are safe for concurrent use. A refusal is an *auth.Error; any other error is
// a fault of ours, which refuses the request and signs nobody out.
type Sessions interface {
	Authenticate(ctx context.Context, p auth.Proof, use auth.Use) (auth.Identity, error)
	// AuthenticateCookie reads the cookie's value. With rotate it may return a
	// successor, which the browser is to be given for maxAge.
	AuthenticateCookie(ctx context.Context, value string, use auth.Use, rotate bool) (id auth.Identity, successor string, maxAge time.Duration, err error)
	// Board watches over a request of a session until its flight leaves: when
	// the session ends before, the request is cut.
	Board(f *auth.Flight, id auth.SessionID, c auth.Cutter)
	// Active notes that the person has sent something in a request on its way.
	Active(id auth.SessionID, at time.Time)
}

// Tokens reads access tokens.
type Tokens interface {
	Verify(token string) (auth.Proof, error)
	// IsOurs tells, generously, whether somebody could take the text for a
	// token of ours. Such a text never reaches an upstream.
	IsOurs(token string) bool
}

// Problem writes a refusal as application/problem+json with all its headers.
// credential is set when the refusal is about the access token or cookie of a
// request: such an answer is 401, where the same code elsewhere is 400.
type Problem func(w http.ResponseWriter, r *http.Request, refusal *auth.Error, credential bool)

// Config is what a Gate is made of.
type Config struct {
	API          string // path prefix of the JSON API; default /api/v1/auth
	Pages        string // path prefix of the hosted pages; empty: none
	HeaderPrefix string // of the identity headers; default X-Auth-
	Origin       string // public origin, for browsers without Fetch Metadata; may be empty

	Public      []string                   // path patterns that need no session
	PublicMatch []func(*http.Request) bool // named matchers that need none; asked for plain paths only
	Require     []Rule

	Sessions Sessions
	Tokens   Tokens
	Problem  Problem
	Now      func() time.Time // default time.Now

	// CookieName gives the cookie's name for a request; default CookieName.
	CookieName func(*http.Request) string
	// OriginalURI gives the request target as the client sent it, for
	// return_to; default: the one of the request, which a rewrite changes.
	OriginalURI func(*http.Request) string
}

// Rule is a requirement on some paths. Every rule that matches a request must
// hold, on public paths too.
type Rule struct {
	Paths []string                   // path patterns
	Match []func(*http.Request) bool // named matchers
	Roles []string                   // any of these; none: being signed in is enough
	Fresh time.Duration              // the last code is at most this old; 0: any age
}

// Gate carries out one site's rules. It is safe for concurrent use.
type Gate struct {
	config  Config
	prefix  string    // HeaderPrefix, folded
	headers [6]string // canonical names of the identity headers
	public  []pattern
	rules   []rule
	api     string // folded
	pages   string // folded
}

// The places of the identity headers.
const (
	userID = iota
	userType
	userRoles
	sessionID
	deviceID
	authTime
)

var headerNames = [...]string{"User-Id", "User-Type", "User-Roles", "Session-Id", "Device-Id", "Time"}

// New checks a configuration and makes its gate.
func New(c Config) (*Gate, error) {
	c.setDefaults()
	if c.Sessions == nil || c.Tokens == nil || c.Problem == nil {
		return nil, errors.New("gate: Sessions, Tokens and Problem are needed")
	}
	g := &Gate{config: c, prefix: foldName(c.HeaderPrefix)}
	if err := g.setNames(); err != nil {
		return nil, err
	}
	if err := g.setOwn(); err != nil {
		return nil, err
	}
	for _, text := range c.Public {
		p, err := parsePattern(text, false)
		if err != nil {
			return nil, fmt.Errorf("public: %w", err)
		}
		g.public = append(g.public, p)
	}
	for _, r := range c.Require {
		compiled, err := compileRule(r)
		if err != nil {
			return nil, fmt.Errorf("require: %w", err)
		}
		g.rules = append(g.rules, compiled)
	}
	return g, nil
}

func (c *Config) setDefaults() {
	if c.API == "" {
		c.API = "/api/v1/auth"
	}
	if c.HeaderPrefix == "" {
		c.HeaderPrefix = "X-Auth-"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.CookieName == nil {
		c.CookieName = CookieName
	}
	if c.OriginalURI == nil {
		c.OriginalURI = func(r *http.Request) string { return r.RequestURI }
	}
}

// neededHeaders are those that HTTP, browsers or we cannot do without, one for
// each beginning.
var neededHeaders = [...]string{
	"Accept-Encoding", "Access-Control-Request-Method", "Cache-Control", "Content-Type", "If-Match", "Last-Event-Id", "Proxy-Authorization",
	"Sec-Fetch-Site", "Sec-Websocket-Key", "Set-Cookie", "Sidegate-Error", "Transfer-Encoding", "User-Agent", "Www-Authenticate",
	"X-Forwarded-For", "X-Original-Uri", "X-Real-Ip", "X-Request-Id",
}

// setNames refuses prefixes that would make the firewall delete what a request
// needs, such as "C" for Cookie and Content-Length.
func (g *Gate) setNames() error {
	const least = 3
	if len(g.prefix) < least || g.prefix[len(g.prefix)-1] != '-' || g.prefix[0] == '-' {
		return fmt.Errorf("header_prefix %q: use a name that ends in '-', such as X-Auth-", g.config.HeaderPrefix)
	}
	for i := range len(g.config.HeaderPrefix) {
		if c := g.config.HeaderPrefix[i]; foldByte(c) == '-' && c != '-' {
			return fmt.Errorf("header_prefix %q: only letters, digits and '-' are allowed", g.config.HeaderPrefix)
		}
	}
	for _, needed := range neededHeaders {
		if hasFoldedPrefix(needed, g.prefix) {
			return fmt.Errorf("header_prefix %q: this would delete %s; use a prefix of your own, such as X-Auth-", g.config.HeaderPrefix, needed)
		}
	}
	for i, name := range headerNames {
		g.headers[i] = http.CanonicalHeaderKey(g.config.HeaderPrefix + name)
	}
	return nil
}
