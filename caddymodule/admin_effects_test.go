package caddymodule_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// What an operator was answered holds from the next request, and after a restart.
func TestAdminActsHoldAtOnce(t *testing.T) {
	o := startOffice(t, socket(t), plenty)
	alice, bob := o.signIn("+46701234567"), o.signIn("+46707654321")
	app := func(path string, who tokens) reply { return o.do("GET", path, nil, "Authorization", bearer(who)) }

	wants(t, "no admin yet", app("/admin/x", alice), 403, "insufficient_role")
	wants(t, "roles", o.ask("PATCH", "users/1", `{"user_roles":["admin"]}`), 200, "")
	wants(t, "an admin", app("/admin/x", alice), 200, "")
	wants(t, "roles", o.ask("PATCH", "users/1", `{"user_roles":[]}`), 200, "")
	wants(t, "no admin any more", app("/admin/x", alice), 403, "insufficient_role")

	stream := openEvents(t, o.site, bob)
	wants(t, "ban", o.ask("POST", "users/2/ban", `{}`), 200, "")
	began := time.Now()
	if ended := stream(); ended != "banned" || time.Since(began) > time.Second {
		t.Errorf("the stream ended %q after %v", ended, time.Since(began))
	}
	wants(t, "a banned user", app("/", bob), 401, "session_revoked")
	challenge := o.start("+46707654321")
	body := map[string]any{"challenge_id": challenge, "code": o.codeOf(challenge)}
	wants(t, "a sign-in of a banned user", o.do("POST", apiPath+"/otp/verify", body), 403, "account_disabled")
	wants(t, "unban", o.ask("POST", "users/2/unban", `{}`), 200, "")
	bob = o.signIn("+46707654321")
	wants(t, "unbanned", app("/", bob), 200, "")

	stream = openEvents(t, o.site, alice)
	wants(t, "all", o.ask("POST", "sessions/revoke-all", `{}`), 204, "")
	began = time.Now()
	if ended := stream(); ended != "revoked" || time.Since(began) > time.Second {
		t.Errorf("the stream ended %q after %v", ended, time.Since(began))
	}
	wants(t, "alice", app("/", alice), 401, "session_revoked")
	wants(t, "bob", app("/", bob), 401, "session_revoked")
	wants(t, "a refresh", o.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": bob.Refresh}), 400, "session_revoked")
	again := o.signIn("+46701234567")

	wants(t, "block", o.ask("POST", "blocks", `{"prefix":"+4670765"}`), 204, "")
	for _, phone := range []string{"+46707654321", "+46707650000"} { // known and not
		wants(t, "a blocked number", o.do("POST", apiPath+"/otp", map[string]any{"phone": phone}), 400, "phone_not_supported")
	}
	wants(t, "rotate", o.ask("POST", "keys/rotate", `{}`), 200, "")
	wants(t, "with the token of the key before", app("/", again), 200, "")

	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	o.load(o.config(plenty, ""))
	wants(t, "alice, after a restart", app("/", alice), 401, "session_revoked")
	wants(t, "bob, after a restart", app("/", bob), 401, "session_revoked")
	wants(t, "the new session", app("/", again), 200, "")
	wants(t, "the block", o.do("POST", apiPath+"/otp", map[string]any{"phone": "+46707650000"}), 400, "phone_not_supported")

	wants(t, "delete", o.ask("DELETE", "users/1", ""), 204, "")
	wants(t, "a deleted user", app("/", again), 401, "session_revoked")
	if got := o.signIn("+46701234567"); got.UserID == again.UserID {
		t.Error("the number got the old account back")
	}
}

// openEvents opens a session's event stream; the function it gives waits for
// the session's end and gives the reason.
func openEvents(t *testing.T, s *site, who tokens) (ended func() string) {
	t.Helper()
	req, err := http.NewRequest("GET", s.url(apiPath+"/events"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", bearer(who))
	resp, err := s.client.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("opening the stream: %v %v", resp, err)
	}
	return func() string {
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			var end struct {
				Reason string `json:"end_reason"`
			}
			if data, is := strings.CutPrefix(lines.Text(), "data:"); is && json.Unmarshal([]byte(data), &end) == nil && end.Reason != "" {
				return end.Reason
			}
		}
		return ""
	}
}
