package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

var (
	_ Service = (*fake)(nil)
	_ Service = (*auth.Service)(nil)

	mine  = auth.SessionID{1}
	other = auth.SessionID{2}
)

type fake struct {
	err, authErr error
	numberErr    error // of PhoneChangeable
	rotated      string
	status       auth.Status
	statusErr    error
	panics       any
	signedIn     time.Time

	start  auth.StartRequest
	verify auth.VerifyRequest
	change auth.ChangeRequest
	owner  auth.Proof
	ended  auth.SessionID
	calls  []string
}

func (f *fake) Start(_ context.Context, r auth.StartRequest) (auth.Pending, error) {
	if f.panics != nil {
		panic(f.panics)
	}
	f.start = r
	f.calls = append(f.calls, "start")
	return auth.Pending{ChallengeID: "ch<1>", ResendAfter: time.Minute, ExpiresIn: 5 * time.Minute}, f.err
}

func (f *fake) Status(context.Context, string) (auth.Status, error) { return f.status, f.statusErr }

func (f *fake) Verify(_ context.Context, r auth.VerifyRequest) (auth.Grant, error) {
	f.verify = r
	f.calls = append(f.calls, "verify")
	return auth.Grant{Ticket: "sgc1_new", TicketTTL: time.Hour}, f.err
}

func (f *fake) AuthenticateCookie(context.Context, string, auth.Use, bool) (auth.Identity, string, time.Duration, error) {
	return auth.Identity{UserID: 7, SessionID: mine, DeviceID: "d1"}, f.rotated, time.Hour, f.authErr
}

func (f *fake) ProofOfTicket(text string) (auth.Proof, bool) {
	return auth.Proof{SessionID: mine, Generation: 1}, text == "sgc1_mine"
}

func (f *fake) Sessions(_ context.Context, owner auth.Proof) ([]auth.SessionInfo, error) {
	f.owner = owner
	return []auth.SessionInfo{
		{SessionID: mine, DeviceName: "<script>", Platform: "Linux", Current: true, LastAccessed: time.Unix(0, 0), CreatedAt: f.signedIn},
		{SessionID: other, CreatedAt: f.signedIn},
	}, f.err
}

func (f *fake) Logout(_ context.Context, owner auth.Proof, scope auth.Scope) error {
	f.owner = owner
	f.calls = append(f.calls, "logout "+string(scope))
	return f.err
}

func (f *fake) Revoke(_ context.Context, owner auth.Proof, id auth.SessionID) error {
	f.owner, f.ended = owner, id
	f.calls = append(f.calls, "revoke")
	return f.err
}

func (f *fake) RevokeOthers(_ context.Context, owner auth.Proof) error {
	f.owner = owner
	f.calls = append(f.calls, "others")
	return f.err
}

func (f *fake) PhoneChangeable(context.Context, auth.Proof) error { return f.numberErr }

func (f *fake) StartPhoneChange(ctx context.Context, owner auth.Proof, r auth.StartRequest) (auth.Pending, error) {
	f.owner = owner
	return f.Start(ctx, r)
}

func (f *fake) ChangePhone(_ context.Context, owner auth.Proof, r auth.ChangeRequest) (auth.User, string, error) {
	f.owner, f.change = owner, r
	f.calls = append(f.calls, "change")
	return auth.User{}, "proof", f.err
}

// statusOf stands for api.StatusOf.
func statusOf(err error, _ bool) (int, auth.Code) {
	code := auth.AsError(err).Code
	status, ok := map[auth.Code]int{
		auth.CodeInternal: 500, auth.CodeStoreUnavailable: 503, auth.CodeDeliveryUnavailable: 503, auth.CodeNotFound: 404,
		auth.CodeRateLimited: 429, auth.CodeTooManyFailures: 429, auth.CodeCrossOrigin: 403, auth.CodeAccountDisabled: 403,
		"method_not_allowed": 405, "body_too_large": 413, "unsupported_media_type": 415,
	}[code]
	if !ok {
		status = 400
	}
	return status, code
}

var acme = sync.OnceValue(func() *Look {
	look, err := NewLook(Brand{AppName: "Acme & Sons"})
	if err != nil {
		panic(err)
	}
	return look
})

