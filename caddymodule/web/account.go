package web

import (
	"errors"
	"net/http"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// row is a session in the list.
type row struct {
	ID, Name, Platform string
	Used, SignedIn     time.Time
	Current            bool
	New                bool // signed in a short while ago, and not this one
}

// newFor is how long a session is marked as new on the account page: whoever
// looks once a day sees a stranger's.
const newFor = 24 * time.Hour

// done says what a form has done, after the redirect.
var done = map[string]string{
	"one": "ended_one", "others": "ended_others", "number": "number_changed", "number_others": "number_changed_others",
}

// errSignedOut sends the person to the phone form.
var errSignedOut = auth.Refuse(auth.CodeTokenMissing)

// owner is the session of the request's cookie; errSignedOut when there is
// none that lives. A cookie that is due is renewed on the way.
func (p *Pages) owner(w http.ResponseWriter, r *http.Request) (auth.Proof, error) {
	value, proof, ok := p.ticket(r)
	if !ok {
		return proof, errSignedOut
	}
	id, rotated, maxAge, err := p.Service.AuthenticateCookie(r.Context(), value, auth.Activity, true)
	switch auth.AsError(err).Code {
	case auth.CodeSessionExpired, auth.CodeSessionRevoked, auth.CodeTokenInvalid, auth.CodeRefreshInvalid, auth.CodeRefreshReused:
		return proof, errSignedOut
	}
	if err != nil {
		return proof, err
	}
	if rotated != "" {
		p.SetCookie(w, r, rotated, maxAge)
	}
	proof.UserID = id.UserID
	return proof, nil
}

// ticket reads the cookie. One that comes twice is read as none.
func (p *Pages) ticket(r *http.Request) (string, auth.Proof, bool) {
	cookies := r.CookiesNamed(p.CookieName(r))
	if len(cookies) != 1 || cookies[0].Quoted {
		return "", auth.Proof{}, false
	}
	proof, ok := p.Service.ProofOfTicket(cookies[0].Value)
	return cookies[0].Value, proof, ok
}

// account lists the owner's sessions.
func (p *Pages) account(w http.ResponseWriter, r *http.Request) error {
	owner, err := p.owner(w, r)
	if err != nil {
		return p.orLogin(w, r, err)
	}
	infos, err := p.Service.Sessions(r.Context(), owner)
	if err != nil {
		return err
	}
	movable, err := p.movable(r.Context(), owner)
	if err != nil {
		return err
	}
	v := view{
		Title: "account_title", Self: "/account", Notice: done[r.URL.Query().Get("done")],
		Others: len(infos) > 1, Movable: movable,
	}
	for _, s := range infos {
		v.Sessions = append(v.Sessions, row{
			ID: s.SessionID.String(), Name: s.DeviceName, Platform: s.Platform,
			Used: s.LastAccessed.UTC(), SignedIn: s.CreatedAt.UTC(), Current: s.Current,
			New: !s.Current && p.Now().Sub(s.CreatedAt) < newFor,
		})
	}
	return p.show(w, r, http.StatusOK, "account", v)
}

// orLogin sends whoever is signed out to the phone form and back here.
func (p *Pages) orLogin(w http.ResponseWriter, r *http.Request, err error) error {
	if !errors.Is(err, errSignedOut) {
		return err
	}
	return to("/login", "return_to", p.Base+"/account")(p, w, r)
}

// end takes the form that ends one session.
func (p *Pages) end(w http.ResponseWriter, r *http.Request) error {
	owner, err := p.owner(w, r)
	if err != nil {
		return p.orLogin(w, r, err)
	}
	f, err := form(w, r)
	if err != nil {
		return err
	}
	id, ok := auth.ParseSessionID(f.Get("session_id"))
	if !ok {
		return auth.Refuse(auth.CodeInvalidRequest)
	}
	if id == owner.SessionID {
		return p.leave(w, r, owner)
	}
	err = p.Service.Revoke(r.Context(), owner, id)
	if err != nil && !errors.Is(err, auth.Refuse(auth.CodeNotFound)) {
		return err
	}
	return to("/account", "done", "one")(p, w, r) // also when it was gone already
}

// endOthers takes the form that ends all sessions but this one.
func (p *Pages) endOthers(w http.ResponseWriter, r *http.Request) error {
	owner, err := p.owner(w, r)
	if err != nil {
		return p.orLogin(w, r, err)
	}
	if err := p.Service.RevokeOthers(r.Context(), owner); err != nil {
		return err
	}
	return to("/account", "done", "others")(p, w, r)
}

// logout takes the form that signs out. Any genuine cookie will do, however
// old: whoever holds one may end its session.
func (p *Pages) logout(w http.ResponseWriter, r *http.Request) error {
	_, proof, ok := p.ticket(r)
	if !ok {
		p.ClearCookie(w, r)
		return to("/login", "done", "out")(p, w, r)
	}
	return p.leave(w, r, proof)
}

// leave ends the own session. After a fault the cookie stays, so that it can
// be tried again.
func (p *Pages) leave(w http.ResponseWriter, r *http.Request, owner auth.Proof) error {
	err := p.Service.Logout(r.Context(), owner, auth.ScopeSession)
	switch auth.AsError(err).Code {
	case auth.CodeSessionExpired, auth.CodeSessionRevoked:
		err = nil
	}
	if err != nil {
		return err
	}
	p.ClearCookie(w, r)
	return to("/login", "done", "out")(p, w, r)
}
