package caddymodule_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// listen opens an event stream and hands out its lines; the channel is closed
// when the server ends it.
func (s *site) listen(who tokens) <-chan string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", s.url(apiPath+"/events"), http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", bearer(who))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("events: %d %v", resp.StatusCode, resp.Header)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		defer resp.Body.Close()
		for text := bufio.NewScanner(resp.Body); text.Scan(); {
			lines <- text.Text()
		}
	}()
	return lines
}

// until reads lines until one begins so, or the stream ends.
func until(t *testing.T, lines <-chan string, prefix string) string {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case line, ok := <-lines:
			if !ok || strings.HasPrefix(line, prefix) {
				return line
			}
		case <-deadline:
			t.Fatalf("no line %q", prefix)
		}
	}
}

func TestEventsTellOfAnEndElsewhere(t *testing.T) {
	s := startSite(t, "", "")
	phone, desk := s.signIn("+46701234567"), s.signIn("+46701234567")
	lines := s.listen(phone)
	until(t, lines, ":")
	wants(t, "changing the device", s.do("PUT", apiPath+"/device", `{"device_name":"Telephone"}`, "Authorization", bearer(phone)), 200, "")
	until(t, lines, "event: session.changed")
	s.signIn("+46701234567") // on a device that is new
	until(t, lines, "event: session.changed")
	wants(t, "ending it from the desk", s.do("DELETE", apiPath+"/sessions/"+phone.SessionID, nil, "Authorization", bearer(desk)), 204, "")
	until(t, lines, "event: session.ended")
	if got, want := until(t, lines, "data:"), `data: {"session_id":"`+phone.SessionID+`","end_reason":"revoked"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if line := until(t, lines, "event"); line != "" {
		t.Errorf("after the end: %q", line)
	}
}

// Caddy waits for requests in flight without limit when no grace_period is set.
func TestEventStreamsHoldUpNoReload(t *testing.T) {
	s := newSite(t)
	patient := strings.Replace(s.config("", "", ""), "grace_period 5s", "", 1)
	s.load(patient)
	t.Cleanup(func() { _ = caddy.Stop() })
	who := s.signIn("+46701234567")
	lines := s.listen(who)
	until(t, lines, ":")
	s.load(strings.Replace(patient, "persist_config off", "persist_config off\n\thttp_port 8081", 1))
	if line := until(t, lines, "event"); line != "" {
		t.Errorf("a reload told %q", line)
	}
	until(t, s.listen(who), ":")
}
