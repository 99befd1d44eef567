package api

import (
	"net/http"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// credentials are what a request brings to say whom it is from, unchecked.
type credentials struct {
	bearer, cookie       string
	hasBearer, hasCookie bool
}

// credentialsOf reads them. A repeated one is refused: two readers could
// choose differently.
func (a *API) credentialsOf(r *http.Request) (c credentials, err error) {
	lines := r.Header.Values("Authorization")
	cookies := r.CookiesNamed(a.CookieName(r))
	if len(lines) > 1 || len(cookies) > 1 {
		return c, invalid("A credential is given twice.")
	}
	if len(lines) == 1 {
		token, isBearer, isOne := a.Bearer(lines[0])
		switch {
		case isBearer && !isOne:
			return c, invalid("The Authorization header does not hold exactly one token.")
		case isBearer:
			c.bearer, c.hasBearer = token, true
		}
	}
	if len(cookies) == 1 {
		c.cookie, c.hasCookie = cookies[0].Value, true
		if cookies[0].Quoted {
			c.cookie = "" // never written by us: no credential of ours
		}
	}
	return c, nil
}

// owner is the signed-in session that a request is from.
type owner struct {
	proof  auth.Proof
	cookie bool // it came as the cookie
}

// owner authenticates a request. A cookie that is due is renewed on the way.
func (a *API) owner(w http.ResponseWriter, r *http.Request) (owner, error) {
	c, err := a.credentialsOf(r)
	switch {
	case err != nil:
		return owner{}, err
	case c.hasBearer && c.hasCookie:
		return owner{}, invalid("Send the access token or the cookie, not both.")
	case c.hasBearer:
		return a.bearerOwner(r, c.bearer)
	case c.hasCookie:
		return a.cookieOwner(w, r, c.cookie)
	}
	return owner{}, auth.Refuse(auth.CodeTokenMissing)
}

func (a *API) bearerOwner(r *http.Request, token string) (owner, error) {
	proof, err := a.Tokens.Verify(token)
	if err != nil {
		return owner{}, err
	}
	_, err = a.Service.Authenticate(r.Context(), proof, auth.Access)
	return owner{proof: proof}, err
}

func (a *API) cookieOwner(w http.ResponseWriter, r *http.Request, value string) (owner, error) {
	proof, ok := a.Service.ProofOfTicket(value)
	if !ok {
		return owner{}, auth.Refuse(auth.CodeTokenInvalid)
	}
	id, rotated, maxAge, err := a.Service.AuthenticateCookie(r.Context(), value, auth.Access, true)
	if err != nil {
		return owner{}, err
	}
	if rotated != "" {
		a.SetCookie(w, r, rotated, maxAge)
	}
	proof.UserID = id.UserID
	return owner{proof: proof, cookie: true}, nil
}

// formerOwner is whom a genuine credential was from, when its session may be
// over or the access token too old. It grants nothing but a look at how that
// very session ended.
func (a *API) formerOwner(r *http.Request) (auth.Proof, bool) {
	c, err := a.credentialsOf(r)
	if err != nil {
		return auth.Proof{}, false
	}
	if c.hasBearer {
		proof, err := a.Tokens.VerifyIgnoringExpiry(c.bearer)
		return proof, err == nil
	}
	return a.Service.ProofOfTicket(c.cookie)
}
