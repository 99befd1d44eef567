package web

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const newNumber = "phone=%2B15555550199"

func TestChangeOfNumber(t *testing.T) {
	f := &fake{}
	check(t, call(newPages(f), "GET", "/account?lang=de", "", cookie), 200, "", `<a href="/auth/account/phone?lang=de">Telefonnummer ändern</a>`)
	w := call(newPages(f), "GET", "/account/phone", "", cookie)
	check(t, w, 200, "", "<title>Change your phone number – Acme", `action="/auth/account/phone"`, `<label for="phone">New phone number`, `href="/auth/account/phone?lang=ar"`)
	w = call(newPages(f), "POST", "/account/phone?lang=en", newNumber, cookie)
	check(t, w, 200, "", `action="/auth/account/phone/code?lang=en"`, `action="/auth/account/phone/resend?lang=en"`, `value="ch&lt;1&gt;"`, "••99", `name="end_others"`, "Change number</button>")
	if f.start != (auth.StartRequest{Phone: "+15555550199", ClientIP: "192.0.2.1", Locale: "en"}) || f.owner.UserID != 7 {
		t.Errorf("the service got %+v of %+v", f.start, f.owner)
	}
	if strings.Contains(w.Body.String(), "checked") || strings.Contains(w.Body.String(), "data-code") {
		t.Error("the others are signed out unasked, or before one could say so")
	}
	check(t, call(newPages(f), "POST", "/account/phone/resend", newNumber+"&challenge_id=ch1", cookie), 200, "", "sent the code again", "/account/phone/code", `data-as="end-others" disabled>`)
	check(t, call(newPages(f), "POST", "/account/phone/resend", newNumber+"&challenge_id=ch1&end_others=yes", cookie), 200, "", `value="yes" checked>`, `data-as="end-others">`)
	if f.start.ChallengeID != "ch1" {
		t.Errorf("the service got %+v", f.start)
	}
	code := newNumber + "&challenge_id=ch1&code=123+456"
	w = call(newPages(f), "POST", "/account/phone/code", code+"&end_others=yes", cookie, "Accept-Language: fr")
	leads(t, w, "/auth/account?done=number_others")
	if got := w.Header()["Set-Cookie"]; len(got) != 1 || got[0] != "device=proof" {
		t.Errorf("cookies %q", got)
	}
	if f.change != (auth.ChangeRequest{ChallengeID: "ch1", Code: "123456", EndOthers: true, ClientIP: "192.0.2.1", Locale: "fr"}) {
		t.Errorf("the service got %+v", f.change)
	}
	leads(t, call(newPages(f), "POST", "/account/phone/code", code, cookie), "/auth/account?done=number")
	if f.change.EndOthers {
		t.Error("the others are signed out unasked")
	}
	check(t, call(newPages(f), "GET", "/account?done=number", "", cookie), 200, "", `role="status">Your phone number has been changed.`)
}

// Whoever cannot change the number now is told before a number is asked for.
func TestNumbersThatDoNotChangeNow(t *testing.T) {
	back := "/auth/login?" + url.Values{"return_to": {"/auth/account/phone"}}.Encode()
	often := auth.Refuse(auth.CodeRateLimited)
	often.RetryAfter = 20 * time.Hour
	for _, row := range []struct{ method, route, body string }{
		{"GET", "/account/phone", ""}, {"POST", "/account/phone", newNumber}, {"POST", "/account/phone/resend", newNumber}, {"POST", "/account/phone/code", newNumber + "&challenge_id=ch1&code=123456"},
	} {
		t.Run(row.method+row.route, func(t *testing.T) {
			f := &fake{}
			leads(t, call(newPages(f), row.method, row.route, row.body), back)
			f.authErr = auth.Refuse(auth.CodeSessionRevoked)
			leads(t, call(newPages(f), row.method, row.route, row.body, cookie), back)
			f.authErr, f.numberErr = nil, auth.Refuse(auth.CodeReauthRequired)
			leads(t, call(newPages(f), row.method, row.route, row.body, cookie), back)
			f.numberErr = often
			check(t, call(newPages(f), row.method, row.route, row.body, cookie), 429, "rate_limited", "changed too often", "in \u206820 hr", `action="/auth/account/phone"`)
			f.numberErr = auth.Refuse(auth.CodeNotFound)
			check(t, call(newPages(f), row.method, row.route, row.body, cookie), 404, "not_found", "does not exist")
			f.numberErr = auth.ErrUnavailable
			check(t, call(newPages(f), row.method, row.route, row.body, cookie), 503, "store_unavailable")
			if len(f.calls) != 0 {
				t.Errorf("the service was asked %q", f.calls)
			}
		})
	}
	for _, row := range []struct {
		err  error
		link bool
	}{{nil, true}, {auth.Refuse(auth.CodeReauthRequired), true}, {often, true}, {auth.Refuse(auth.CodeNotFound), false}} {
		w := call(newPages(&fake{numberErr: row.err}), "GET", "/account", "", cookie)
		if check(t, w, 200, ""); strings.Contains(w.Body.String(), "/account/phone") != row.link {
			t.Errorf("with %v the link is shown: %v", row.err, !row.link)
		}
	}
	check(t, call(newPages(&fake{numberErr: auth.ErrUnavailable}), "GET", "/account", "", cookie), 503, "store_unavailable")
}

