package api

import (
	"errors"
	"net/http"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// logout answers POST /logout. Any genuine credential will do, however old:
// whoever holds one may end its session.
func (a *API) logout(w http.ResponseWriter, r *http.Request, _ string) error {
	f, err := readOptionalFields(w, r)
	if err != nil {
		return err
	}
	ticket, scope := f.text("refresh_token"), scopeOf(f)
	if f.err != nil {
		return f.err
	}
	c, err := a.credentialsOf(r)
	if err != nil {
		return err
	}
	proof, err := a.leaver(c, ticket)
	if err == nil {
		err = a.Service.Logout(r.Context(), proof, scope)
		if errors.Is(err, auth.Refuse(auth.CodeSessionExpired)) || errors.Is(err, auth.Refuse(auth.CodeSessionRevoked)) {
			err = nil // already over: that is what was asked for
		}
	}
	// A cookie of ours that cannot be read is of no use to anybody. After a
	// fault it stays, so that the logout can be repeated.
	unreadable := errors.Is(err, auth.Refuse(auth.CodeTokenInvalid)) && !c.hasBearer
	if c.hasCookie && scope != auth.ScopeOthers && (err == nil || unreadable) {
		a.ClearCookie(w, r)
	}
	if err != nil {
		return err
	}
	return noContent(w)
}

// leaver finds the one session that all given credentials name.
func (a *API) leaver(c credentials, ticket string) (auth.Proof, error) {
	var proofs []auth.Proof
	if c.hasBearer {
		proof, err := a.Tokens.VerifyIgnoringExpiry(c.bearer)
		if err != nil {
			return proof, err
		}
		proofs = append(proofs, proof)
	}
	if ticket != "" {
		proof, ok := a.Service.ProofOfTicket(ticket)
		if !ok {
			return proof, auth.Refuse(auth.CodeRefreshInvalid)
		}
		proofs = append(proofs, proof)
	}
	if c.hasCookie {
		proof, ok := a.Service.ProofOfTicket(c.cookie)
		if !ok {
			return proof, auth.Refuse(auth.CodeTokenInvalid)
		}
		proofs = append(proofs, proof)
	}
	if len(proofs) == 0 {
		return auth.Proof{}, auth.Refuse(auth.CodeTokenMissing)
	}
	for _, p := range proofs[1:] {
		if p.SessionID != proofs[0].SessionID {
			return p, invalid("The credentials are of different sessions.")
		}
	}
	return proofs[0], nil
}

func scopeOf(f *fields) auth.Scope {
	switch scope := auth.Scope(f.text("scope")); scope {
	case "":
		return auth.ScopeSession
	case auth.ScopeSession, auth.ScopeOthers, auth.ScopeAll:
		return scope
	}
	f.fail(`scope must be "session", "others" or "all".`)
	return auth.ScopeSession
}
