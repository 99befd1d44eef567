package redis_test

import (
	"cmp"
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
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/sidegate/sidegate/caddymodule/redis"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

func TestMain(m *testing.M) {
	if file := os.Getenv(childConfig); file != "" {
		runChild(file)
		return
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

func startRedis(t *testing.T, args ...string) *redistest.Server {
	t.Helper()
	redistest.Need(t)
	server, err := redistest.Start(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	return server
}

// gate is a Caddy in this process, in front of a page.
type gate struct {
	t        *testing.T
	address  string
	log      string
	upstream string // of /socket
	admin    string // the endpoint's address
}

func (g *gate) load(store string) error {
	g.t.Helper()
	return caddy.Load(g.config(store), true)
}

func (g *gate) config(store string) []byte {
	g.t.Helper()
	site := `respond / "Hello"`
	if g.upstream != "" {
		site += "\n reverse_proxy /socket " + g.upstream
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(fmt.Appendf(nil, `{
	admin %s
	persist_config off
	auto_https off
	log {
		output file %s
	}
	sidegate {
		%s
		sender log
		otp {
			test_number +15555550100 424242 until %s
		}
	}
}
http://%s {
	bind 127.0.0.1
	sidegate
	%s
}
`, cmp.Or(g.admin, "off"), g.log, store, time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly), g.address, site), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		g.t.Fatal(err)
	}
	return config
}

func newGate(t *testing.T) *gate {
	t.Helper()
	t.Cleanup(func() { _ = caddy.Stop() })
	return &gate{t: t, address: freeAddress(t), log: filepath.Join(t.TempDir(), "log")}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (g *gate) do(method, path, token, body string) (status int, code string, answer []byte) {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, "http://"+g.address+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get("Sidegate-Error"), answer
}

func (g *gate) signIn() (token string) {
	g.t.Helper()
	var pending struct {
		ID string `json:"challenge_id"`
	}
	var tokens struct {
		Access string `json:"access_token"`
	}
	_, _, answer := g.do("POST", "/api/v1/auth/otp", "", `{"phone":"+15555550100"}`)
	if err := json.Unmarshal(answer, &pending); err != nil {
		g.t.Fatal(err)
	}
	_, _, answer = g.do("POST", "/api/v1/auth/otp/verify", "", `{"challenge_id":"`+pending.ID+`","code":"424242"}`)
	if err := json.Unmarshal(answer, &tokens); err != nil || tokens.Access == "" {
		g.t.Fatalf("signing in: %s", answer)
	}
	return tokens.Access
}

const masterKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// The whole way: a gate on Redis, a reload with another password, and an outage
// that signs nobody out.
func TestGateOnRedis(t *testing.T) {
	server := startRedis(t, "--requirepass", "first", "--appendonly", "yes", "--appendfsync", "always")
	g := newGate(t)
	store := func(password string) string {
		return fmt.Sprintf("master_key %s\n store redis {\n address %s\n password %s\n }", masterKey, server.Address, password)
	}
	if err := g.load(store("first")); err != nil {
		t.Fatal(err)
	}
	wants := func(what, path, token string, status int, code string) {
		t.Helper()
		if s, c, body := g.do("GET", path, token, ""); s != status || c != code {
			t.Errorf("%s: got %d %q %s, want %d %q", what, s, c, body, status, code)
		}
	}
	stays, ends := g.signIn(), g.signIn()
	wants("signed in", "/", stays, 200, "")
	if s, _, body := g.do("POST", "/api/v1/auth/logout", ends, "{}"); s != 204 {
		t.Fatalf("logout: %d %s", s, body)
	}
	wants("signed out", "/", ends, 401, "session_revoked")
	wants("health", "/api/v1/auth/health", "", 200, "")

	if err := g.load(store("wrong")); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("a wrong password: %v", err)
	}
	wants("the old configuration goes on", "/", stays, 200, "")
	server.Authenticate("first")
	if _, err := server.Do("CONFIG", "SET", "requirepass", "second"); err != nil {
		t.Fatal(err)
	}
	server.Authenticate("second")
	if err := g.load(store("second")); err != nil {
		t.Fatalf("a new password: %v", err)
	}
	wants("after the reload", "/", stays, 200, "")
	wants("after the reload", "/", ends, 401, "session_revoked")

	server.Kill()
	until := time.Now().Add(10 * time.Second)
	for s := 200; s == 200 && time.Now().Before(until); {
		s, _, _ = g.do("GET", "/", stays, "")
	}
	wants("without Redis", "/", stays, 503, "store_unavailable")
	wants("without Redis", "/", ends, 503, "store_unavailable")
	wants("health without Redis", "/api/v1/auth/health", "", 503, "store_unavailable")
	server.SetArgs("--requirepass", "second")
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	until = time.Now().Add(10 * time.Second)
	for s := 503; s == 503 && time.Now().Before(until); {
		s, _, _ = g.do("GET", "/", stays, "")
	}
	wants("with Redis again", "/", stays, 200, "")
	wants("with Redis again", "/", ends, 401, "session_revoked")
}

func TestNodesNeedTheSameKey(t *testing.T) {
	server := startRedis(t)
	g := newGate(t)
	store := fmt.Sprintf("store redis {\n address %s\n }", server.Address)
	if err := g.load(store); err == nil || !strings.Contains(err.Error(), "needs a master_key") {
		t.Errorf("without a key: %v", err)
	}
	if err := g.load("master_key " + masterKey + "\n" + store); err != nil {
		t.Fatal(err)
	}
	g.signIn()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := g.load("master_key " + strings.Repeat("fedcba98", 8) + "\n" + store); err == nil || !strings.Contains(err.Error(), "sealed with another master key") {
		t.Errorf("with another key: %v", err)
	}
}

// Stores with equal addresses share one connection: the order of the seeds makes
// no difference, and a changed password does.
func TestAddress(t *testing.T) {
	of := func(change func(*redis.Store)) string {
		t.Helper()
		s := &redis.Store{Addresses: []string{"127.0.0.1:1", "127.0.0.1:2"}, Password: "one"}
		change(s)
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		defer cancel()
		if err := s.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		return s.Address()
	}
	plain := of(func(*redis.Store) {})
	if strings.Contains(plain, "one") {
		t.Errorf("%s shows the password", plain)
	}
	for name, test := range map[string]struct {
		change func(*redis.Store)
		same   bool
	}{
		"nothing":          {func(*redis.Store) {}, true},
		"the seeds' order": {func(s *redis.Store) { s.Addresses = []string{"127.0.0.1:2", "127.0.0.1:1"} }, true},
		"a seed":           {func(s *redis.Store) { s.Addresses = s.Addresses[:1] }, false},
		"the prefix":       {func(s *redis.Store) { s.Prefix = "other:" }, false},
		"the password":     {func(s *redis.Store) { s.Password = "two" }, false},
		"the replicas":     {func(s *redis.Store) { s.Replicas = new(2) }, false},
		"TLS":              {func(s *redis.Store) { s.TLS = true }, false},
		"the master":       {func(s *redis.Store) { s.Master = "main" }, false},
		"the database":     {func(s *redis.Store) { s.Master, s.DB = "main", 2 }, false},
	} {
		if got := of(test.change); (got == plain) != test.same {
			t.Errorf("%s: got %s beside %s", name, got, plain)
		}
	}
}
