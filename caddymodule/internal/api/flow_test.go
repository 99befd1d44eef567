package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestTokenResponse(t *testing.T) {
	f := &fake{}
	w := call(newAPI(f), "POST", "/otp/verify", `{"challenge_id":"ch1","code":"012-3 45","device":{"device_id":"d1","device_name":" a\u202eb\u0000 ","color":"red"}}`)
	check(t, w, 200, "")
	want := `{"access_token":"good","refresh_token":"sgr1_mine","expires_in":1,"auth_user_id":7,"user_type":"customer","session_id":"` + sid +
		`","user_roles":[],"token_type":"Bearer","expires_at":"2026-01-02T03:04:06.5Z","refresh_expires_in":3600,"session_expires_at":"2026-01-02T04:04:05Z",` +
		`"device_id":"d1","is_new_user":true,"server_time":"2026-01-02T03:04:05Z"}`
	if got := strings.TrimSpace(w.Body.String()); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	if f.verify.Code != "012345" || f.verify.Device.Name != "ab" || f.verify.ClientIP != "192.0.2.1" || f.verify.Kind != auth.RefreshTicket {
		t.Errorf("the service got %+v", f.verify)
	}
	if len(w.Header()["Set-Cookie"]) != 0 {
		t.Error("a cookie was set in bearer mode")
	}
}

// A browser that has signed in is known from then on, by a cookie that script
// cannot read and that the session's cookie comes before.
func TestDeviceProof(t *testing.T) {
	const line = "__Host-sidegate-device=20000.mac; Path=/; Max-Age=34560000; HttpOnly; Secure; SameSite=Lax"
	const asBrowser = "Sec-Fetch-Site: same-origin"
	f := &fake{proof: "20000.mac"}
	w := call(newAPI(f), "POST", "/otp/verify", `{"challenge_id":"ch1","code":"123456","transport":"cookie"}`)
	check(t, w, 200, "")
	if got := w.Header()["Set-Cookie"]; len(got) != 2 || !strings.HasPrefix(got[0], "__Host-sidegate=") || got[1] != line {
		t.Errorf("cookie transport: got %q", got)
	}
	w = call(newAPI(f), "POST", "/otp/verify", verifyBody, asBrowser)
	if got := w.Header()["Set-Cookie"]; len(got) != 1 || got[0] != line {
		t.Errorf("bearer transport in a browser: got %q", got)
	}
	w = call(newAPI(f), "POST", "/otp/verify", verifyBody)
	if got := w.Header()["Set-Cookie"]; len(got) != 0 {
		t.Errorf("bearer transport of an app: got %q", got)
	}
	if strings.Contains(w.Body.String(), "20000.mac") {
		t.Error("the proof is in script's reach")
	}
	f.proof = ""
	if w = call(newAPI(f), "POST", "/refresh", `{}`, asCookie); len(w.Header()["Set-Cookie"]) != 1 {
		t.Errorf("a refresh set %q", w.Header()["Set-Cookie"])
	}
	for cookies, want := range map[string]string{
		"": "", "__Host-sidegate-device=p1": "p1", "__Host-sidegate-device=p1; __Host-sidegate-device=p2": "", "sidegate-device=p1": "",
	} {
		check(t, call(newAPI(f), "POST", "/otp", `{"phone":"+46701234567"}`, "Cookie: "+cookies), 202, "")
		check(t, call(newAPI(f), "POST", "/otp/verify", verifyBody, "Cookie: "+cookies), 200, "")
		if f.start.DeviceProof != want || f.verify.DeviceProof != want {
			t.Errorf("%q: the service got %q and %q, want %q", cookies, f.start.DeviceProof, f.verify.DeviceProof, want)
		}
	}
}

func TestSigningFault(t *testing.T) {
	a := newAPI(&fake{})
	a.Tokens = &fakeTokens{signErr: errors.New("no key")}
	check(t, call(a, "POST", "/otp/verify", verifyBody), 500, "internal_error")
}

