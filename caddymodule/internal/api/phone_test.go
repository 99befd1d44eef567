package api

import (
	"strings"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestPhoneChange(t *testing.T) {
	f := &fake{proof: "20000.mac"}
	w := call(newAPI(f), "POST", "/user/phone", `{"phone":"+15555550199","channel":"voice","challenge_id":"ch1","locale":"sv","proof":"p"}`, asBearerGood)
	check(t, w, 202, "")
	want := call(newAPI(&fake{}), "POST", "/otp", phoneBody)
	if w.Body.String() != want.Body.String() {
		t.Errorf("got %s, POST /otp gives %s", w.Body, want.Body)
	}
	if f.start != (auth.StartRequest{Phone: "+15555550199", Channel: "voice", ChallengeID: "ch1", Locale: "sv", Proof: "p", ClientIP: "192.0.2.1"}) || f.owner.UserID != 7 {
		t.Errorf("the service got %+v of %+v", f.start, f.owner)
	}

	w = call(newAPI(f), "POST", "/user/phone/verify", `{"challenge_id":"ch1","code":"123-4 56","end_others":true}`, asBearerGood,
		"Accept-Language: fr", "Cookie: __Host-sidegate-device=19999.mac")
	check(t, w, 200, "")
	if got, want := strings.TrimSpace(w.Body.String()), `{"auth_user_id":7,"phone":"••99","user_type":"customer","user_roles":[],"created_at":"2026-01-02T03:04:05Z"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if f.change != (auth.ChangeRequest{ChallengeID: "ch1", Code: "123456", EndOthers: true, Locale: "fr", ClientIP: "192.0.2.1", DeviceProof: "19999.mac"}) {
		t.Errorf("the service got %+v", f.change)
	}
	if got := w.Header()["Set-Cookie"]; len(got) != 0 {
		t.Errorf("an app was given %q", got)
	}
	for _, who := range [][]string{{asCookie}, {asBearerGood, "Sec-Fetch-Site: same-origin"}} {
		w = call(newAPI(f), "POST", "/user/phone/verify", verifyBody, who...)
		if got := w.Header()["Set-Cookie"]; len(got) != 1 || !strings.HasPrefix(got[0], "__Host-sidegate-device=20000.mac;") {
			t.Errorf("%v: the browser was given %q", who, got)
		}
		if f.change.EndOthers {
			t.Error("the others end unasked")
		}
	}
}

func TestPhoneChangeRefusals(t *testing.T) {
	for _, row := range []struct {
		name, route, body string
		err               error
		status            int
		code              string
	}{
		{"no number", "/user/phone", `{}`, nil, 400, "invalid_request"},
		{"a number that is none", "/user/phone", `{"phone":"070"}`, nil, 400, "phone_invalid"},
		{"a session that is not fresh", "/user/phone", phoneBody, auth.Refuse(auth.CodeReauthRequired), 401, "reauthentication_required"},
		{"a number of no use", "/user/phone", phoneBody, auth.Refuse(auth.CodePhoneNotSupported), 400, "phone_not_supported"},
		{"numbers that the app keeps", "/user/phone", phoneBody, auth.Refuse(auth.CodeNotFound), 404, "not_found"},
		{"a session that has ended since", "/user/phone", phoneBody, auth.Refuse(auth.CodeSessionRevoked), 401, "session_revoked"},
		{"no challenge", "/user/phone/verify", `{"code":"123456"}`, nil, 400, "invalid_request"},
		{"no code", "/user/phone/verify", `{"challenge_id":"ch1"}`, nil, 400, "invalid_request"},
		{"a code that is none", "/user/phone/verify", `{"challenge_id":"ch1","code":"12345"}`, nil, 400, "invalid_request"},
		{"a challenge that is none", "/user/phone/verify", `{"challenge_id":"../ch1","code":"123456"}`, nil, 400, "otp_expired"},
		{"others in a text", "/user/phone/verify", `{"challenge_id":"ch1","code":"123456","end_others":"true"}`, nil, 400, "invalid_request"},
		{"others in a number", "/user/phone/verify", `{"challenge_id":"ch1","code":"123456","end_others":1}`, nil, 400, "invalid_request"},
		{"a wrong code", "/user/phone/verify", verifyBody, auth.Refuse(auth.CodeOTPInvalid), 400, "otp_invalid"},
		{"a session that was fresh", "/user/phone/verify", verifyBody, auth.Refuse(auth.CodeReauthRequired), 401, "reauthentication_required"},
		{"another's number", "/user/phone/verify", verifyBody, auth.Refuse(auth.CodeAccountDisabled), 403, "account_disabled"},
		{"too many changes", "/user/phone/verify", verifyBody, auth.Refuse(auth.CodeRateLimited), 429, "rate_limited"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := &fake{err: row.err, proof: "20000.mac"}
			w := call(newAPI(f), "POST", row.route, row.body, asCookie)
			check(t, w, row.status, row.code)
			if row.err == nil && f.verified != 0 || len(w.Header()["Set-Cookie"]) != 0 {
				t.Errorf("the service was asked %d times, headers %v", f.verified, w.Header())
			}
		})
	}
}
