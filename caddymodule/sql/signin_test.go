package sql_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// site is a real Caddy in this process, with the gate in front of an app that
// repeats who it was told it is.
type site struct {
	t      *testing.T
	dir    string
	text   string // the Caddyfile
	socket string // of the configuration that was loaded last
	client http.Client
}

const siteCaddyfile = `{
	admin off
	persist_config off
	auto_https off
	log {
		output file DIR/log
		level DEBUG
	}
	sidegate {
		store badger {
			path DIR/store
		}
		sender file DIR/codes
		directory sql ENGINE {
			dsn {env.USERS_DSN}
			query "QUERY"
		}
		limits {
			phone_sends off
		}
	}
}
http://app.example {
	bind unix/SOCKET
	sidegate
	respond "{http.auth.user.id} {http.auth.user.type} {http.auth.user.roles}"
}
`

func startSite(t *testing.T, s *server, query string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "sidegate-site-") // a short path: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("USERS_DSN", s.dsn("sidegate", password))
	text := strings.NewReplacer("DIR", dir, "ENGINE", s.engine, "QUERY", s.ask(query)).Replace(siteCaddyfile)
	site := &site{t: t, dir: dir, text: text}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", site.socket)
	}}
	site.client = http.Client{Transport: transport, Timeout: 20 * time.Second}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	site.load()
	return site
}

// load starts Caddy, or loads it anew. Each time it listens somewhere else: while
// one server follows another at a socket, Caddy drops connections.
func (s *site) load() {
	s.t.Helper()
	s.socket = filepath.Join(s.dir, fmt.Sprint(time.Now().UnixNano()))
	text := strings.Replace(s.text, "SOCKET", s.socket, 1)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		s.t.Fatal(err)
	}
	s.client.CloseIdleConnections() // which lead to the configuration before
}

// do gives the status and the body.
func (s *site) do(method, path, token string, body any) (int, []byte) {
	s.t.Helper()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://app.example"+path, content)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, text
}

// code asks for a code and gives what brings it back.
func (s *site) code(phone string) map[string]string {
	s.t.Helper()
	status, body := s.do("POST", "/api/v1/auth/otp", "", map[string]string{"phone": phone})
	var challenge struct {
		ID string `json:"challenge_id"`
	}
	if err := json.Unmarshal(body, &challenge); err != nil || status != http.StatusAccepted {
		s.t.Fatalf("asking for a code: %d %s", status, body)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		lines, _ := os.ReadFile(filepath.Join(s.dir, "codes"))
		for line := range strings.Lines(string(lines)) {
			var m struct{ ID, Code string }
			if json.Unmarshal([]byte(line), &m) == nil && strings.HasPrefix(m.ID, challenge.ID) {
				return map[string]string{"challenge_id": challenge.ID, "code": m.Code}
			}
		}
	}
	s.t.Fatal("no code was sent")
	return nil
}

// verify brings a code back and gives the access token, or the answer's code.
func (s *site) verify(code map[string]string) (status int, token string) {
	s.t.Helper()
	status, body := s.do("POST", "/api/v1/auth/otp/verify", "", code)
	var answer struct {
		Token string `json:"access_token"`
		Code  string `json:"code"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		s.t.Fatalf("%d %s", status, body)
	}
	return status, answer.Token + answer.Code
}

// wants fails unless the app was told this.
func (s *site) wants(what, token, want string) {
	s.t.Helper()
	if status, body := s.do("GET", "/", token, nil); status != http.StatusOK || string(body) != want {
		s.t.Errorf("%s: the app heard %d %q, want %q", what, status, body, want)
	}
}

// refuses fails unless a right code is refused with this.
func (s *site) refuses(what, phone string, want string) (code map[string]string) {
	s.t.Helper()
	code = s.code(phone)
	if status, answer := s.verify(code); fmt.Sprint(status, " ", answer) != want {
		s.t.Errorf("%s: got %d %s, want %s", what, status, answer, want)
	}
	return code
}

// The table says who a number is; while it cannot answer, nobody is signed out,
// and no code is spent.
func TestSignIn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.table(t)
		change := func(statement string) {
			t.Helper()
			if err := s.run(statement); err != nil {
				t.Fatal(err)
			}
		}
		site := startSite(t, s, "SELECT id, user_type, roles, NOT active AS banned FROM users WHERE phone = $1")

		status, token := site.verify(site.code(known))
		if status != http.StatusOK {
			t.Fatalf("signing in: %d %s", status, token)
		}
		site.wants("signed in", token, "4711 staff admin,support")
		change("UPDATE users SET roles = 'reader'")
		site.wants("before the next sign-in", token, "4711 staff admin,support")
		if status, other := site.verify(site.code(known)); status != http.StatusOK {
			t.Fatalf("signing in again: %d %s", status, other)
		}
		site.wants("after it, on any device", token, "4711 staff reader")

		site.refuses("unknown", unknown, "403 account_disabled")
		for _, step := range []struct{ what, statement string }{
			{"a role that would be two for the app", `UPDATE users SET roles = '["reader,admin"]'`},
			{"a role with a line break", "UPDATE users SET roles = 'reader\nadmin'"},
			{"a role with a control character", "UPDATE users SET roles = 'a\x01'"},
			{"an id that a JSON number does not hold", "UPDATE users SET roles = '', id = 9007199254740992"},
		} {
			change(step.statement)
			site.refuses(step.what, known, "503 store_unavailable")
		}
		change("UPDATE users SET roles = 'reader', id = 4711")

		s.kill()
		code := site.refuses("the database is gone", known, "503 store_unavailable")
		site.wants("whoever is signed in", token, "4711 staff reader")
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		if status, again := site.verify(code); status != http.StatusOK {
			t.Errorf("the same code when it is back: %d %s", status, again)
		}

		change("UPDATE users SET active = FALSE")
		site.refuses("banned", known, "403 account_disabled")
		site.wants("a session from before the ban lives on", token, "4711 staff reader")
		site.discreet(s)
	})
}

// discreet fails when Caddy's log, at its most talkative, tells too much, or not
// why the answer was 503.
func (s *site) discreet(of *server) {
	s.t.Helper()
	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, told := range []string{known[1:], unknown[1:], password, of.dsn("sidegate", password)} {
		if bytes.Contains(log, []byte(told)) {
			s.t.Errorf("the log holds %s", told)
		}
	}
	if !bytes.Contains(log, []byte("reaching the database: dial unix")) {
		s.t.Error("the log does not say that the database could not be reached")
	}
}

// A new configuration asks with its own query, and the old one's connections go.
func TestReload(t *testing.T) {
	s := start(t, postgres)
	s.table(t)
	site := startSite(t, s, of("id, user_type, roles"))
	for _, kind := range []string{"first", "second", "third"} {
		site.text = strings.Replace(site.text, "user_type", "'"+kind+"'", 1)
		site.load()
		status, token := site.verify(site.code(known))
		if status != http.StatusOK {
			t.Fatalf("signing in: %d %s", status, token)
		}
		site.wants("signed in", token, "4711 "+kind+" admin,support")
		s.waitForConnections(t, 1)
		site.text = strings.Replace(site.text, "'"+kind+"'", "user_type", 1)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	s.waitForConnections(t, 0)
}