func TestCookieTransport(t *testing.T) {
	f := &fake{}
	w := call(newAPI(f), "POST", "/otp/verify", `{"challenge_id":"ch1","code":"123456","transport":"cookie"}`)
	check(t, w, 200, "")
	want := "__Host-sidegate=sgr1_mine; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"
	if got := w.Header().Get("Set-Cookie"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if strings.Contains(w.Body.String(), "_token\"") || strings.Contains(w.Body.String(), "sgr1_") || f.verify.Kind != auth.CookieTicket {
		t.Errorf("a token is in script's reach: %s", w.Body)
	}
	t.Run("refresh", func(t *testing.T) {
		w := call(newAPI(f), "POST", "/refresh", `{}`, asCookie)
		check(t, w, 200, "")
		if f.kind != auth.CookieTicket || f.ticket != "sgc1_mine" || w.Header().Get("Set-Cookie") == "" || strings.Contains(w.Body.String(), "sgr1_") {
			t.Errorf("got %s %v", w.Body, w.Header())
		}
		check(t, call(newAPI(f), "POST", "/refresh", `{"refresh_token":"sgr1_mine"}`, asCookie), 400, "invalid_request")
		check(t, call(newAPI(f), "POST", "/refresh", `{}`, asCookie, "X-Cross: 1"), 403, "cross_origin_blocked")
		check(t, call(newAPI(f), "POST", "/refresh", `{}`, `Cookie: __Host-sidegate="sgc1_mine"`), 400, "refresh_token_invalid")
		check(t, call(newAPI(f), "POST", "/refresh", `{}`, asCookie+"; __Host-sidegate=b"), 400, "invalid_request")
	})
	t.Run("the cookie is renewed on the way", func(t *testing.T) {
		f := &fake{rotated: "sgc1_next"}
		w := call(newAPI(f), "GET", "/sessions", "", asCookie)
		check(t, w, 200, "")
		if !strings.HasPrefix(w.Header().Get("Set-Cookie"), "__Host-sidegate=sgc1_next;") || f.owner.UserID != 7 {
			t.Errorf("got %v, owner %+v", w.Header(), f.owner)
		}
	})
	t.Run("ending the own session takes it away, once", func(t *testing.T) {
		w := call(newAPI(&fake{rotated: "sgc1_next"}), "DELETE", "/sessions/"+sid, "", asCookie)
		check(t, w, 204, "")
		if lines := w.Header()["Set-Cookie"]; len(lines) != 1 || !strings.Contains(lines[0], "Max-Age=0") {
			t.Errorf("got %q", lines)
		}
	})
	check(t, call(newAPI(f), "GET", "/session", "", asCookie, asBearerGood), 400, "invalid_request")
	check(t, call(newAPI(f), "GET", "/session", "", "Cookie: __Host-sidegate=junk"), 401, "token_invalid")
	check(t, call(newAPI(&fake{authErr: auth.Refuse(auth.CodeSessionExpired)}), "GET", "/user", "", asCookie), 401, "session_expired")
	check(t, call(newAPI(&fake{authErr: auth.ErrUnavailable}), "GET", "/user", "", asCookie), 503, "store_unavailable")
	check(t, call(newAPI(f), "GET", "/session", "", "Authorization: Basic x"), 401, "token_missing")
	check(t, call(newAPI(f), "GET", "/session", "", "Authorization: bearer good"), 200, "")
}

func TestACookieAtItsEndIsStillACookie(t *testing.T) {
	w := call(newAPI(&fake{}), "GET", "/health", "")
	a := newAPI(&fake{})
	r, _ := http.NewRequest("GET", "/", nil)
	a.SetCookie(w, r, "x", 10*time.Millisecond)
	if got := w.Header().Get("Set-Cookie"); !strings.Contains(got, "Max-Age=1;") {
		t.Errorf("got %q", got)
	}
}

func TestLogout(t *testing.T) {
	rows := []struct {
		name, body string
		heads      []string
		status     int
		code       string
		cleared    bool
		scope      auth.Scope
		err        error
	}{
		{"with an expired access token", `{}`, []string{"Authorization: Bearer old"}, 204, "", false, "session", nil},
		{"without a body", ``, []string{asBearerGood}, 204, "", false, "session", nil},
		{"with a refresh token", `{"refresh_token":"sgr1_mine","scope":"all"}`, nil, 204, "", false, "all", nil},
		{"with the cookie", `{}`, []string{asCookie}, 204, "", true, "session", nil},
		{"with all three of one session", `{"refresh_token":"sgr1_mine"}`, []string{asCookie, asBearerGood}, 204, "", true, "session", nil},
		{"of the others keeps the cookie", `{"scope":"others"}`, []string{asCookie}, 204, "", false, "others", nil},
		{"of two sessions", `{"refresh_token":"sgr1_other"}`, []string{asBearerGood}, 400, "invalid_request", false, "", nil},
		{"with an unreadable cookie", `{}`, []string{"Cookie: __Host-sidegate=junk"}, 401, "token_invalid", true, "", nil},
		{"with an unreadable token", `{}`, []string{asCookie, "Authorization: Bearer x"}, 401, "token_invalid", false, "", nil},
		{"of a session that is over", `{}`, []string{asCookie}, 204, "", true, "session", auth.Refuse(auth.CodeSessionRevoked)},
		{"while the store is down", `{}`, []string{asCookie}, 503, "store_unavailable", false, "session", auth.ErrUnavailable},
		{"with a cookie given twice", `{}`, []string{asCookie, asCookie}, 400, "invalid_request", false, "", nil},
		{"with a media type and no body", ``, []string{asBearerGood, "Content-Type: text/plain"}, 415, "unsupported_media_type", false, "", nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := &fake{err: row.err}
			w := call(newAPI(f), "POST", "/logout", row.body, row.heads...)
			check(t, w, row.status, row.code)
			if got := strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0"); got != row.cleared {
				t.Errorf("cookie cleared: got %v, want %v", got, row.cleared)
			}
			if f.scope != row.scope {
				t.Errorf("scope: got %q, want %q", f.scope, row.scope)
			}
		})
	}
}

