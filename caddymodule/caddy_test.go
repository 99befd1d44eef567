package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/sidegate/sidegate/caddymodule"
	_ "github.com/sidegate/sidegate/caddymodule/demo" // of Caddyfile.example
)

func TestMain(m *testing.M) {
	if file := os.Getenv(childConfig); file != "" {
		runChild(file)
	}
	if os.Getenv(childCommand) != "" {
		caddycmd.Main()
		os.Exit(0)
	}
	home, err := os.MkdirTemp("", "sidegate-test-")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		os.Setenv(name, home)
	}
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

// site is a real Caddy in this process, with the gate in front of an upstream.
type site struct {
	t        *testing.T
	dir      string // of the store and the codes
	address  string // host:port of the gate
	upstream *upstream
	client   *http.Client
	loads    int // configurations so far
}

// config is a Caddyfile for a site; global and gate go into the two blocks.
func (s *site) config(global, gate, rest string) string {
	return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	grace_period 5s
	log {
		output file %s
		level DEBUG
	}
	sidegate {
		store badger {
			path %s
		}
		sender file %s
		%s
	}
}
http://%s {
	bind 127.0.0.1
	%s
	sidegate {
		%s
	}
	reverse_proxy %s
}
`, filepath.Join(s.dir, "caddy.log"), filepath.Join(s.dir, "store"), s.codesFile(), global, s.address, rest, gate, s.upstream.address)
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), address: freeAddress(t), upstream: newUpstream(t)}
	s.client = &http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// startSite runs a site with these lines in the two blocks.
func startSite(t *testing.T, global, gate string) *site {
	t.Helper()
	s := newSite(t)
	s.load(s.config(global, gate, ""))
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	return s
}

func (s *site) load(caddyfile string) {
	s.t.Helper()
	s.loads++
	if err := caddy.Load(adapt(s.t, caddyfile), true); err != nil {
		s.t.Fatalf("loading: %v", err)
	}
}

// restart stops Caddy and starts it anew on the same store.
func (s *site) restart(global, gate string) {
	s.t.Helper()
	if err := caddy.Stop(); err != nil {
		s.t.Fatalf("stopping: %v", err)
	}
	s.load(s.config(global, gate, ""))
}

func adapt(t testing.TB, caddyfile string) []byte {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("adapting: %v\n%s", err, caddyfile)
	}
	return config
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

const apiPath = "/api/v1/auth"

func (s *site) url(path string) string { return "http://" + s.address + path }

// reply is an answer, read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("status %d, not JSON: %v: %q", r.status, err, r.body)
	}
	return v
}

func (r reply) code() string {
	var problem struct{ Code string }
	_ = json.Unmarshal(r.body, &problem)
	return problem.Code
}

// do sends a request; body may be nil, a string or anything for JSON. Headers
// come in pairs.
func (s *site) do(method, path string, body any, headers ...string) reply {
	s.t.Helper()
	r, err := s.try(method, path, body, headers...)
	for n := 0; err != nil && s.loads > 1 && n < 3; n++ {
		// Caddy drops a few fresh connections while it swaps configurations.
		r, err = s.try(method, path, body, headers...)
	}
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (s *site) try(method, path string, body any, headers ...string) (reply, error) {
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return reply{}, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, s.url(path), content)
	if err != nil {
		return reply{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, text}, err
}

func (s *site) withJar() {
	jar, _ := cookiejar.New(nil)
	s.client.Jar = jar
}

func (s *site) codesFile() string { return filepath.Join(s.dir, "codes") }

// codeOf waits for the code of a challenge in the sender's file.
func (s *site) codeOf(challenge string) string {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if code := s.sentCode(challenge); code != "" {
			return code
		}
	}
	s.t.Fatal("no code was sent")
	return ""
}

// sentCode looks for the code in the sender's file, and waits a moment when it
// is not there.
func (s *site) sentCode(challenge string) string {
	lines, _ := os.ReadFile(s.codesFile())
	for line := range strings.Lines(string(lines)) {
		var m struct{ ID, Code string }
		if strings.Contains(line, challenge) && json.Unmarshal([]byte(line), &m) == nil && strings.HasPrefix(m.ID, challenge) {
			return m.Code
		}
	}
	time.Sleep(2 * time.Millisecond)
	return ""
}

// tokens is a token response.
type tokens struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	SessionID string `json:"session_id"`
	UserID    uint64 `json:"auth_user_id"`
	DeviceID  string `json:"device_id"`
	ExpiresIn int    `json:"expires_in"`
}

func bearer(t tokens) string { return "Bearer " + t.Access }

// start asks for a code and gives the challenge.
func (s *site) start(phone string) string {
	s.t.Helper()
	r := s.do("POST", apiPath+"/otp", map[string]any{"phone": phone})
	if r.status != http.StatusAccepted {
		s.t.Fatalf("asking for a code: %d %s", r.status, r.body)
	}
	return r.json(s.t)["challenge_id"].(string)
}

func (s *site) signIn(phone string) tokens {
	s.t.Helper()
	challenge := s.start(phone)
	r := s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": s.codeOf(challenge)})
	return s.tokens(r)
}

func (s *site) tokens(r reply) (t tokens) {
	s.t.Helper()
	if r.status != http.StatusOK {
		s.t.Fatalf("no tokens: %d %s", r.status, r.body)
	}
	if err := json.Unmarshal(r.body, &t); err != nil {
		s.t.Fatal(err)
	}
	return t
}

// wants fails unless the answer has the status, and the code when it is one of
// our refusals.
func wants(t testing.TB, what string, r reply, status int, code string) {
	t.Helper()
	if r.status != status || code != "" && (r.code() != code || r.header.Get("Sidegate-Error") != code) {
		t.Errorf("%s: got %d %s (%s), want %d %s", what, r.status, r.code(), bytes.TrimSpace(r.body), status, code)
	}
}

// upstream is an app that remembers what reached it.
type upstream struct {
	address string
	mu      sync.Mutex
	got     []*http.Request
	answer  http.HandlerFunc
}

func newUpstream(t testing.TB) *upstream {
	u := &upstream{}
	server := httptest.NewServer(u)
	t.Cleanup(server.Close)
	u.address = strings.TrimPrefix(server.URL, "http://")
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // trailers are known only after it
	u.mu.Lock()
	kept := r.Clone(r.Context())
	kept.Trailer = r.Trailer.Clone()
	u.got = append(u.got, kept)
	answer := u.answer
	u.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	fmt.Fprintln(w, "hello from the app")
}

// take hands out what reached the app since the last call.
func (u *upstream) take() []*http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	got := u.got
	u.got = nil
	return got
}

func (u *upstream) answerWith(h http.HandlerFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answer = h
}

// one is the one request that reached the app.
func (u *upstream) one(t testing.TB) *http.Request {
	t.Helper()
	got := u.take()
	if len(got) != 1 {
		t.Fatalf("%d requests reached the app, want 1", len(got))
	}
	return got[0]
}