func newPages(f *fake) *Pages {
	return New(Config{
		Service: f, Base: "/auth", API: "/api/v1/auth", Look: acme(),
		ReturnTo: func(asked string) string {
			if strings.HasPrefix(asked, "/") && !strings.HasPrefix(asked, "//") {
				return asked
			}
			return "/"
		},
		ParsePhone: func(text string) (string, error) {
			if !strings.HasPrefix(text, "+") {
				return "", auth.Refuse(auth.CodePhoneInvalid)
			}
			return text, nil
		},
		MaskPhone:   func(p string) string { return "••" + p[len(p)-2:] },
		ClientIP:    func(*http.Request) string { return "192.0.2.1" },
		CrossOrigin: func(r *http.Request) bool { return r.Header.Get("X-Cross") != "" },
		CookieName:  func(*http.Request) string { return "sidegate" },
		SetCookie: func(w http.ResponseWriter, _ *http.Request, value string, _ time.Duration) {
			w.Header().Set("Set-Cookie", "sidegate="+value)
		},
		ClearCookie: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Set-Cookie", "sidegate=; Max-Age=0") },
		DeviceProof: func(*http.Request) string { return "" },
		SetDeviceProof: func(w http.ResponseWriter, _ *http.Request, proof string) {
			if proof != "" {
				w.Header().Add("Set-Cookie", "device="+proof)
			}
		},
		StatusOf: statusOf,
		Log:      slog.New(slog.DiscardHandler),
	})
}

// call makes a request; a body is a form. heads are "Name: value" lines.
func call(p *Pages, method, target, body string, heads ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/auth"+target, strings.NewReader(body))
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, head := range heads {
		name, value, _ := strings.Cut(head, ": ")
		if name == "Content-Type" {
			r.Header.Del(name)
		}
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r, strings.TrimPrefix(r.URL.Path, "/auth"))
	return w
}

// check holds an answer to a status, a code ("" for success) and what must
// stand in it.
func check(t *testing.T, w *httptest.ResponseRecorder, status int, code string, parts ...string) {
	t.Helper()
	if w.Code != status || w.Header().Get("Sidegate-Error") != code {
		t.Errorf("got %d %q, want %d %q: %s", w.Code, w.Header().Get("Sidegate-Error"), status, code, w.Body)
	}
	for _, part := range parts {
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("page lacks %q: %s", part, w.Body)
		}
	}
}

// leads holds an answer to a redirect.
func leads(t *testing.T, w *httptest.ResponseRecorder, where string) {
	t.Helper()
	if w.Code != 303 || w.Header().Get("Location") != where {
		t.Errorf("got %d to %q, want 303 to %q: %s", w.Code, w.Header().Get("Location"), where, w.Body)
	}
}

const (
	cookie   = "Cookie: sidegate=sgc1_mine"
	codeForm = "phone=%2B15555550100&challenge_id=ch1&return_to=%2Fa%3Fb&code="
)

func TestPagesAndTheirHeaders(t *testing.T) {
	w := call(newPages(&fake{}), "GET", "/login?return_to=/a%22b", "")
	check(t, w, 200, "", `<title>Sign in – Acme &amp; Sons</title>`, `name="return_to" value="/a&#34;b"`, `href="/auth/style.css"`, `<label for="phone">`, `dir="ltr"`)
	csp := w.Header().Get("Content-Security-Policy")
	for _, part := range []string{
		"default-src 'none'", "style-src 'self'", "img-src 'self';", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
		"require-trusted-types-for 'script'", "trusted-types 'none'",
	} {
		if !strings.Contains(csp, part) {
			t.Errorf("the policy %q lacks %q", csp, part)
		}
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers: %v", w.Header())
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(w.Body.String(), "style=") {
		t.Errorf("the policy %q would block a part of the page, or nothing", csp)
	}
	nonce := regexp.MustCompile(`script-src 'nonce-([A-Z2-7]{26})';`).FindStringSubmatch(csp)
	if len(nonce) != 2 || !strings.Contains(w.Body.String(), `nonce="`+nonce[1]+`"`) || strings.Count(w.Body.String(), "<script") != 1 {
		t.Errorf("the policy %q and the page differ in the nonce", csp)
	} else if again := call(newPages(&fake{}), "GET", "/login", ""); strings.Contains(again.Body.String(), nonce[1]) {
		t.Error("two answers have one nonce")
	}
	check(t, call(newPages(&fake{}), "GET", "/login?return_to=//evil.example", ""), 200, "", `name="return_to" value="/"`)

	w = call(newPages(&fake{}), "GET", "/style.css", "")
	check(t, w, 200, "", "color-scheme: light dark")
	if w.Header().Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("headers: %v", w.Header())
	}
}

