package caddymodule_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Whatever is in flight of a session ends with it, and nothing else does. To
// the proxy it is a client who has left: it counts no failure of the upstream.
func TestStreamsEndWithTheirSession(t *testing.T) {
	for name, row := range map[string]struct {
		reason string
		global string
		quiet  bool // the person sends nothing
		all    bool // the end is that of the other session too
		end    func(s *streamSite, victim, other tokens) reply
	}{
		"logout": {reason: "logout", end: func(s *streamSite, victim, _ tokens) reply {
			return s.do("POST", apiPath+"/logout", nil, "Authorization", bearer(victim))
		}},
		"revoked from another session": {reason: "revoked", end: func(s *streamSite, victim, other tokens) reply {
			return s.do("DELETE", apiPath+"/sessions/"+victim.SessionID, nil, "Authorization", bearer(other))
		}},
		"all others revoked": {reason: "revoked", end: func(s *streamSite, _, other tokens) reply {
			return s.do("DELETE", apiPath+"/sessions", nil, "Authorization", bearer(other))
		}},
		"replaced by a sign-in on the same device": {reason: "replaced", end: func(s *streamSite, _, _ tokens) reply {
			s.signInWith(testA, map[string]any{"device_id": "victim"})
			return reply{}
		}},
		"evicted by one session too many": {reason: "evicted", quiet: true, global: "sessions {\n max_per_user 2\n}", end: func(s *streamSite, _, other tokens) reply {
			s.signInWith(testA, map[string]any{"device_id": "third"})
			return reply{}
		}},
		"an old refresh token": {reason: "reused", global: "tokens {\n refresh_grace 0s\n}", end: func(s *streamSite, victim, _ tokens) reply {
			next := s.tokens(s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": victim.Refresh}))
			s.tokens(s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": next.Refresh}))
			return s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": victim.Refresh})
		}},
		"revoked by an operator": {reason: "revoked", end: func(s *streamSite, victim, _ tokens) reply {
			return s.office.ask("POST", "sessions/"+victim.SessionID+"/revoke", `{}`)
		}},
		"banned by an operator": {reason: "banned", all: true, end: func(s *streamSite, _, _ tokens) reply {
			return s.office.ask("POST", "users/1/ban", `{}`)
		}},
		"everybody revoked by an operator": {reason: "revoked", all: true, end: func(s *streamSite, _, _ tokens) reply {
			return s.office.ask("POST", "sessions/revoke-all", `{}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := startStreams(t, row.global)
			victim := s.signInWith(testA, map[string]any{"device_id": "victim"})
			other := s.signInWith(testA, map[string]any{"device_id": "other"})
			kinds := everyKind
			if row.quiet {
				kinds = everyKind[:3]
			}
			streams := s.all(victim, kinds...)
			bystanders := []*stream{s.request("/open/sse", 1), s.request("/open/sse", 3), s.request("/open/poll", 2)}
			if others := s.all(other, everyKind...); row.all {
				streams = append(streams, others...)
			} else {
				bystanders = append(bystanders, others...)
			}
			if r := row.end(s, victim, other); r.status >= 300 && row.reason != "reused" {
				t.Fatalf("got %d %s", r.status, r.body)
			}
			answered := time.Now()
			for _, one := range streams {
				one.endsWithin(t, answered, "4401 "+row.reason)
			}
			for _, one := range bystanders {
				if strings.Contains(one.name, "poll") {
					if one.over() {
						t.Errorf("another session's %s has ended: %s", one.name, one.close)
					}
					continue
				}
				one.flows(t)
			}
			// An upstream that has failed once would be down now.
			wants(t, "the next request", s.do("GET", "/open/quick", nil), http.StatusOK, "")
			s.blamesNobody()
		})
	}
}

// blamesNobody wants no trouble of upstreams in the log.
func (s *streamSite) blamesNobody() {
	s.t.Helper()
	for line := range strings.Lines(s.log()) {
		if strings.Contains(line, `"level":"error"`) || strings.Contains(line, `"status":5`) {
			s.t.Errorf("the log says: %s", line)
		}
	}
}

func (s *streamSite) log() string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "caddy.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// An app that ends the session of the request it answers still gets to say so.
func TestLastWords(t *testing.T) {
	s := startStreams(t, "")
	who := s.signInWith(testA, nil)
	s.app.leave = func(w http.ResponseWriter, _ *http.Request) {
		wants(t, "logout", s.do("POST", apiPath+"/logout", nil, "Authorization", bearer(who)), http.StatusNoContent, "")
		_, _ = io.WriteString(w, "good bye")
	}
	if r := s.do("POST", "/leave", "{}", "Authorization", bearer(who)); r.status != http.StatusOK || string(r.body) != "good bye" {
		t.Errorf("got %d %s", r.status, r.body)
	}
	wants(t, "the request after it", s.do("GET", "/quick", nil, "Authorization", bearer(who)), http.StatusUnauthorized, "session_revoked")
}

// A handler that does not mind the cut, and puts the connection in order again,
// does not make its answer look complete.
func TestCutAnswerIsBrokenOff(t *testing.T) {
	s := newSite(t)
	config := strings.Replace(s.config(noLimits, "", ""), "\treverse_proxy", "\ttest_neighbour\n\treverse_proxy", 1)
	s.load(strings.Replace(config, "{\n", "{\n\torder test_neighbour before reverse_proxy\n", 1))
	t.Cleanup(func() { _ = caddy.Stop() })
	who := s.signInWith(testA, nil)
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.url("/late"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", bearer(who))
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	wants(t, "logout", s.do("POST", apiPath+"/logout", nil, "Authorization", bearer(who)), http.StatusNoContent, "")
	if text, err := io.ReadAll(resp.Body); err == nil || string(text) != "the beginning" {
		t.Errorf("got %q, %v", text, err)
	}
}

// What the person sends keeps the session; what comes down to them, and what
// browsers answer by themselves, does not: an open tab would stay signed in
// for ever.
func TestStreamsAndIdleTimeout(t *testing.T) {
	const idle = 2 * time.Second
	s := startStreams(t, "sessions {\n idle_timeout 2s\n}")
	quiet := s.signInWith(testA, map[string]any{"device_id": "quiet"})
	listening := s.all(quiet, "/sse", "/download", "/poll") // of these nobody sends anything
	pinging := repeatedly(t, func() { _, _ = listening[0].conn.Write(frame(9, nil, true)) })
	last := time.Now()

	busy := s.signInWith(testA, map[string]any{"device_id": "busy"})
	talking := s.webSocket("/ws", true, "Authorization", bearer(busy))
	typing := repeatedly(t, func() { talking.say("still here") })
	var sending []*stream // each of a session of its own, which nothing else keeps
	for version := 1; version <= 3; version++ {
		sender := s.signInWith(testA, map[string]any{"device_id": fmt.Sprint("sender ", version)})
		sending = append(sending, s.request("/upload", version, "Authorization", bearer(sender)))
	}

	for _, one := range listening {
		one.endsWithin(t, last.Add(idle), "4401 idle")
		if one.over() && one.at.Before(last.Add(idle-100*time.Millisecond)) {
			t.Errorf("%s ended before its time", one.name)
		}
	}
	pinging()
	waitFor(t, "twice the idle timeout", func() bool { return time.Since(last) > 2*idle })
	for _, one := range append(sending, talking) {
		one.flows(t)
	}
	typing()
	silent := time.Now()
	talking.endsWithin(t, silent.Add(idle), "4401 idle")
	for _, one := range sending {
		if one.over() {
			t.Errorf("somebody else's %s has ended", one.name)
		}
	}
}

// repeatedly does something until stop is called.
func repeatedly(t *testing.T, do func()) (stop func()) {
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				do()
			case <-ended:
				return
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(ended); <-stopped })
	t.Cleanup(stop)
	return stop
}

// Nothing outlasts max_lifetime, however busy the person is.
func TestStreamsAndMaxLifetime(t *testing.T) {
	s := startStreams(t, "sessions {\n max_lifetime 3s\n}")
	before := time.Now()
	who := s.signInWith(testA, nil)
	signedIn := time.Now()
	streams := s.all(who, everyKind...)
	repeatedly(t, func() { streams[0].say("still here") })
	for _, one := range streams {
		one.endsWithin(t, signedIn.Add(3*time.Second), "4401 expired")
		if one.over() && one.at.Before(before.Add(3*time.Second)) {
			t.Errorf("%s ended before its time", one.name)
		}
	}
	s.blamesNobody()
}

// A reload keeps what is in flight, a WebSocket for as long as
// stream_close_delay says, and the session's end still ends it.
func TestReloadKeepsStreams(t *testing.T) {
	s := newStreamSite(t)
	s.load(s.caddyfile("", "stream_close_delay 1m"))
	t.Cleanup(func() { _ = caddy.Stop() })
	victim := s.signInWith(testA, map[string]any{"device_id": "victim"})
	other := s.signInWith(testA, map[string]any{"device_id": "other"})
	streams, bystanders := s.all(victim, everyKind...), s.all(other, "/sse")
	for _, length := range []string{"7", "8"} {
		s.load(s.caddyfile("tokens {\n access_ttl "+length+"m\n}", "stream_close_delay 1m"))
		for _, one := range append(slices.Clone(streams), bystanders...) {
			if !strings.Contains(one.name, "poll") {
				one.flows(t)
			}
		}
	}
	wants(t, "logout", s.do("POST", apiPath+"/logout", nil, "Authorization", bearer(victim)), http.StatusNoContent, "")
	answered := time.Now()
	for _, one := range streams {
		one.endsWithin(t, answered, "4401 logout")
	}
	for _, one := range bystanders {
		one.flows(t)
	}
	s.blamesNobody()

	// Another store knows nothing of these sessions: nobody could end them.
	s.load(strings.ReplaceAll(s.caddyfile("", "stream_close_delay 1m"), s.store(), s.store()+"2"))
	reloaded := time.Now()
	for _, one := range bystanders {
		one.endsWithin(t, reloaded, "1001 ")
	}
}

// What Caddy itself ends at a reload, as docs/operations.md has it: WebSockets
// without stream_close_delay, and HTTP/3 after the grace_period.
func TestReloadEndsSomeStreams(t *testing.T) {
	s := newStreamSite(t)
	config := func(length string) string {
		return strings.Replace(s.caddyfile("tokens {\n access_ttl "+length+"\n}", ""), "grace_period 5s", "grace_period 1s", 1)
	}
	s.load(config("7m"))
	t.Cleanup(func() { _ = caddy.Stop() })
	header := []string{"Authorization", bearer(s.signInWith(testA, nil))}
	socket, over3 := s.webSocket("/ws", true, header...), s.request("/sse", 3, header...)
	stay := []*stream{s.request("/sse", 1, header...), s.request("/download", 2, header...)}
	s.load(config("8m"))
	reloaded := time.Now()
	over3.flows(t)
	socket.endsWithin(t, reloaded, "1001 ")
	if !raceDetector {
		// What Caddy says of it: the packet that tells the client may get lost.
		waitFor(t, "the end of HTTP/3", func() bool { return strings.Contains(s.log(), `"HTTP/3 server shutdown","error"`) })
	}
	for _, one := range stay {
		one.flows(t)
	}
}

// The rules of the running configuration hold for what is in flight since an
// earlier one. Those of a configuration that could not start never hold.
func TestReloadChangesTheRulesOfStreams(t *testing.T) {
	s := startStreams(t, "")
	who := s.signInWith(testA, nil)
	stream := s.request("/sse", 1, "Authorization", bearer(who))
	broken := s.caddyfile("sessions {\n idle_timeout 1s\n}", "")
	if err := caddy.Load(adapt(t, strings.Replace(broken, "http://"+s.address, "http://"+s.upstream.address, 1)), true); err == nil {
		t.Fatal("a port that is taken was given twice")
	}
	failed := time.Now()
	waitFor(t, "a while", func() bool { return time.Since(failed) > 2*time.Second })
	stream.flows(t)
	last := time.Now()
	wants(t, "activity", s.do("GET", "/quick", nil, "Authorization", bearer(who)), http.StatusOK, "")
	s.load(s.caddyfile("sessions {\n idle_timeout 2s\n}", ""))
	stream.endsWithin(t, last.Add(2*time.Second), "")
	if stream.at.Before(last.Add(1900 * time.Millisecond)) {
		t.Error("it ended before its time")
	}
}
