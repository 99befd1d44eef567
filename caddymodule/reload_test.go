package caddymodule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule"
)

func (s *site) store() string { return filepath.Join(s.dir, "store") }

// engine is the open store of the site. It must be there, held by one
// configuration.
func (s *site) engine() any {
	s.t.Helper()
	engine, holders := caddymodule.Engine(s.store())
	if engine == nil || holders != 1 {
		s.t.Fatalf("store %v is held by %d configurations, want one", engine, holders)
	}
	return engine
}

// reload loads a configuration over the running one.
func (s *site) reload(global, gate string) error {
	s.loads++
	return caddy.Load(adapt(s.t, s.config(global, gate, "")), true)
}

// onSocket puts the site on a unix socket, which the configurations share. On
// TCP Caddy gives each one its own, and a connection that waits in the queue of
// the old one is lost (true of any Caddy).
func (s *site) onSocket(caddyfile string) string {
	path := filepath.Join(s.dir, "gate.sock")
	s.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return strings.Replace(caddyfile, "bind 127.0.0.1", "bind unix/"+path, 1)
}

// 20 reloads while clients work, refresh and look at their sessions on
// keep-alive connections: every request is answered, with 200. Caddy itself
// drops a fresh connection now and then while it swaps servers; such a request
// is sent again, and counted.
func TestReloadUnderLoad(t *testing.T) {
	s := newSite(t)
	config := func(length int) string {
		return s.onSocket(s.config(fmt.Sprintf("otp {\n length %d\n}", length), "", ""))
	}
	s.load(config(6))
	t.Cleanup(func() { _ = caddy.Stop() })
	var done atomic.Bool
	var requests, drops atomic.Int64
	var wg sync.WaitGroup
	end := func() {
		done.Store(true)
		wg.Wait()
		s.client.CloseIdleConnections()
	}
	defer end()
	for i := range 4 {
		session := s.signIn(fmt.Sprintf("+4670123456%d", i))
		wg.Go(func() {
			for n := 0; !done.Load(); n++ {
				session = s.work(session, n, &drops)
				requests.Add(1)
			}
		})
	}
	engine, goroutines := s.engine(), len(ours())
	for n := range 20 {
		before := requests.Load()
		waitFor(t, "requests", func() bool { return requests.Load() >= before+40 || t.Failed() })
		s.load(config(6 + n%2*2))
		if s.engine() != engine {
			t.Errorf("reload %d: the store was opened anew", n)
		}
	}
	end()
	waitFor(t, "the goroutines of the old configurations to end", func() bool { return len(ours()) <= goroutines })
	t.Logf("%d requests, %d connections dropped", requests.Load(), drops.Load())
	if drops.Load() > 20 {
		t.Error("more than one dropped connection for each reload")
	}
}

// work sends a session's next request.
func (s *site) work(session tokens, n int, drops *atomic.Int64) tokens {
	method, path, body := "GET", "/app", any(nil)
	headers := []string{"Authorization", bearer(session)}
	switch n % 8 {
	case 3:
		path = apiPath + "/session"
	case 7:
		// The same token gives the same answer, so a request may be sent again
		// when its connection closed while it was idle, as a GET is.
		method, path, body = "POST", apiPath+"/refresh", map[string]any{"refresh_token": session.Refresh}
		headers = []string{"Idempotency-Key", session.Refresh[:16]}
	}
	r, err := s.try(method, path, body, headers...)
	for tries := 0; err != nil && tries < 2; tries++ {
		drops.Add(1) // a fresh connection, which net/http does not open again
		r, err = s.try(method, path, body, headers...)
	}
	if err != nil || r.status != http.StatusOK {
		s.t.Errorf("%s %s: %d %s %v", method, path, r.status, r.body, err)
	}
	if method == "POST" && json.Unmarshal(r.body, &session) != nil {
		s.t.Errorf("refresh: %s", r.body)
	}
	return session
}