func TestRoutesAndMethods(t *testing.T) {
	p := newPages(&fake{})
	for _, route := range []string{"/", "/nope", "/login/", "/Login", "/pages/style.css", "/login/code/x"} {
		check(t, call(p, "GET", route, ""), 404, "not_found", `role="alert"`)
	}
	for _, route := range []string{"/login", "/login/code", "/login/resend", "/account/end", "/account/others", "/account/phone", "/account/phone/code", "/account/phone/resend", "/logout"} {
		t.Run(route, func(t *testing.T) {
			check(t, call(p, "PUT", route, ""), 405, "method_not_allowed")
			check(t, call(p, "POST", route, "", cookie, "X-Cross: 1"), 403, "cross_origin_blocked", "another site")
		})
	}
	w := call(p, "POST", "/account", "")
	check(t, w, 405, "method_not_allowed")
	if w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("Allow: got %q", w.Header().Get("Allow"))
	}
	leads(t, call(p, "GET", "/login/code", ""), "/auth/login")
	leads(t, call(p, "GET", "/logout", ""), "/auth/account")
	leads(t, call(p, "GET", "/account/phone/code", ""), "/auth/account/phone")
	leads(t, call(p, "GET", "/account/phone/resend", ""), "/auth/account/phone")
}

func TestSignIn(t *testing.T) {
	f := &fake{}
	w := call(newPages(f), "POST", "/login", "phone=+%2B15555550100&return_to=%2Fa%3Fb")
	check(t, w, 200, "", `value="ch&lt;1&gt;"`, `autocomplete="one-time-code"`, `inputmode="numeric"`, "••00", `value="/a?b"`)
	if f.start.Phone != "+15555550100" || f.start.ClientIP != "192.0.2.1" {
		t.Errorf("the service got %+v", f.start)
	}
	w = call(newPages(f), "POST", "/login/code", codeForm+"123+456", "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0")
	leads(t, w, "/a?b")
	if w.Header().Get("Set-Cookie") != "sidegate=sgc1_new" {
		t.Errorf("headers: %v", w.Header())
	}
	want := auth.VerifyRequest{
		ChallengeID: "ch1", Code: "123456", ClientIP: "192.0.2.1", Kind: auth.CookieTicket,
		Device: auth.DeviceInput{Type: "web", Name: "Firefox on Linux", Platform: "Linux"},
	}
	if f.verify != want {
		t.Errorf("the service got %+v", f.verify)
	}
	// Signed in already: the session of this browser is replaced, not left behind.
	leads(t, call(newPages(f), "POST", "/login/code", codeForm+"123456", cookie), "/a?b")
	if f.verify.Device.ID != "d1" {
		t.Errorf("the service got %+v", f.verify)
	}
	for _, dead := range []*fake{{authErr: auth.Refuse(auth.CodeSessionRevoked)}, {authErr: auth.ErrUnavailable}} {
		leads(t, call(newPages(dead), "POST", "/login/code", codeForm+"123456", cookie), "/a?b")
		if dead.verify.Device.ID != "" {
			t.Errorf("the service got %+v", dead.verify)
		}
	}
	w = call(newPages(f), "POST", "/login/resend", codeForm)
	check(t, w, 200, "", `role="status"`, "sent the code again")
	if f.start.ChallengeID != "ch1" {
		t.Errorf("the service got %+v", f.start)
	}
}