func TestSessionThatIsOver(t *testing.T) {
	revoked := auth.Refuse(auth.CodeSessionRevoked)
	rows := []struct {
		name, route, head string
		f                 *fake
		status            int
		code              string
	}{
		{"a revoked session is shown to its token", "/session", asBearerGood, &fake{authErr: revoked, ended: true}, 200, ""},
		{"also by its id", "/session/" + sid, asBearerGood, &fake{authErr: revoked, ended: true}, 200, ""},
		{"and to its cookie", "/session", asCookie, &fake{authErr: revoked, ended: true}, 200, ""},
		{"and to an expired token", "/session", "Authorization: Bearer old", &fake{ended: true}, 200, ""},
		{"an expired token of a live session", "/session", "Authorization: Bearer old", &fake{}, 401, "token_expired"},
		{"an ended session sees no other", "/session/" + other.String(), asBearerGood, &fake{authErr: revoked, ended: true}, 401, "session_revoked"},
		{"a session whose record is gone", "/session", asBearerGood, &fake{authErr: revoked, err: auth.Refuse(auth.CodeNotFound)}, 401, "session_revoked"},
		{"and one that is gone altogether", "/session", asBearerGood, &fake{authErr: revoked, err: auth.Refuse(auth.CodeSessionExpired)}, 401, "session_revoked"},
		{"while the store is down", "/session", asBearerGood, &fake{authErr: revoked, err: auth.ErrUnavailable}, 503, "store_unavailable"},
		{"a store that fails earlier", "/session", asBearerGood, &fake{authErr: auth.ErrUnavailable}, 503, "store_unavailable"},
		{"a list is not shown", "/sessions", asBearerGood, &fake{authErr: revoked, ended: true}, 401, "session_revoked"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := call(newAPI(row.f), "GET", row.route, "", row.head)
			check(t, w, row.status, row.code)
			if row.status == 200 && !strings.Contains(w.Body.String(), `"is_active":false,"end_reason":"revoked"`) {
				t.Errorf("got %s", w.Body)
			}
			if row.status == 401 && row.f.owner.SessionID != (auth.SessionID{}) && row.f.err == nil {
				t.Error("a credential that is no good was a use of the session")
			}
		})
	}
}

func TestActivityTakesATime(t *testing.T) {
	f := &fake{}
	check(t, call(newAPI(f), "POST", "/session/"+other.String()+"/activity", `{"last_activity_at":"2026-01-02T04:04:05+01:00"}`, asBearerGood), 204, "")
	if !f.at.Equal(now) || f.id != other || f.owner.SessionID != mine {
		t.Errorf("the service got %v %v %v", f.at, f.id, f.owner)
	}
	check(t, call(newAPI(f), "POST", "/session/"+sid+"/activity", "", asBearerGood), 204, "")
	if !f.at.IsZero() {
		t.Errorf("got %v, want no time", f.at)
	}
}

func TestDevice(t *testing.T) {
	f := &fake{}
	w := call(newAPI(f), "PUT", "/device", `{"device_type":"phone","device_name":"`+strings.Repeat("é", 70)+`","fcm_token":"secret-push","extra":1}`, asBearerGood)
	check(t, w, 200, "")
	if strings.Contains(w.Body.String(), "secret-push") || !strings.Contains(w.Body.String(), `"has_fcm_token":true`) {
		t.Errorf("got %s", w.Body)
	}
	if f.in.Name != strings.Repeat("é", 64) || f.in.PushToken != "secret-push" {
		t.Errorf("the service got %+v", f.in)
	}
}

func TestUserIsMasked(t *testing.T) {
	w := call(newAPI(&fake{}), "GET", "/user", "", asBearerGood)
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["phone"] != "••00" || got["auth_user_id"] != 7.0 || got["user_roles"] == nil {
		t.Errorf("got %v", got)
	}
}

func TestSendCodeAnswer(t *testing.T) {
	f := &fake{}
	w := call(newAPI(f), "POST", "/otp", `{"phone":"+15555550100","channel":"sms","challenge_id":"ch1","transport":"cookie"}`)
	check(t, w, 202, "")
	if got := strings.TrimSpace(w.Body.String()); got != `{"challenge_id":"ch1","expires_in":300,"resend_after":60,"code_length":6,"channel":"sms"}` {
		t.Errorf("got %s", got)
	}
	if f.start != (auth.StartRequest{Phone: "+15555550100", Channel: "sms", ChallengeID: "ch1", ClientIP: "192.0.2.1"}) {
		t.Errorf("the service got %+v", f.start)
	}
	check(t, call(newAPI(f), "POST", "/otp", `{"phone":"+15555550100","challenge_id":"../x"}`), 202, "")
	if f.start.ChallengeID != "" {
		t.Errorf("an impossible challenge id reached the service: %q", f.start.ChallengeID)
	}
}