// What changed in the configuration holds after the reload, for sessions of
// before and codes of after. What was promised before stays.
func TestReloadApplies(t *testing.T) {
	s := startSite(t, "", "")
	session := s.signIn(phoneA)
	engine, sent := s.engine(), s.start(phoneB)
	if err := s.reload("otp {\n length 8\n}\ntokens {\n access_ttl 5m\n algorithm EdDSA\n}", "public /open/*\nheader_prefix X-Who-"); err != nil {
		t.Fatal(err)
	}
	if s.engine() != engine {
		t.Error("the store was opened anew")
	}
	wants(t, "public now", s.do("GET", "/open/door", nil), 200, "")
	s.upstream.take()
	wants(t, "a token of before", s.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
	if got := s.upstream.one(t).Header; got.Get("X-Who-User-Id") != "1" || got.Get("X-Auth-User-Id") != "" {
		t.Errorf("the app got %v", got)
	}
	r := s.do("POST", apiPath+"/otp", map[string]any{"phone": "+46701234569"}).json(t)
	if code := s.codeOf(r["challenge_id"].(string)); r["code_length"] != 8.0 || len(code) != 8 {
		t.Errorf("a code of %d digits, told as %v", len(code), r["code_length"])
	}
	if next := s.tokens(s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": session.Refresh})); next.ExpiresIn > 300 {
		t.Errorf("an access token for %d s", next.ExpiresIn)
	}
	r2 := s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": sent, "code": s.codeOf(sent)})
	wants(t, "a code that was sent before", r2, 200, "")
}

// A configuration that cannot be leaves the running one as it was.
func TestBrokenReload(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(s.dir, "file")
	keys := [2]string{filepath.Join(s.dir, "a.key"), filepath.Join(s.dir, "b.key")}
	for i, text := range []string{"not a directory", strings.Repeat("0a", 32), strings.Repeat("0b", 32)} {
		if err := os.WriteFile(append([]string{file}, keys[:]...)[i], []byte(strings.Replace(text, "0", "1", i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	global := "master_key {file." + keys[0] + "}"
	s.load(s.config(global, "", ""))
	t.Cleanup(func() { _ = caddy.Stop() })
	session := s.signIn(phoneA)
	engine := s.engine()
	for _, c := range []struct{ name, config, why string }{
		{"another master key", s.config("master_key {file."+keys[1]+"}", "", ""), "master_key: the store is open with another key; this one can be added"},
		{"no master key, where one was", s.config("", "", ""), "master_key: the store is open with another key"},
		{"a sender without countries", s.config(global+"\nsender webhook http://127.0.0.1:9", "", ""), "allow_countries is needed"},
		{"a store that cannot be", strings.Replace(s.config(global, "", ""), "path "+s.store(), "path "+file, 1), "not a directory"},
		{"a port that is taken", strings.Replace(s.config(global, "", ""), "http://"+s.address, "http://"+s.upstream.address, 1), "address already in use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := caddy.Load(adapt(t, c.config), true)
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("got %v, want %q", err, c.why)
			}
			if s.engine() != engine {
				t.Error("the store was opened anew")
			}
			wants(t, "app", s.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
			session = s.tokens(s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": session.Refresh}))
		})
	}
	if err := s.reload(global, ""); err != nil {
		t.Fatal(err)
	}
	wants(t, "after all that", s.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
}

// `caddy validate` opens nothing, so it works beside the server that holds the
// store.
func TestValidateBesideAServer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	config := s.config("", "", "")
	var parsed caddy.Config
	if err := json.Unmarshal(adapt(t, config), &parsed); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&parsed); err != nil {
		t.Errorf("before the first run: %v", err)
	}
	if _, err := os.Stat(s.store()); err == nil {
		t.Error("validating made the store")
	}
	startChild(t, config)
	if err := caddy.Validate(&parsed); err != nil {
		t.Errorf("beside a server: %v", err)
	}
	s.signIn(phoneA)
}

// Stop after a reload leaves nothing of ours running, and what was signed in
// is so after the next start.
func TestStopEndsEverything(t *testing.T) {
	left := ours() // by the engine, where a test had it open what is damaged
	s := startSite(t, "", "")
	session := s.signIn(phoneA)
	if err := s.reload("", ""); err != nil {
		t.Fatal(err)
	}
	if len(since(left)) == 0 {
		t.Error("goroutines are not seen")
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if engine, holders := caddymodule.Engine(s.store()); engine != nil || holders != 0 {
		t.Errorf("store %v is still held by %d", engine, holders)
	}
	waitFor(t, "all goroutines to end", func() bool { return len(since(left)) == 0 })
	s.load(s.config("", "", ""))
	wants(t, "after the start", s.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
	s.tokens(s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": session.Refresh}))
}

// ours lists the goroutines that Sidegate or its engine started or runs.
func ours() (list []string) {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		for _, mark := range []string{"sidegate/sidegate/caddymodule.", "sidegate/sidegate/caddymodule/", "dgraph-io/"} {
			if strings.Contains(stack, mark) && !strings.Contains(stack, "net/http.(*conn)") {
				list = append(list, stack)
				break
			}
		}
	}
	return list
}

// since lists those of ours that were not there before.
func since(before []string) []string {
	return slices.DeleteFunc(ours(), func(stack string) bool {
		id, _, _ := strings.Cut(stack, " [")
		return slices.ContainsFunc(before, func(other string) bool { return strings.HasPrefix(other, id+" [") })
	})
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s:\n%s", what, strings.Join(ours(), "\n\n"))
		}
	}
}

// All sites of a Caddy are one session domain.
func TestSitesShareSessions(t *testing.T) {
	s := newSite(t)
	second := *s
	second.address = freeAddress(t)
	_, block, _ := strings.Cut(s.config("", "public /here", ""), "\nhttp://")
	s.load(s.config("", "", "") + "http://" + strings.Replace(block, s.address, second.address, 1))
	t.Cleanup(func() { _ = caddy.Stop() })
	session := s.signIn(phoneA)
	wants(t, "the other site", second.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
	wants(t, "its own rule", second.do("GET", "/here", nil), 200, "")
	wants(t, "which is not ours", s.do("GET", "/here", nil), 401, "token_missing")
	next := second.tokens(second.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": session.Refresh}))
	wants(t, "logout there", second.do("POST", apiPath+"/logout", nil, "Authorization", bearer(next)), 204, "")
	wants(t, "logged out here", s.do("GET", "/app", nil, "Authorization", bearer(next)), 401, "session_revoked")
	s.engine()
}
