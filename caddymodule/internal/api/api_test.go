package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const (
	asBearerGood = "Authorization: Bearer good"
	asCookie     = "Cookie: __Host-sidegate=sgc1_mine"
	phoneBody    = `{"phone":"+15555550100"}`
	verifyBody   = `{"challenge_id":"ch1","code":"123456"}`
)

var sid = mine.String()

// succeed is every route once, as it should be called.
var succeed = []struct {
	method, route, body, head string
	status                    int
}{
	{"POST", "/otp", phoneBody, "", 202},
	{"GET", "/otp/ch1", "", "", 200},
	{"POST", "/otp/verify", verifyBody, "", 200},
	{"POST", "/refresh", `{"refresh_token":"sgr1_mine"}`, "", 200},
	{"POST", "/logout", `{}`, asBearerGood, 204},
	{"GET", "/session", "", asBearerGood, 200},
	{"GET", "/session/" + sid, "", asBearerGood, 200},
	{"POST", "/session/" + sid + "/activity", `{}`, asBearerGood, 204},
	{"GET", "/sessions", "", asBearerGood, 200},
	{"DELETE", "/sessions/" + sid, "", asBearerGood, 204},
	{"DELETE", "/sessions", "", asBearerGood, 204},
	{"PUT", "/device", `{}`, asBearerGood, 200},
	{"GET", "/user", "", asBearerGood, 200},
	{"POST", "/user/phone", phoneBody, asBearerGood, 202},
	{"POST", "/user/phone/verify", verifyBody, asBearerGood, 200},
	{"GET", "/jwks.json", "", "", 200},
	{"GET", "/health", "", "", 200},
}

func TestEveryRouteAnswers(t *testing.T) {
	for _, row := range succeed {
		t.Run(row.method+" "+row.route, func(t *testing.T) {
			w := call(newAPI(&fake{}), row.method, row.route, row.body, row.head)
			check(t, w, row.status, "")
			for name, want := range map[string]string{
				"X-Content-Type-Options":  "nosniff",
				"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
				"Referrer-Policy":         "no-referrer",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			cache := "no-store"
			if row.route == "/jwks.json" {
				cache = "public, max-age=300"
			}
			if got := w.Header().Get("Cache-Control"); got != cache {
				t.Errorf("Cache-Control: got %q, want %q", got, cache)
			}
			if row.status == 200 && !strings.HasPrefix(w.Header().Get("Content-Type"), "application/j") {
				t.Errorf("Content-Type: got %q", w.Header().Get("Content-Type"))
			}
		})
	}
}

func TestWhatIsCommonToRoutes(t *testing.T) {
	for _, row := range succeed {
		t.Run(row.method+" "+row.route, func(t *testing.T) {
			w := call(newAPI(&fake{}), "OPTIONS", row.route, "", row.head)
			check(t, w, 405, "method_not_allowed")
			if !strings.Contains(w.Header().Get("Allow"), row.method) {
				t.Errorf("Allow: got %q, want it to name %s", w.Header().Get("Allow"), row.method)
			}
			if row.method == "GET" {
				check(t, call(newAPI(&fake{}), "HEAD", row.route, "", row.head), row.status, "")
			} else {
				check(t, call(newAPI(&fake{}), row.method, row.route, row.body, row.head, "X-Cross: 1"), 403, "cross_origin_blocked")
			}
			if row.head != "" {
				check(t, call(newAPI(&fake{}), row.method, row.route, row.body), 401, "token_missing")
				check(t, call(newAPI(&fake{}), row.method, row.route, row.body, "Authorization: Bearer garbage"), 401, "token_invalid")
				check(t, call(newAPI(&fake{}), row.method, row.route, row.body, asBearerGood, asBearerGood), 400, "invalid_request")
			}
			if row.route != "/jwks.json" {
				w := call(newAPI(&fake{err: auth.ErrUnavailable}), row.method, row.route, row.body, row.head)
				check(t, w, 503, "store_unavailable")
				if w.Header().Get("Retry-After") == "" || w.Header().Get("Set-Cookie") != "" {
					t.Errorf("got headers %v, want Retry-After and no cookie", w.Header())
				}
			}
		})
	}
}

func TestBodiesAreReadStrictly(t *testing.T) {
	bad := []struct {
		name, body string
		status     int
		code       string
	}{
		{"an array", `[]`, 400, "invalid_request"},
		{"null", `null`, 400, "invalid_request"},
		{"no JSON", `phone=1`, 400, "invalid_request"},
		{"cut off", `{"phone":"+1`, 400, "invalid_request"},
		{"no closing brace", `{"phone":"+1"`, 400, "invalid_request"},
		{"a second value", `{}{}`, 400, "invalid_request"},
		{"something after the object", `{"phone":"+1"} x`, 400, "invalid_request"},
		{"a member twice", `{"phone":"+1","phone":"+2"}`, 400, "invalid_request"},
		{"a member twice under an escape", `{"x":1,"\u0078":2}`, 400, "invalid_request"},
		{"invalid UTF-8", "{\"phone\":\"\xff\"}", 400, "invalid_request"},
		{"a byte order mark", "\ufeff{}", 400, "invalid_request"},
		{"too deep", `{"a":` + strings.Repeat("[", 15000), 400, "invalid_request"},
		{"too large", `{"a":"` + strings.Repeat("x", maxBody) + `"}`, 413, "body_too_large"},
	}
	routes := []struct{ method, route, head string }{
		{"POST", "/otp", ""}, {"POST", "/otp/verify", ""}, {"POST", "/refresh", ""}, {"POST", "/logout", asBearerGood},
		{"POST", "/session/" + sid + "/activity", asBearerGood}, {"PUT", "/device", asBearerGood},
	}
	for _, route := range routes {
		for _, row := range bad {
			t.Run(route.route+" "+row.name, func(t *testing.T) {
				check(t, call(newAPI(&fake{}), route.method, route.route, row.body, route.head), row.status, row.code)
			})
		}
		for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "application/json; x=y", "application/jsonx", ";"} {
			t.Run(route.route+" as "+media, func(t *testing.T) {
				check(t, call(newAPI(&fake{}), route.method, route.route, `{}`, route.head, "Content-Type: "+media), 415, "unsupported_media_type")
			})
		}
		t.Run(route.route+" with an encoding", func(t *testing.T) {
			check(t, call(newAPI(&fake{}), route.method, route.route, `{}`, route.head, "Content-Encoding: gzip"), 415, "unsupported_media_type")
		})
	}
	t.Run("a charset of UTF-8 is fine", func(t *testing.T) {
		check(t, call(newAPI(&fake{}), "POST", "/otp", phoneBody, "Content-Type: application/json; charset=UTF-8"), 202, "")
	})
	t.Run("unknown members are ignored", func(t *testing.T) {
		check(t, call(newAPI(&fake{}), "POST", "/otp", `{"phone":"+15","new":{"a":1}}`), 202, "")
	})
	t.Run("a member in another case is another member", func(t *testing.T) {
		check(t, call(newAPI(&fake{}), "POST", "/otp", `{"Phone":"+15"}`), 400, "invalid_request")
	})
}

