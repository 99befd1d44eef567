package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestAccount(t *testing.T) {
	f := &fake{rotated: "sgc1_next"}
	w := call(newPages(f), "GET", "/account", "", cookie)
	check(t, w, 200, "", "&lt;script&gt;", "This device", "Unnamed device", `<time datetime="1970-01-01T00:00:00Z">1970-01-01</time>`, `value="`+other.String()+`"`, "Sign out all other devices", "Sign out")
	if w.Header().Get("Set-Cookie") != "sidegate=sgc1_next" || f.owner.UserID != 7 {
		t.Errorf("got %v, owner %+v", w.Header(), f.owner)
	}
	if strings.Contains(w.Body.String(), `value="`+mine.String()+`"`) {
		t.Error("the own session has a button of its own")
	}
}

// A session of the last day is marked, so that a stranger's is noticed. One's
// own is not.
func TestAccountMarksNewSessions(t *testing.T) {
	for _, row := range []struct {
		name string
		age  time.Duration
		want bool
	}{{"a day ago", 24 * time.Hour, false}, {"just within a day", 24*time.Hour - time.Second, true}, {"now", 0, true}, {"by a clock ahead of ours", -time.Second, true}} {
		f := &fake{signedIn: time.Now().Add(-row.age)}
		p := newPages(f)
		p.Now = func() time.Time { return f.signedIn.Add(row.age) }
		body := call(p, "GET", "/account", "", cookie).Body.String()
		if got := strings.Count(body, `<span class="mark new">New</span>`); (got == 1) != row.want || got > 1 {
			t.Errorf("%s: %d marks", row.name, got)
		}
	}
}

func TestAccountSignedOut(t *testing.T) {
	login := "/auth/login?" + url.Values{"return_to": {"/auth/account"}}.Encode()
	for _, request := range [][2]string{{"GET", "/account"}, {"POST", "/account/end"}, {"POST", "/account/others"}} {
		t.Run(request[1], func(t *testing.T) {
			leads(t, call(newPages(&fake{}), request[0], request[1], ""), login)
			leads(t, call(newPages(&fake{}), request[0], request[1], "", "Cookie: sidegate=junk"), login)
			leads(t, call(newPages(&fake{}), request[0], request[1], "", cookie+"; sidegate=sgc1_mine"), login)
			leads(t, call(newPages(&fake{authErr: auth.Refuse(auth.CodeSessionRevoked)}), request[0], request[1], "", cookie), login)
			// A fault of ours logs nobody out.
			w := call(newPages(&fake{authErr: auth.ErrUnavailable}), request[0], request[1], "", cookie)
			check(t, w, 503, "store_unavailable")
			if w.Header().Get("Set-Cookie") != "" {
				t.Error("the cookie was touched")
			}
		})
	}
}

func TestEndings(t *testing.T) {
	rows := []struct {
		name, route, body string
		err               error
		where             string // or the code of a refusal
		call              string
		cleared           bool
	}{
		{"one session", "/account/end", "session_id=" + other.String(), nil, "/auth/account?done=one", "revoke", false},
		{"one that is gone", "/account/end", "session_id=" + other.String(), auth.Refuse(auth.CodeNotFound), "/auth/account?done=one", "revoke", false},
		{"the own one", "/account/end", "session_id=" + mine.String(), nil, "/auth/login?done=out", "logout session", true},
		{"an id that is none", "/account/end", "session_id=x", nil, "invalid_request", "", false},
		{"a field given twice", "/account/end", "session_id=x&session_id=y", nil, "invalid_request", "", false},
		{"the others", "/account/others", "", nil, "/auth/account?done=others", "others", false},
		{"sign out", "/logout", "", nil, "/auth/login?done=out", "logout session", true},
		{"sign out of what is over", "/logout", "", auth.Refuse(auth.CodeSessionExpired), "/auth/login?done=out", "logout session", true},
		{"sign out while the store is down", "/logout", "", auth.ErrUnavailable, "store_unavailable", "logout session", false},
		{"the others while the store is down", "/account/others", "", auth.ErrUnavailable, "store_unavailable", "others", false},
		{"one while the store is down", "/account/end", "session_id=" + other.String(), auth.ErrUnavailable, "store_unavailable", "revoke", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := &fake{err: row.err}
			w := call(newPages(f), "POST", row.route, row.body, cookie)
			if strings.HasPrefix(row.where, "/") {
				leads(t, w, row.where)
			} else {
				status, _ := statusOf(auth.Refuse(auth.Code(row.where)), false)
				check(t, w, status, row.where)
			}
			if got := strings.Join(f.calls, ", "); got != row.call {
				t.Errorf("the service was asked %q, want %q", got, row.call)
			}
			if got := strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0"); got != row.cleared {
				t.Errorf("cookie cleared: got %v, want %v", got, row.cleared)
			}
		})
	}
	w := call(newPages(&fake{}), "POST", "/logout", "", "Cookie: sidegate=junk")
	leads(t, w, "/auth/login?done=out")
	if !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Error("junk stays in the browser")
	}
	check(t, call(newPages(&fake{err: auth.ErrUnavailable}), "GET", "/account", "", cookie), 503, "store_unavailable")
}

func TestPanicsAreFaultsOfOurs(t *testing.T) {
	check(t, call(newPages(&fake{panics: "boom"}), "POST", "/login", "phone=%2B11"), 500, "internal_error", "on our side")
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("got %v, want the abort to go on", v)
		}
	}()
	call(newPages(&fake{panics: http.ErrAbortHandler}), "POST", "/login", "phone=%2B11")
}
