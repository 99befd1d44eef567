package gate

import (
	"net/http"
	"slices"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Passage is one request that may pass.
type Passage struct {
	Identity auth.Identity // the zero Identity when SignedIn is false
	SignedIn bool

	gate   *Gate
	cookie string    // a Set-Cookie line for the browser
	values [6]string // backing array of the identity headers' slices
	buffer [64]byte  // backing array of some of the values: at most 20 + 22 + 20 bytes
	answer Response
	trip   trip
}

// Decide finds out whose request it is and whether the rules let it pass.
//
// On a public path a dead credential means anonymous. A fault of ours is 503
// there too: "anonymous" is a verdict, and we have none.
func (g *Gate) Decide(r *http.Request, c Credential) (*Passage, *auth.Error) {
	// Before the session hears of it: another site's page must not keep one alive.
	if c.HasCookie && CrossOrigin(r, g.config.Origin) {
		return nil, auth.Refuse(auth.CodeCrossOrigin)
	}
	p := &Passage{gate: g}
	// Not every browser keeps a cookie that comes with the 101 of a WebSocket.
	return p.judge(r, p.identify(r, c, !handshake(r.Header)))
}

// Resume is Decide for a request that comes back after its passage, as to an
// error's page. Its credential was taken out of it then, so its identity stands.
func (g *Gate) Resume(r *http.Request, before *Passage) (*Passage, *auth.Error) {
	p := &Passage{gate: g, Identity: before.Identity, SignedIn: before.SignedIn}
	if !p.SignedIn {
		return p.judge(r, auth.Refuse(auth.CodeTokenMissing))
	}
	return p.judge(r, nil)
}

// judge holds the request to the rules. refusal is why it has no identity.
func (p *Passage) judge(r *http.Request, refusal *auth.Error) (*Passage, *auth.Error) {
	g := p.gate
	if refusal != nil && (fault(refusal) || !g.isPublic(r)) {
		return nil, refusal
	}
	err := g.requirements(r, func(rule rule) error {
		if refusal != nil {
			return refusal
		}
		return rule.holds(p.Identity, g.config.Now)
	})
	if err != nil {
		return nil, auth.AsError(err)
	}
	return p, nil
}

// identify authenticates the credential, and gives the refusal for a request
// that has none or a dead one. With rotate the cookie may get a successor.
func (p *Passage) identify(r *http.Request, c Credential, rotate bool) *auth.Error {
	var err error
	switch {
	case c.HasCookie:
		err = p.fromCookie(r, c.Cookie, rotate)
	case c.Token != "":
		err = p.fromToken(r, c.Token)
	case c.Foreign:
		return auth.Refuse(auth.CodeTokenInvalid)
	default:
		return auth.Refuse(auth.CodeTokenMissing)
	}
	if err != nil {
		p.Identity, p.cookie = auth.Identity{}, ""
		return asCredentialError(err)
	}
	p.SignedIn = true
	return nil
}

func (p *Passage) fromToken(r *http.Request, token string) error {
	proof, err := p.gate.config.Tokens.Verify(token)
	if err != nil {
		return err
	}
	p.Identity, err = p.gate.config.Sessions.Authenticate(r.Context(), proof, auth.Activity)
	return err
}

func (p *Passage) fromCookie(r *http.Request, value string, rotate bool) error {
	id, successor, maxAge, err := p.gate.config.Sessions.AuthenticateCookie(r.Context(), value, auth.Activity, rotate)
	if err != nil {
		return err
	}
	p.Identity = id
	if successor != "" {
		p.cookie = setCookie(p.gate.config.CookieName(r), successor, maxAge)
	}
	return nil
}

// asCredentialError gives a refusal the code it has for a proxied request: the
// cookie's value is a ticket to the domain and a credential here.
func asCredentialError(err error) *auth.Error {
	refusal := auth.AsError(err)
	code := refusal.Code
	switch code {
	case auth.CodeRefreshInvalid:
		code = auth.CodeTokenInvalid
	case auth.CodeRefreshReused:
		code = auth.CodeSessionRevoked
	default:
		return refusal
	}
	changed := *refusal
	changed.Code = code
	return &changed
}

// aboutCredential reports the codes that mean "this credential is no good".
func aboutCredential(code auth.Code) bool {
	switch code {
	case auth.CodeTokenMissing, auth.CodeTokenInvalid, auth.CodeTokenExpired,
		auth.CodeSessionExpired, auth.CodeSessionRevoked, auth.CodeReauthRequired:
		return true
	}
	return false
}

// fault reports what is not a verdict on the credential: trouble of the store,
// and every code that we do not expect here.
func fault(refusal *auth.Error) bool {
	return !aboutCredential(refusal.Code) && refusal.Code != auth.CodeAccountDisabled
}

func (c rule) holds(id auth.Identity, now func() time.Time) error {
	if len(c.roles) > 0 && !slices.ContainsFunc(c.roles, func(role string) bool { return slices.Contains(id.Roles, role) }) {
		return auth.Refuse(auth.CodeInsufficientRole)
	}
	if c.fresh > 0 && !auth.Fresh(id.AuthTime, now(), c.fresh) {
		return auth.Refuse(auth.CodeReauthRequired)
	}
	return nil
}