func TestWrongTypesAndValues(t *testing.T) {
	rows := []struct{ name, method, route, body, code string }{
		{"a phone that is a number", "POST", "/otp", `{"phone":1}`, "invalid_request"},
		{"no phone", "POST", "/otp", `{"phone":null}`, "invalid_request"},
		{"a phone that is none", "POST", "/otp", `{"phone":"12"}`, "phone_invalid"},
		{"an unknown transport", "POST", "/otp", `{"phone":"+1","transport":"pigeon"}`, "invalid_request"},
		{"a channel that is a list", "POST", "/otp", `{"phone":"+1","channel":[]}`, "invalid_request"},
		{"a code that is a number", "POST", "/otp/verify", `{"challenge_id":"c","code":123456}`, "invalid_request"},
		{"a short code", "POST", "/otp/verify", `{"challenge_id":"c","code":"12345"}`, "invalid_request"},
		{"a code with letters", "POST", "/otp/verify", `{"challenge_id":"c","code":"12345a"}`, "invalid_request"},
		{"digits of another script", "POST", "/otp/verify", `{"challenge_id":"c","code":"١٢٣"}`, "invalid_request"},
		{"no challenge", "POST", "/otp/verify", `{"code":"123456"}`, "invalid_request"},
		{"a challenge that cannot be", "POST", "/otp/verify", `{"challenge_id":"../x","code":"123456"}`, "otp_expired"},
		{"an unknown transport at verify", "POST", "/otp/verify", `{"challenge_id":"c","code":"123456","transport":"x"}`, "invalid_request"},
		{"a device that is a list", "POST", "/otp/verify", `{"challenge_id":"c","code":"123456","device":[]}`, "invalid_request"},
		{"a device name that is a number", "POST", "/otp/verify", `{"challenge_id":"c","code":"123456","device":{"device_name":1}}`, "invalid_request"},
		{"a device id with a line end", "POST", "/otp/verify", `{"challenge_id":"c","code":"123456","device":{"device_id":"a\r\nb"}}`, "invalid_request"},
		{"a repeated device id", "POST", "/otp/verify", `{"challenge_id":"c","code":"123456","device":{"device_id":"a","device_id":"b"}}`, "invalid_request"},
		{"a refresh token that is a number", "POST", "/refresh", `{"refresh_token":1}`, "invalid_request"},
		{"no refresh token", "POST", "/refresh", `{}`, "refresh_token_invalid"},
		{"an unknown scope", "POST", "/logout", `{"scope":"world"}`, "invalid_request"},
		{"a refresh token at logout that is none", "POST", "/logout", `{"refresh_token":"x"}`, "refresh_token_invalid"},
		{"a time that is none", "POST", "/session/" + sid + "/activity", `{"last_activity_at":"noon"}`, "invalid_request"},
		{"a time that is a number", "POST", "/session/" + sid + "/activity", `{"last_activity_at":1}`, "invalid_request"},
		{"a long device id", "PUT", "/device", `{"device_id":"` + strings.Repeat("x", 65) + `"}`, "invalid_request"},
		{"a long push token", "PUT", "/device", `{"fcm_token":"` + strings.Repeat("x", 4097) + `"}`, "invalid_request"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := &fake{}
			check(t, call(newAPI(f), row.method, row.route, row.body, asBearerGood), 400, row.code)
			if f.verified+f.logouts != 0 {
				t.Error("the service was asked")
			}
		})
	}
}

