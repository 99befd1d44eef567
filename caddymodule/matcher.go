package caddymodule

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/sidegate/sidegate/caddymodule/internal/gate"
)

func init() { caddy.RegisterModule(Matcher{}) }

// Matcher matches requests of signed-in users, behind the sidegate handler. A
// request that no gate has let through never matches.
type Matcher struct {
	// The user needs any of these roles. Default: being signed in is enough.
	Roles []string `json:"roles,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Matcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.sidegate", New: func() caddy.Module { return new(Matcher) }}
}

// MatchWithError reports whether the request is a signed-in user's.
func (m Matcher) MatchWithError(r *http.Request) (bool, error) {
	p, ok := caddyhttp.GetVar(r.Context(), passageVar).(*gate.Passage)
	if !ok || !p.SignedIn {
		return false, nil
	}
	held := func(role string) bool { return slices.Contains(p.Identity.Roles, role) }
	return len(m.Roles) == 0 || slices.ContainsFunc(m.Roles, held), nil
}

// UnmarshalCaddyfile reads: sidegate [ROLE…]
func (m *Matcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		m.Roles = append(m.Roles, d.RemainingArgs()...)
		if d.NextBlock(0) {
			return d.Err("the sidegate matcher takes roles on its line, and no block")
		}
	}
	return nil
}

// Interface guards
var _ caddyhttp.RequestMatcherWithError = (*Matcher)(nil)
