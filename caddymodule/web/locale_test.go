package web

import (
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// That every language has every text, with the same placeholders, is what
// NewLook checks; here, that there are the languages, and that texts differ.
func TestLanguages(t *testing.T) {
	list := acme().locales.all
	var tags []string
	for _, l := range list {
		tags = append(tags, l.Tag)
		same := 0
		for key, text := range l.Texts {
			if text == list[0].Texts[key] {
				same++
			}
		}
		if l != list[0] && same > 5 { // "Code", "{count} min" and the like
			t.Errorf("%s: %d texts are the English ones", l.Tag, same)
		}
	}
	if got := strings.Join(tags, " "); got != "en ar de es fr hi" {
		t.Errorf("got %s", got)
	}
}

func TestLanguageOfAPage(t *testing.T) {
	for wish, want := range map[string]string{
		"": "en ltr", "de": "de ltr", "de-AT,en;q=0.5": "de ltr", "sv,fr-CA;q=0.8,en;q=0.1": "fr ltr", "ar-EG": "ar rtl", "es-419": "es ltr",
		"hi-IN": "hi ltr", "sv": "en ltr", "*": "en ltr", ";;": "en ltr", "en-GB,en;q=0.9": "en ltr", strings.Repeat("de,", 400) + "de": "en ltr",
	} {
		w := call(newPages(&fake{}), "GET", "/login", "", "Accept-Language: "+wish)
		tag, dir, _ := strings.Cut(want, " ")
		check(t, w, 200, "", `<html lang="`+tag+`" dir="`+dir+`">`)
		if h := w.Header(); h.Get("Vary") != "Accept-Language" || h.Get("Content-Language") != tag {
			t.Errorf("%q: headers %v", wish, h)
		}
	}
}

// A language that the address names stays for every step.
func TestLanguageOfTheAddress(t *testing.T) {
	p := newPages(&fake{})
	german := "Accept-Language: de"
	check(t, call(p, "GET", "/login?lang=xx&return_to=/a", "", german), 200, "", `lang="de"`, `action="/auth/login"`)
	check(t, call(p, "GET", "/login?lang=ar&return_to=/a?b=c", "", german), 200, "",
		`lang="ar"`, `action="/auth/login?lang=ar"`, `href="/auth/login?lang=fr&amp;return_to=%2fa%3fb%3dc"`, `aria-current="true">العربية`)
	check(t, call(p, "POST", "/login?lang=ar", "phone=%2B15555550100&return_to=/a", german), 200, "",
		`dir="rtl"`, `action="/auth/login/code?lang=ar"`, `action="/auth/login/resend?lang=ar"`, `href="/auth/login?lang=ar&amp;return_to=%2Fa"`)
	check(t, call(p, "POST", "/login?lang=ar", "phone=1", german), 400, "phone_invalid", "رقم الهاتف هذا غير صالح")
	leads(t, call(p, "GET", "/account?lang=ar", ""), "/auth/login?lang=ar&return_to=%2Fauth%2Faccount")
	leads(t, call(p, "POST", "/account/others?lang=ar", "", cookie), "/auth/account?done=others&lang=ar")
	// The site's own address gets no word about languages.
	leads(t, call(p, "POST", "/login/code?lang=ar", codeForm+"123456"), "/a?b")
}

// Every refusal of the domain has words of its own in the texts.
func TestEveryRefusalHasWords(t *testing.T) {
	for _, code := range []auth.Code{
		auth.CodePhoneInvalid, auth.CodePhoneNotSupported, auth.CodeOTPInvalid, auth.CodeOTPExpired, auth.CodeOTPAttemptsExhausted,
		auth.CodeAccountDisabled, auth.CodeCrossOrigin, auth.CodeNotFound, auth.CodeRateLimited, auth.CodeTooManyFailures,
		auth.CodeStoreUnavailable, auth.CodeDeliveryUnavailable, auth.CodeInternal,
	} {
		if acme().alert(code) != string(code) {
			t.Errorf("%s has no words", code)
		}
	}
	if got := acme().alert("body_too_large"); got != "invalid_request" {
		t.Errorf("got %q", got)
	}
}

func TestStates(t *testing.T) {
	f := &fake{status: auth.Status{ResendAfter: 41 * time.Second, ExpiresIn: 4 * time.Minute}}
	w := call(newPages(f), "POST", "/login", "phone=%2B15555550100")
	check(t, w, 200, "", "<title>Enter the code – Acme", `id="resend-wait" data-seconds="60"`, "valid for \u20685 min", `data-delivery="/api/v1/auth/otp/ch&lt;1&gt;"`)

	f.err = auth.Refuse(auth.CodeOTPInvalid)
	w = call(newPages(f), "POST", "/login/code", codeForm+"123456")
	check(t, w, 400, "otp_invalid", "<title>Error: \u2068Enter the code\u2069 – Acme", `data-seconds="41"`, "valid for \u20684 min", `aria-invalid="true"`, `aria-describedby="code-help alert"`)
	if strings.Contains(w.Body.String(), "data-delivery") {
		t.Error("a code that was typed has arrived")
	}

	soon := auth.Refuse(auth.CodeRateLimited)
	soon.RetryAfter = 41 * time.Second
	f.err = soon
	w = call(newPages(f), "POST", "/login/resend", codeForm)
	check(t, w, 429, "rate_limited", "too early to send", `data-seconds="41"`)
	if strings.Contains(w.Body.String(), "aria-invalid") {
		t.Error("the code is blamed for a limit")
	}
	f.status.ResendAfter = 0
	check(t, call(newPages(f), "POST", "/login/resend", codeForm), 429, "rate_limited", "Too many codes")

	f.err, f.statusErr = auth.Refuse(auth.CodeOTPInvalid), auth.ErrUnavailable
	w = call(newPages(f), "POST", "/login/code", codeForm+"123456")
	check(t, w, 400, "otp_invalid", `aria-describedby="alert"`)
	if strings.Contains(w.Body.String(), "resend-wait") {
		t.Error("a wait that nobody knows")
	}

	f = &fake{}
	check(t, call(newPages(f), "GET", "/login?done=out", ""), 200, "", `role="status">You are signed out.`)
	check(t, call(newPages(f), "GET", "/account?done=one", "", cookie), 200, "", `role="status">The device has been signed out.`)
	check(t, call(newPages(f), "GET", "/account?done=%3Cb%3E", "", cookie), 200, "")
}
