package api

import (
	"net/http"
	"strings"
	"unicode"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// sendCode answers POST /otp.
func (a *API) sendCode(w http.ResponseWriter, r *http.Request, _ string) error {
	f, err := readFields(w, r)
	if err != nil {
		return err
	}
	text := f.required("phone")
	req := auth.StartRequest{
		Channel: f.text("channel"), ChallengeID: f.text("challenge_id"), ClientIP: a.ClientIP(r),
		DeviceProof: a.DeviceProof(r), Locale: f.text("locale"), Proof: f.text("proof"),
	}
	if req.Locale == "" { // an app knows what its user reads, a browser says it
		req.Locale = strings.Join(r.Header.Values("Accept-Language"), ",")
	}
	kindOf(f)
	if len(req.Channel) > 32 {
		f.fail("channel is not known.")
	}
	if f.err != nil {
		return f.err
	}
	if !plausibleID(req.ChallengeID) {
		req.ChallengeID = "" // as for an unknown one: a fresh challenge
	}
	if req.Phone, err = a.ParsePhone(text); err != nil {
		return err
	}
	p, err := a.Service.Start(r.Context(), req)
	if err != nil {
		return err
	}
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
	req := auth.VerifyRequest{
		ChallengeID: f.required("challenge_id"),
		Code:        digits(f.required("code")),
		Device:      deviceInput(device),
		ClientIP:    a.ClientIP(r),
		DeviceProof: a.DeviceProof(r),
		Kind:        kindOf(f),
	}
	if f.err == nil {
		f.err = device.err
	}
	if f.err != nil {
		return f.err
	}
	if !goodCode(req.Code) {
		return invalid("code must be 6 to 10 digits.") // no try is spent on a slip
	}
	if !plausibleID(req.ChallengeID) {
		return auth.Refuse(auth.CodeOTPExpired)
	}
	grant, err := a.Service.Verify(r.Context(), req)
	if err != nil {
		return err
	}
	return a.writeGrant(w, r, grant, req.Kind)
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

// digits drops what people and keyboards put between the digits of a code.
func digits(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) {
			return -1
		}
		return r
	}, text)
}

func goodCode(code string) bool {
	return len(code) >= 6 && len(code) <= 10 && strings.Trim(code, "0123456789") == ""
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
