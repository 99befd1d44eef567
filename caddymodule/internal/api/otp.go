package api

import (
	"net/http"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// sendCode answers POST /otp.
func (a *API) sendCode(w http.ResponseWriter, r *http.Request, _ string) error {
	f, err := readFields(w, r)
	if err != nil {
		return err
	}
	kindOf(f)
	req, err := a.startRequest(f, r)
	if err != nil {
		return err
	}
	p, err := a.Service.Start(r.Context(), req)
	if err != nil {
		return err
	}
	return writePending(w, p)
}

// startRequest reads to which number a code is to go, and how.
func (a *API) startRequest(f *fields, r *http.Request) (req auth.StartRequest, err error) {
	text := f.required("phone")
	req = auth.StartRequest{
		Channel: f.text("channel"), ChallengeID: f.text("challenge_id"), ClientIP: a.ClientIP(r),
		DeviceProof: a.DeviceProof(r), Locale: localeOf(f, r), Proof: f.text("proof"),
	}
	if len(req.Channel) > 32 {
		f.fail("channel is not known.")
	}
	if f.err != nil {
		return req, f.err
	}
	if !plausibleID(req.ChallengeID) {
		req.ChallengeID = "" // as for an unknown one: a fresh challenge
	}
	req.Phone, err = a.ParsePhone(text)
	return req, err
}

// localeOf is what the person reads: an app knows it, a browser says it.
func localeOf(f *fields, r *http.Request) string {
	if locale := f.text("locale"); locale != "" {
		return locale
	}
	return strings.Join(r.Header.Values("Accept-Language"), ",")
}

// writePending answers that a code is on its way.
func writePending(w http.ResponseWriter, p auth.Pending) error {
	return writeJSON(w, http.StatusAccepted, struct {
		ChallengeID string `json:"challenge_id"`
		ExpiresIn   int64  `json:"expires_in"`
		ResendAfter int64  `json:"resend_after"`
		CodeLength  int    `json:"code_length"`
		Channel     string `json:"channel"`
	}{p.ChallengeID, lifeSeconds(p.ExpiresIn), waitSeconds(p.ResendAfter), p.CodeLength, p.Channel})
}

// codeStatus answers GET /otp/{challenge_id}.
func (a *API) codeStatus(w http.ResponseWriter, r *http.Request, id string) error {
	if !plausibleID(id) {
		return auth.Refuse(auth.CodeNotFound)
	}
	s, err := a.Service.Status(r.Context(), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct {
		Status       auth.DeliveryStatus `json:"status"`
		ExpiresIn    int64               `json:"expires_in"`
		ResendAfter  int64               `json:"resend_after"`
		AttemptsLeft int                 `json:"attempts_left"`
	}{s.Status, lifeSeconds(s.ExpiresIn), waitSeconds(s.ResendAfter), max(s.AttemptsLeft, 0)})
}

// verifyCode answers POST /otp/verify.
func (a *API) verifyCode(w http.ResponseWriter, r *http.Request, _ string) error {
	f, err := readFields(w, r)
	if err != nil {
		return err
	}
	device := f.object("device")
	id, code := codeOf(f)
	req := auth.VerifyRequest{
		ChallengeID: id,
		Code:        code,
		Device:      deviceInput(device),
		ClientIP:    a.ClientIP(r),
		DeviceProof: a.DeviceProof(r),
		Kind:        kindOf(f),
	}
	if f.err == nil {
		f.err = device.err
	}
	if err := checkCode(f, id, code); err != nil {
		return err
	}
	grant, err := a.Service.Verify(r.Context(), req)
	if err != nil {
		return err
	}
	return a.writeGrant(w, r, grant, req.Kind)
}

// codeOf reads a code that is brought back.
func codeOf(f *fields) (challengeID, code string) {
	return f.required("challenge_id"), auth.EnteredCode(f.required("code"))
}

// checkCode refuses what cannot be right, and spends no try on it.
func checkCode(f *fields, challengeID, code string) error {
	switch {
	case f.err != nil:
		return f.err
	case !auth.IsCode(code):
		return invalid("code must be 6 to 10 digits.")
	case !plausibleID(challengeID):
		return auth.Refuse(auth.CodeOTPExpired)
	}
	return nil
}

// kindOf reads which credential the client wants.
func kindOf(f *fields) auth.TicketKind {
	switch f.text("transport") {
	case "", "bearer":
		return auth.RefreshTicket
	case "cookie":
		return auth.CookieTicket
	}
	f.fail(`transport must be "bearer" or "cookie".`)
	return auth.RefreshTicket
}

// plausibleID keeps what no challenge's id can be away from the store's keys.
func plausibleID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
