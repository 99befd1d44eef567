package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// login shows the phone form. It does so also to somebody who is signed in:
// the gate sends people here for a fresh code, and sending them back would
// never end.
func (p *Pages) login(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	v := view{Title: "sign_in_title", Self: "/login", ReturnTo: p.ReturnTo(query.Get("return_to"))}
	if query.Get("done") == "out" {
		v.Notice = "signed_out"
	}
	return p.show(w, r, http.StatusOK, "phone", v)
}

// sendCode takes the phone form and shows the code form.
func (p *Pages) sendCode(w http.ResponseWriter, r *http.Request) error {
	f, err := form(w, r)
	if err != nil {
		return err
	}
	v := view{ReturnTo: p.ReturnTo(f.Get("return_to")), Phone: f.Get("phone")}
	if err := p.start(r, f, &v, p.Service.Start); err != nil {
		return p.again(w, r, "phone", v, err)
	}
	return p.show(w, r, http.StatusOK, "code", v)
}

// resend sends the same code once more.
func (p *Pages) resend(w http.ResponseWriter, r *http.Request) error {
	f, err := form(w, r)
	if err != nil {
		return err
	}
	v := p.codeView(f)
	if err := p.start(r, f, &v, p.Service.Start); err != nil {
		return p.again(w, r, "code", v, err)
	}
	v.Notice = "resent"
	return p.show(w, r, http.StatusOK, "code", v)
}

// starting is a way to ask for a code.
type starting func(context.Context, auth.StartRequest) (auth.Pending, error)

// start asks for a code and readies the view for the code form.
func (p *Pages) start(r *http.Request, f url.Values, v *view, ask starting) error {
	v.Proof, v.LastProof = f.Get("proof"), f.Get("last_proof")
	phone, err := p.ParsePhone(strings.TrimSpace(v.Phone))
	if err != nil {
		return err
	}
	pending, err := ask(r.Context(), auth.StartRequest{
		Phone: phone, ChallengeID: v.ChallengeID, ClientIP: p.ClientIP(r), DeviceProof: p.DeviceProof(r),
		Locale: p.frame(r).Lang(), Proof: cmp.Or(v.LastProof, v.Proof),
	})
	if err != nil {
		return err
	}
	v.Title, v.Phone, v.Hint, v.ChallengeID = "code_title", phone, p.MaskPhone(phone), pending.ChallengeID
	v.ResendIn, v.ExpiresIn = upTo(pending.ResendAfter), upTo(pending.ExpiresIn)
	return nil
}

// codeView reads what the code form carries from step to step. The number came
// back from the browser, so it is as foreign as before.
func (p *Pages) codeView(f url.Values) view {
	v := view{Title: "code_title", ReturnTo: p.ReturnTo(f.Get("return_to")), ChallengeID: f.Get("challenge_id")}
	if phone, err := p.ParsePhone(f.Get("phone")); err == nil {
		v.Phone, v.Hint = phone, p.MaskPhone(phone)
	}
	return v
}

// progress adds how far the challenge has come. Without it the form is as good.
func (p *Pages) progress(r *http.Request, v *view) {
	if status, err := p.Service.Status(r.Context(), v.ChallengeID); err == nil {
		v.ResendIn, v.ExpiresIn = upTo(status.ResendAfter), upTo(status.ExpiresIn)
	}
}

// checkCode takes the code form and signs in.
func (p *Pages) checkCode(w http.ResponseWriter, r *http.Request) error {
	f, err := form(w, r)
	if err != nil {
		return err
	}
	v, code := p.codeView(f), auth.EnteredCode(f.Get("code"))
	if !auth.IsCode(code) {
		return p.slip(w, r, "code", v)
	}
	device := deviceOf(r.UserAgent())
	device.ID = p.deviceID(r)
	grant, err := p.Service.Verify(r.Context(), auth.VerifyRequest{
		ChallengeID: v.ChallengeID, Code: code, ClientIP: p.ClientIP(r), DeviceProof: p.DeviceProof(r),
		Device: device, Kind: auth.CookieTicket,
	})
	if err != nil {
		return p.again(w, r, formAfter(err), v, err)
	}
	p.SetCookie(w, r, grant.Ticket, grant.TicketTTL)
	p.SetDeviceProof(w, r, grant.DeviceProof)
	http.Redirect(w, r, v.ReturnTo, http.StatusSeeOther)
	return nil
}

// slip shows the code form to whoever has entered what cannot be a code. No try
// is spent.
func (p *Pages) slip(w http.ResponseWriter, r *http.Request, name string, v view) error {
	p.progress(r, &v)
	v.Alert, v.Field = "otp_format", true
	w.Header().Set("Sidegate-Error", string(auth.CodeInvalidRequest))
	return p.show(w, r, http.StatusBadRequest, name, v)
}

// deviceID is the device that this browser is signed in as, or empty. Signing
// in anew then replaces its session: a site that asks for a fresh code would
// else fill the list, and push the person's other devices out.
func (p *Pages) deviceID(r *http.Request) string {
	value, _, ok := p.ticket(r)
	if !ok {
		return ""
	}
	id, _, _, err := p.Service.AuthenticateCookie(r.Context(), value, auth.Access, false)
	if err != nil {
		return ""
	}
	return id.DeviceID
}

// formAfter is where a failed code leads: back to the phone when this
// challenge is of no more use.
func formAfter(err error) string {
	switch auth.AsError(err).Code {
	case auth.CodeOTPExpired, auth.CodeOTPAttemptsExhausted, auth.CodeAccountDisabled:
		return "phone"
	}
	return "code"
}

// again shows a form with what was wrong.
func (p *Pages) again(w http.ResponseWriter, r *http.Request, name string, v view, err error) error {
	status := p.refused(w, r, err, &v)
	switch name {
	case "code", "number-code":
		p.progress(r, &v)
		if v.Alert == string(auth.CodeRateLimited) && v.ResendIn > 0 {
			v.Alert = "resend_too_soon" // nobody has asked for too many
		}
	case "phone":
		v.Title, v.Self = "sign_in_title", "/login"
	case "number":
		v.Title, v.Self = "number_title", "/account/phone"
		if v.Alert == string(auth.CodeAccountDisabled) {
			v.Alert, v.Field = "number_taken", true
		}
	}
	return p.show(w, r, status, name, v)
}