func TestChangeOfNumberRefusals(t *testing.T) {
	wrong := auth.Refuse(auth.CodeOTPInvalid)
	wrong.AttemptsLeft = 1
	for _, row := range []struct {
		name, route, body string
		err               error
		status            int
		code              string
		parts             []string
	}{
		{"a number that is none", "", "phone=12", nil, 400, "phone_invalid", []string{`value="12"`, `aria-invalid="true"`, "New phone number"}},
		{"a number of no use", "", newNumber, auth.Refuse(auth.CodePhoneNotSupported), 400, "phone_not_supported", []string{"cannot send", "New phone number"}},
		{"too many codes", "", newNumber, auth.Refuse(auth.CodeRateLimited), 429, "rate_limited", []string{"Too many codes", "New phone number"}},
		{"a resend too soon", "/resend", newNumber + "&challenge_id=ch1", auth.Refuse(auth.CodeRateLimited), 429, "rate_limited", []string{"too early", "/account/phone/code"}},
		{"a code with letters", "/code", newNumber + "&challenge_id=ch1&code=12345x&end_others=yes", nil, 400, "invalid_request", []string{"all digits", "checked", "/account/phone/code"}},
		{"a wrong code", "/code", newNumber + "&challenge_id=ch1&code=123456&end_others=yes", wrong, 400, "otp_invalid", []string{"Tries left", "checked", "/account/phone/code"}},
		{"an expired code", "/code", newNumber + "&challenge_id=ch1&code=123456", auth.Refuse(auth.CodeOTPExpired), 400, "otp_expired", []string{"no longer valid", `action="/auth/account/phone"`}},
		{"another's number", "/code", newNumber + "&challenge_id=ch1&code=123456", auth.Refuse(auth.CodeAccountDisabled), 403, "account_disabled", []string{"belongs to another account", `value="&#43;15555550199"`, `aria-invalid="true"`}},
		{"one change too many", "/code", newNumber + "&challenge_id=ch1&code=123456", auth.Refuse(auth.CodeRateLimited), 429, "rate_limited", []string{"changed too often"}},
		{"a session that has just become too old", "/code", newNumber + "&challenge_id=ch1&code=123456", auth.Refuse(auth.CodeReauthRequired), 303, "", nil},
		{"a session that has just ended", "", newNumber, auth.Refuse(auth.CodeSessionRevoked), 303, "", nil},
		{"a store that is down", "/code", newNumber + "&challenge_id=ch1&code=123456", auth.ErrUnavailable, 503, "store_unavailable", []string{"/account/phone/code"}},
		{"a field given twice", "/code", "code=1&code=2", nil, 400, "invalid_request", nil},
		{"a form that is none", "", "phone=%zz", nil, 400, "invalid_request", nil},
		{"a resend without its number", "/resend", "challenge_id=ch1", nil, 400, "phone_invalid", []string{"/account/phone/code"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := &fake{err: row.err, status: auth.Status{ResendAfter: time.Minute, ExpiresIn: time.Minute}}
			w := call(newPages(f), "POST", "/account/phone"+row.route, row.body, cookie)
			if row.status == 303 {
				leads(t, w, "/auth/login?return_to=%2Fauth%2Faccount%2Fphone")
			} else {
				check(t, w, row.status, row.code, append(row.parts, `role="alert"`)...)
			}
			if w.Header().Get("Set-Cookie") != "" {
				t.Errorf("cookies %q", w.Header()["Set-Cookie"])
			}
		})
	}
	for _, route := range []string{"", "/code", "/resend"} {
		check(t, call(newPages(&fake{}), "POST", "/account/phone"+route, newNumber, cookie, "Content-Type: application/json"), 415, "unsupported_media_type")
	}
}
