package caddymodule_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

const eventSecret = "a secret of the receiver"

// app is the receiver of events that an app would have.
type app struct {
	t      *testing.T
	url    string
	status atomic.Int32
	mu     sync.Mutex
	got    []map[string]any
	asked  atomic.Int32
}

func newApp(t *testing.T) *app {
	a := &app{t: t}
	a.status.Store(http.StatusOK)
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// ServeHTTP takes an event, if its signature is good.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked.Add(1)
	body, _ := io.ReadAll(r.Body)
	mac := hmac.New(sha256.New, []byte(eventSecret))
	io.WriteString(mac, r.Header.Get("X-Sidegate-Timestamp")+".")
	mac.Write(body)
	var event map[string]any
	switch {
	case r.Header.Get("X-Sidegate-Signature") != "sha256="+hex.EncodeToString(mac.Sum(nil)):
		a.t.Errorf("a wrong signature of %s", body)
	case json.Unmarshal(body, &event) != nil || event["id"] != r.Header.Get("Idempotency-Key") || event["id"] == "":
		a.t.Errorf("got %s", body)
	}
	status := int(a.status.Load())
	if status < 300 {
		a.mu.Lock()
		a.got = append(a.got, event)
		a.mu.Unlock()
	}
	w.WriteHeader(status)
}

// events are those that came, each once, as "name cause session".
func (a *app) events() (lines []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := map[any]bool{}
	for _, e := range a.got {
		if !seen[e["id"]] {
			seen[e["id"]] = true
			lines = append(lines, strings.ReplaceAll(fmt.Sprint(e["name"], " ", e["cause"], " ", e["session_id"]), "<nil>", "-"))
		}
	}
	slices.Sort(lines)
	return lines
}

// waitForEvents waits for exactly these, in any order.
func (a *app) waitForEvents(what string, want ...string) {
	a.t.Helper()
	slices.Sort(want)
	defer func() {
		if got := a.events(); !slices.Equal(got, want) {
			a.t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}()
	waitFor(a.t, "events", func() bool { return len(a.events()) >= len(want) })
}

func (a *app) notify(lines string) string {
	return fmt.Sprintf("notify webhook %s/events {\n secret {env.EVENT_SECRET}\n %s\n}\n", a.url, lines)
}

func TestNotifyWebhook(t *testing.T) {
	t.Setenv("EVENT_SECRET", eventSecret)
	standard, refusals := newApp(t), newApp(t)
	s := startSite(t, standard.notify("")+refusals.notify("events token_refused code_wrong\n timeout 2s"), "")
	own := s.signIn(phoneA)
	challenge := s.start(phoneA)
	wrong := "000000"
	if s.codeOf(challenge) == wrong {
		wrong = "000001"
	}
	wants(t, "a wrong code", s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": wrong}), 400, "otp_invalid")
	wants(t, "garbage", s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": "rubbish"}), 400, "refresh_token_invalid")
	refusals.waitForEvents("what was asked for", "token_refused refresh_token_invalid -", "code_wrong otp_invalid -")
	if err := s.reload(standard.notify("events session_ended"), ""); err != nil {
		t.Fatal(err)
	}
	s.client.CloseIdleConnections() // those of the old server
	wants(t, "logout", s.do("POST", apiPath+"/logout", "{}", "Authorization", bearer(own)), 204, "")
	standard.waitForEvents("by default, and after a reload", "user_created - "+own.SessionID, "session_started - "+own.SessionID, "session_ended logout "+own.SessionID)
}

// Whatever was answered is told, after kill -9 while the receiver was down.
func TestNotifyAfterKill(t *testing.T) {
	t.Setenv("EVENT_SECRET", eventSecret)
	receiver, s := newApp(t), newSite(t)
	receiver.status.Store(http.StatusServiceUnavailable)
	config := s.config(receiver.notify(""), "", "")
	c := startChild(t, config)
	var want []string
	for n := range 5 {
		own := s.signIn(fmt.Sprintf("+4670123456%d", n))
		want = append(want, "user_created - "+own.SessionID, "session_started - "+own.SessionID, "session_ended logout "+own.SessionID)
		wants(t, "logout", s.do("POST", apiPath+"/logout", "{}", "Authorization", bearer(own)), 204, "")
	}
	c.kill() // nothing between the last answer and this
	if receiver.asked.Load() == 0 || len(receiver.events()) > 0 {
		t.Fatal("the receiver was not asked, or took something")
	}
	s.client.CloseIdleConnections()
	receiver.status.Store(http.StatusNoContent)
	startChild(t, config)
	receiver.waitForEvents("after the crash", want...)
}

// Two that would take each other's events are refused.
func TestNotifyTwice(t *testing.T) {
	s := newSite(t)
	a := newApp(t)
	t.Setenv("EVENT_SECRET", eventSecret)
	err := caddy.Load(adapt(t, s.config(a.notify("")+a.notify("events *"), "", "")), true)
	if err == nil || !strings.Contains(err.Error(), "given twice") {
		t.Errorf("got %v", err)
	}
}