func TestUnknownRoutesAndIDs(t *testing.T) {
	for _, route := range []string{"", "/", "/otp/", "/OTP", "/otp/a/b", "/session/", "/session/*", "/session/*/activity", "/session//activity",
		"/session/x", "/session/" + other.String(), "/session/" + sid + "/", "/otp/a%2fb", "/otp/" + strings.Repeat("x", 65), "/users", "/events/", "/verify", "/health/"} {
		t.Run("GET "+route, func(t *testing.T) {
			check(t, call(newAPI(&fake{}), "GET", route, "", asBearerGood), 404, "not_found")
		})
	}
	check(t, call(newAPI(&fake{}), "DELETE", "/sessions/nope", "", asBearerGood), 404, "not_found")
	check(t, call(newAPI(&fake{}), "POST", "/session/nope/activity", "{}", asBearerGood), 404, "not_found")
}

func TestPanicsAreFaultsOfOurs(t *testing.T) {
	check(t, call(newAPI(&fake{panics: "boom"}), "POST", "/otp", phoneBody), 500, "internal_error")

	aborted := func(f func()) (v any) {
		defer func() { v = recover() }()
		f()
		return nil
	}
	t.Run("an abort goes on", func(t *testing.T) {
		v := aborted(func() { call(newAPI(&fake{panics: http.ErrAbortHandler}), "POST", "/otp", phoneBody) })
		if v != http.ErrAbortHandler {
			t.Errorf("got %v", v)
		}
	})
	t.Run("half an answer is cut off", func(t *testing.T) {
		a := newAPI(&fake{})
		a.Verify = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic("boom")
		})
		if v := aborted(func() { call(a, "GET", "/verify", "") }); v != http.ErrAbortHandler {
			t.Errorf("got %v", v)
		}
	})
}

func TestVerifyIsDelegated(t *testing.T) {
	a := newAPI(&fake{})
	a.Verify = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	w := call(a, "GET", "/verify", "")
	check(t, w, 204, "")
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", w.Header())
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, errors.New("cut") }

func TestABodyThatBreaksOffIsTheClients(t *testing.T) {
	r := httptest.NewRequest("POST", "/", brokenBody{})
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	newAPI(&fake{}).ServeHTTP(w, r, "/otp")
	check(t, w, 400, "invalid_request")
	r = httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader(strings.Repeat(" ", maxBody)), strings.NewReader("{}")))
	r.Header.Set("Content-Type", "application/json")
	w = httptest.NewRecorder()
	newAPI(&fake{}).ServeHTTP(w, r, "/otp")
	check(t, w, 413, "body_too_large")
}

