package api

import (
	"net/http"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// startPhoneChange answers POST /user/phone, as POST /otp is answered.
func (a *API) startPhoneChange(w http.ResponseWriter, r *http.Request, _ string) error {
	owner, err := a.owner(w, r)
	if err != nil {
		return err
	}
	f, err := readFields(w, r)
	if err != nil {
		return err
	}
	req, err := a.startRequest(f, r)
	if err != nil {
		return err
	}
	p, err := a.Service.StartPhoneChange(r.Context(), owner.proof, req)
	if err != nil {
		return err
	}
	return writePending(w, p)
}

// changePhone answers POST /user/phone/verify.
func (a *API) changePhone(w http.ResponseWriter, r *http.Request, _ string) error {
	owner, err := a.owner(w, r)
	if err != nil {
		return err
	}
	f, err := readFields(w, r)
	if err != nil {
		return err
	}
	id, code := codeOf(f)
	req := auth.ChangeRequest{
		ChallengeID: id, Code: code, EndOthers: f.flag("end_others"),
		ClientIP: a.ClientIP(r), DeviceProof: a.DeviceProof(r), Locale: localeOf(f, r),
	}
	if err := checkCode(f, id, code); err != nil {
		return err
	}
	user, proof, err := a.Service.ChangePhone(r.Context(), owner.proof, req)
	if err != nil {
		return err
	}
	if owner.cookie || isBrowser(r) { // as at a sign-in
		a.SetDeviceProof(w, r, proof)
	}
	return a.writeUser(w, user)
}
