package caddymodule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule"
)

func init() { caddy.RegisterModule(EventListener{}) }

// EventListener is a handler of Caddy's events app. It keeps what it hears, and
// does what theListener says.
type EventListener struct{}

// CaddyModule returns the Caddy module information.
func (EventListener) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.test_listener", New: func() caddy.Module { return new(EventListener) }}
}

func (EventListener) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

func (EventListener) Handle(_ context.Context, e caddy.Event) error { return theListener.hear(e) }

var theListener *listener

type listener struct {
	mu    sync.Mutex
	heard []caddy.Event
	act   func(caddy.Event) error
}

func (l *listener) hear(e caddy.Event) error {
	l.mu.Lock()
	l.heard = append(l.heard, e)
	act := l.act
	l.mu.Unlock()
	if act == nil {
		return nil
	}
	return act(e)
}

func (l *listener) names() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.heard {
		names = append(names, strings.TrimSuffix(fmt.Sprint(e.Name(), " ", e.Data["cause"]), " <nil>"))
	}
	return names
}

func (l *listener) acts(f func(caddy.Event) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.act = f
}

// listening is a site whose events are heard.
func listening(t *testing.T, events, global string) (*site, *listener) {
	t.Helper()
	theListener = new(listener)
	s := newSite(t)
	s.load(strings.Replace(s.config(global, "", ""), "grace_period 5s", "grace_period 5s\n\tevents {\n\t\t"+events+"\n\t}", 1))
	t.Cleanup(func() { _ = caddy.Stop() })
	return s, theListener
}

func TestEventHandlers(t *testing.T) {
	s, l := listening(t, "on sidegate.session_ended test_listener\n\t\ton sidegate.session_started test_listener\n\t\ton sidegate.new_device test_listener", "")
	own := s.signIn(phoneA)
	other := s.signIn(phoneA)
	wants(t, "logout", s.do("POST", apiPath+"/logout", "{}", "Authorization", bearer(own)), 204, "")
	want := []string{"sidegate.session_started", "sidegate.new_device", "sidegate.session_started", "sidegate.session_ended logout"}
	waitFor(t, "the events", func() bool { return len(l.names()) >= len(want) })
	if got := l.names(); !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	first := l.heard[0]
	if first.Origin() == nil || first.Origin().CaddyModule().ID != "sidegate" {
		t.Errorf("from %v", first.Origin())
	}
	if first.Data["session_id"] != own.SessionID || first.Data["auth_user_id"] != own.UserID || first.Data["device_id"] != own.DeviceID {
		t.Errorf("told %v of %+v", first.Data, own)
	}
	// A configuration without handlers calls none.
	if err := s.reload("", ""); err != nil {
		t.Fatal(err)
	}
	s.client.CloseIdleConnections() // those of the old server
	wants(t, "logout", s.do("POST", apiPath+"/logout", "{}", "Authorization", bearer(other)), 204, "")
	if err := caddy.Stop(); err != nil { // what waits is passed on by then
		t.Fatal(err)
	}
	if got := l.names(); len(got) != len(want) {
		t.Errorf("then heard %q", got)
	}
}

// Attack on the operator: a handler that hangs, fails or panics makes the site
// slow, or refuses sign-ins.
func TestEventHandlersHoldUpNobody(t *testing.T) {
	s, l := listening(t, "on * test_listener", "")
	release := make(chan struct{})
	defer close(release)
	l.acts(func(e caddy.Event) error {
		switch {
		case e.Name() == "sidegate.code_requested":
			panic("a handler's own trouble")
		case e.Name() == "sidegate.code_delivered":
			return caddy.ErrEventAborted
		case strings.HasPrefix(e.Name(), "sidegate.session_started"):
			<-release
		}
		return nil
	})
	before := scrapeOwn(t)
	first := s.signIn(phoneA)
	waitFor(t, "the handler to hang", func() bool { return slices.Contains(l.names(), "sidegate.session_started") })
	began := time.Now()
	for range 20 {
		wants(t, "app", s.do("GET", "/app", nil, "Authorization", bearer(first)), 200, "")
		first = s.tokens(s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": first.Refresh}))
	}
	for range caddymodule.HeraldRoom + 10 { // what is too much is dropped, and counted
		s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": "rubbish"})
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("requests took %v", took)
	}
	lost := scrapeOwn(t)[`events_dropped_total{cause="full",subscriber="handlers"}`] - before[`events_dropped_total{cause="full",subscriber="handlers"}`]
	if lost < 10 {
		t.Errorf("%v dropped events were counted", lost)
	}
	began = time.Now()
	if err := s.reload("", ""); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a reload took %v", took)
	}
}

// Event data stand in the debug log: nothing there opens anything.
func TestEventDataHoldNoSecrets(t *testing.T) {
	// Codes of ten digits stand in no log by chance.
	s, l := listening(t, "on * test_listener", "otp {\nlength 10\n}")
	challenge := s.start(phoneA)
	code := s.codeOf(challenge)
	s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": "0000000000"})
	own := s.tokens(s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": code}))
	next := s.tokens(s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": own.Refresh}))
	wants(t, "logout", s.do("POST", apiPath+"/logout", "{}", "Authorization", bearer(next)), 204, "")
	waitFor(t, "the events", func() bool { return slices.Contains(l.names(), "sidegate.session_ended logout") })
	l.mu.Lock()
	defer l.mu.Unlock()
	var told strings.Builder
	for _, e := range l.heard {
		if data, err := json.Marshal(e.Data); err == nil && strings.HasPrefix(e.Name(), "sidegate.") {
			told.Write(data)
		}
	}
	log, err := os.ReadFile(filepath.Join(s.dir, "caddy.log"))
	if err != nil || !strings.Contains(string(log), "sidegate.session_ended") {
		t.Fatalf("the debug log tells no events: %v", err)
	}
	for _, text := range []string{told.String(), string(log)} {
		for _, secret := range []string{code, own.Access, own.Refresh, next.Access, next.Refresh, phoneA[1:]} {
			if strings.Contains(text, secret) {
				t.Errorf("an event tells %q", secret)
			}
		}
	}
}