func TestProblems(t *testing.T) {
	refuse := func(code auth.Code) *auth.Error { return auth.Refuse(code) }
	late := refuse(auth.CodeRateLimited)
	late.RetryAfter = 1200 * time.Millisecond
	wrong := refuse(auth.CodeOTPInvalid)
	wrong.AttemptsLeft = 0
	rows := []struct {
		name   string
		err    error
		bearer bool
		status int
		code   string
		head   string // WWW-Authenticate
		body   string // part of it
	}{
		{"an expired session on refresh", refuse(auth.CodeSessionExpired), false, 400, "session_expired", "", `"error":"invalid_grant"`},
		{"an expired session elsewhere", refuse(auth.CodeSessionExpired), true, 401, "session_expired", `Bearer error="invalid_token"`, `"error":"invalid_token"`},
		{"a revoked session elsewhere", refuse(auth.CodeSessionRevoked), true, 401, "session_revoked", `Bearer error="invalid_token"`, ``},
		{"reuse seen on a cookie", refuse(auth.CodeRefreshReused), true, 401, "session_revoked", `Bearer error="invalid_token"`, ``},
		{"a bad cookie", refuse(auth.CodeRefreshInvalid), true, 401, "token_invalid", `Bearer error="invalid_token"`, ``},
		{"no token", refuse(auth.CodeTokenMissing), true, 401, "token_missing", `Bearer error="invalid_token"`, `"status":401`},
		{"an old sign-in", refuse(auth.CodeReauthRequired), true, 401, "reauthentication_required", `Bearer error="insufficient_user_authentication"`, ``},
		{"no role", refuse(auth.CodeInsufficientRole), true, 403, "insufficient_role", `Bearer error="insufficient_scope"`, ``},
		{"a wait is rounded up", late, false, 429, "rate_limited", "", `"retry_after":2`},
		{"no try left", wrong, false, 400, "otp_invalid", "", `"attempts_left":0`},
		{"a wait that was forgotten", refuse(auth.CodeTooManyFailures), false, 429, "too_many_failures", "", `"retry_after":2`},
		{"no sender", refuse(auth.CodeDeliveryUnavailable), false, 503, "delivery_unavailable", "", `"retry_after":2`},
		{"before the handshake", refuse("too_early"), true, 425, "too_early", "", ""},
		{"a detail", refuse(auth.CodeNotFound).Because("No such thing."), true, 404, "not_found", "", `"detail":"No such thing."`},
		{"a fault's detail stays inside", refuse(auth.CodeInternal).Because("secret"), true, 500, "internal_error", "", `"detail":"Something went wrong here."`},
		{"an unknown code", refuse("nonsense"), true, 500, "internal_error", "", ``},
		{"an unforeseen error", errors.New("boom"), true, 500, "internal_error", "", ``},
		{"a lost swap", auth.ErrConflict, true, 503, "store_unavailable", "", ``},
		{"a deadline", context.DeadlineExceeded, true, 503, "store_unavailable", "", ``},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Problems{}.Write(w, httptest.NewRequest("GET", "/", nil), row.err, row.bearer)
			check(t, w, row.status, row.code)
			if got := w.Header().Get("WWW-Authenticate"); got != row.head {
				t.Errorf("WWW-Authenticate: got %q, want %q", got, row.head)
			}
			if !strings.Contains(w.Body.String(), row.body) {
				t.Errorf("got %s, want %s", w.Body, row.body)
			}
			if w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("Content-Type: got %q", w.Header().Get("Content-Type"))
			}
			if status, code := StatusOf(row.err, row.bearer); status != row.status || string(code) != row.code {
				t.Errorf("StatusOf: got %d %s", status, code)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, `{"code":"1","device":{"device_name":"x"}}`, `{"a":1,"a":2}`, `[`, `{"a":}`, `{"a":1}x`, "\xff", `{"a":1,}`, `{"a" 1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fields, err := parseObject(body)
		if err != nil {
			if !errors.Is(err, auth.Refuse(auth.CodeInvalidRequest)) {
				t.Fatalf("got %v", err)
			}
			return
		}
		for name := range fields.members {
			fields.text(name)
			fields.instant(name)
			inner := fields.object(name)
			in := deviceInput(inner)
			if inner.err == nil && (len([]rune(in.Name)) > maxLabel || len(in.ID) > maxLabel || strings.ContainsAny(in.Name+in.ID, "\r\n\x00\u202e")) {
				t.Fatalf("a device that was let through: %q", in)
			}
		}
	})
}