func TestSignInRefusals(t *testing.T) {
	wrong := auth.Refuse(auth.CodeOTPInvalid)
	wrong.AttemptsLeft = 1
	many := auth.Refuse(auth.CodeTooManyFailures)
	many.RetryAfter = 3 * time.Hour
	soon := auth.Refuse(auth.CodeRateLimited)
	soon.RetryAfter = 61500 * time.Millisecond
	rows := []struct {
		name, route, body string
		err               error
		status            int
		code              string
		parts             []string
	}{
		{"a number that is none", "/login", "phone=12%22", nil, 400, "phone_invalid", []string{"not a valid phone number", `value="12&#34;"`, `aria-invalid="true"`}},
		{"no number", "/login", "", nil, 400, "phone_invalid", nil},
		{"a country that is off", "/login", "phone=%2B1", auth.Refuse(auth.CodePhoneNotSupported), 400, "phone_not_supported", []string{"cannot send"}},
		{"no sender", "/login", "phone=%2B11", auth.Refuse(auth.CodeDeliveryUnavailable), 503, "delivery_unavailable", []string{"cannot send codes right now"}},
		{"too many sends", "/login", "phone=%2B11", soon, 429, "rate_limited", []string{"in \u206862 sec\u2069", `data-seconds="62"`}},
		{"a resend too soon keeps the code form", "/login/resend", codeForm, soon, 429, "rate_limited", []string{`value="ch1"`, "one-time-code"}},
		{"a resend without its number", "/login/resend", "challenge_id=ch1", nil, 400, "phone_invalid", nil},
		{"a wrong code", "/login/code", codeForm + "123456", wrong, 400, "otp_invalid", []string{"Tries left: \u20661\u2069", `value="ch1"`, "one-time-code"}},
		{"a code with letters", "/login/code", codeForm + "12345x", nil, 400, "invalid_request", []string{"all digits of the code", "one-time-code"}},
		{"an expired code leads back to the phone", "/login/code", codeForm + "123456", auth.Refuse(auth.CodeOTPExpired), 400, "otp_expired", []string{`id="phone"`, "no longer valid"}},
		{"a code tried too often", "/login/code", codeForm + "123456", auth.Refuse(auth.CodeOTPAttemptsExhausted), 400, "otp_attempts_exhausted", []string{`id="phone"`}},
		{"a disabled account", "/login/code", codeForm + "123456", auth.Refuse(auth.CodeAccountDisabled), 403, "account_disabled", []string{"cannot sign in"}},
		{"too many wrong codes", "/login/code", codeForm + "123456", many, 429, "too_many_failures", []string{"in \u20683 hr\u2069"}},
		{"a store that is down", "/login/code", codeForm + "123456", auth.ErrUnavailable, 503, "store_unavailable", []string{"one-time-code", "not available right now"}},
		{"a fault of ours", "/login/code", codeForm + "123456", errors.New("secret cause"), 500, "internal_error", []string{"on our side"}},
		{"a field given twice", "/login/code", codeForm + "123456&code=1", nil, 400, "invalid_request", nil},
		{"invalid UTF-8", "/login", "phone=%ff", nil, 400, "invalid_request", nil},
		{"a bad escape", "/login", "phone=%zz", nil, 400, "invalid_request", nil},
		{"too much", "/login", "phone=" + strings.Repeat("x", maxForm), nil, 413, "body_too_large", nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := call(newPages(&fake{err: row.err}), "POST", row.route, row.body)
			check(t, w, row.status, row.code, append(row.parts, `role="alert"`)...)
			if w.Header().Get("Set-Cookie") != "" || strings.Contains(w.Body.String(), "secret cause") {
				t.Errorf("got %v %s", w.Header(), w.Body)
			}
			if (row.status == 429 || row.status == 503) && w.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
	for _, route := range []string{"/login", "/login/code", "/login/resend"} {
		for _, media := range []string{"application/json", "multipart/form-data", ";"} {
			check(t, call(newPages(&fake{}), "POST", route, "phone=%2B1", "Content-Type: "+media), 415, "unsupported_media_type")
		}
	}
	// A form's fields never come from the query: a link could carry them.
	check(t, call(newPages(&fake{}), "POST", "/login?phone=%2B15555550100", ""), 400, "phone_invalid")
}
