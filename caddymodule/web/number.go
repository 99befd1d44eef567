package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// mover is the owner of the request's cookie, who may change the number now.
func (p *Pages) mover(w http.ResponseWriter, r *http.Request) (auth.Proof, error) {
	owner, err := p.owner(w, r)
	if err == nil {
		err = p.Service.PhoneChangeable(r.Context(), owner)
	}
	return owner, err
}

// movable reports whether there is a way to change the number, if need be after
// a wait or a fresh sign-in.
func (p *Pages) movable(ctx context.Context, owner auth.Proof) (bool, error) {
	err := p.Service.PhoneChangeable(ctx, owner)
	switch {
	case errors.Is(err, auth.Refuse(auth.CodeNotFound)):
		return false, nil
	case errors.Is(err, auth.Refuse(auth.CodeReauthRequired)), errors.Is(err, auth.Refuse(auth.CodeRateLimited)):
		err = nil
	}
	return err == nil, err
}

// number shows the form for a new number.
func (p *Pages) number(w http.ResponseWriter, r *http.Request) error {
	if _, err := p.mover(w, r); err != nil {
		return p.notNow(w, r, err)
	}
	return p.show(w, r, http.StatusOK, "number", view{Title: "number_title", Self: "/account/phone"})
}

// notNow answers whoever may not change the number, whatever the new one is:
// after a fresh sign-in the form comes back.
func (p *Pages) notNow(w http.ResponseWriter, r *http.Request, err error) error {
	switch auth.AsError(err).Code {
	case auth.CodeTokenMissing, auth.CodeReauthRequired, auth.CodeSessionExpired, auth.CodeSessionRevoked:
		return to("/login", "return_to", p.Base+"/account/phone")(p, w, r)
	case auth.CodeRateLimited:
		v := view{Title: "number_title", Self: "/account/phone"}
		status := p.refused(w, r, err, &v)
		v.Alert = "changed_too_often"
		return p.show(w, r, status, "number", v)
	}
	return err
}

// move is a form of somebody who may change the number now.
type move struct {
	owner auth.Proof
	form  url.Values
}

// moving makes a page's handler of one that takes such a form.
func moving(take func(p *Pages, w http.ResponseWriter, r *http.Request, m move) error) handler {
	return func(p *Pages, w http.ResponseWriter, r *http.Request) error {
		owner, err := p.mover(w, r)
		if err != nil {
			return p.notNow(w, r, err)
		}
		f, err := form(w, r)
		if err != nil {
			return err
		}
		return take(p, w, r, move{owner, f})
	}
}

// sendToNumber takes the form for a new number and shows the code form.
func (p *Pages) sendToNumber(w http.ResponseWriter, r *http.Request, m move) error {
	v := view{Phone: m.form.Get("phone")}
	if err := p.start(r, m.form, &v, p.toNumberOf(m.owner)); err != nil {
		return p.numberAgain(w, r, "number", v, err)
	}
	return p.show(w, r, http.StatusOK, "number-code", v)
}

// resendToNumber sends the same code once more.
func (p *Pages) resendToNumber(w http.ResponseWriter, r *http.Request, m move) error {
	v := p.numberView(m.form)
	if err := p.start(r, m.form, &v, p.toNumberOf(m.owner)); err != nil {
		return p.numberAgain(w, r, "number-code", v, err)
	}
	v.Notice = "resent"
	return p.show(w, r, http.StatusOK, "number-code", v)
}

func (p *Pages) toNumberOf(owner auth.Proof) starting {
	return func(ctx context.Context, r auth.StartRequest) (auth.Pending, error) {
		return p.Service.StartPhoneChange(ctx, owner, r)
	}
}

// numberView is codeView for the code form of a change.
func (p *Pages) numberView(f url.Values) view {
	v := p.codeView(f)
	v.ReturnTo, v.EndOthers = "", f.Has("end_others")
	return v
}

// checkNumber takes the code form and changes the number.
func (p *Pages) checkNumber(w http.ResponseWriter, r *http.Request, m move) error {
	v, code := p.numberView(m.form), auth.EnteredCode(m.form.Get("code"))
	if !auth.IsCode(code) {
		return p.slip(w, r, "number-code", v)
	}
	_, proof, err := p.Service.ChangePhone(r.Context(), m.owner, auth.ChangeRequest{
		ChallengeID: v.ChallengeID, Code: code, EndOthers: v.EndOthers,
		ClientIP: p.ClientIP(r), DeviceProof: p.DeviceProof(r), Locale: p.frame(r).Lang(),
	})
	switch {
	case errors.Is(err, auth.Refuse(auth.CodeRateLimited)): // another change came first
		return p.notNow(w, r, err)
	case err != nil && formAfter(err) == "phone":
		return p.numberAgain(w, r, "number", v, err)
	case err != nil:
		return p.numberAgain(w, r, "number-code", v, err)
	}
	p.SetDeviceProof(w, r, proof)
	if v.EndOthers {
		return to("/account", "done", "number_others")(p, w, r)
	}
	return to("/account", "done", "number")(p, w, r)
}

// numberAgain shows a form of the change with what was wrong.
func (p *Pages) numberAgain(w http.ResponseWriter, r *http.Request, name string, v view, err error) error {
	switch auth.AsError(err).Code {
	case auth.CodeReauthRequired, auth.CodeSessionExpired, auth.CodeSessionRevoked, auth.CodeNotFound: // just now
		return p.notNow(w, r, err)
	}
	return p.again(w, r, name, v, err)
}
