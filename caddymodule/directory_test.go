package caddymodule_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// The app's own table says who a number is; what it does not say, nobody else
// makes up.
func TestDirectoryOfTheApp(t *testing.T) {
	var says atomic.Value
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		want := sender.Signature([]byte("hunter2"), r.Header.Get("X-Sidegate-Timestamp"), body)
		if r.Header.Get("X-Sidegate-Signature") != want {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer := says.Load().(string)
		if answer == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(app.Close)
	s := newSite(t)
	s.load(strings.Replace(s.config(noLimits, "require /admin/* role admin", ""), "store badger",
		"directory webhook "+app.URL+" {\n secret hunter2\n}\n store badger", 1))
	t.Cleanup(func() { _ = caddy.Stop() })

	says.Store(`{"auth_user_id":4711,"user_type":"staff","user_roles":["admin"]}`)
	first := s.signIn("+46701234567")
	wants(t, "an admin", s.do("GET", "/admin/x", nil, "Authorization", bearer(first)), 200, "")
	if got := s.upstream.one(t).Header; got.Get("X-Auth-User-Id") != "4711" || got.Get("X-Auth-User-Type") != "staff" || got.Get("X-Auth-User-Roles") != "admin" {
		t.Errorf("the app heard %v", got)
	}

	says.Store(`{"auth_user_id":4711,"user_type":"staff","user_roles":["reader"]}`)
	s.signIn("+46701234567")
	wants(t, "no admin any more, on any device", s.do("GET", "/admin/x", nil, "Authorization", bearer(first)), 403, "insufficient_role")

	says.Store("nonsense")
	challenge := s.start("+46707654321")
	body := map[string]any{"challenge_id": challenge, "code": s.codeOf(challenge)}
	wants(t, "no account in the answer", s.do("POST", apiPath+"/otp/verify", body), 503, "store_unavailable")
	says.Store(`{"auth_user_id":4712,"user_type":"customer","user_roles":[]}`)
	wants(t, "the same code when the app is well again", s.do("POST", apiPath+"/otp/verify", body), 200, "")

	says.Store("")
	challenge = s.start("+46707654399")
	body = map[string]any{"challenge_id": challenge, "code": s.codeOf(challenge)}
	wants(t, "unknown to the app", s.do("POST", apiPath+"/otp/verify", body), 403, "account_disabled")
}
