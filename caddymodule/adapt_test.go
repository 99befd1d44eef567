package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata/adapt")

const divider = "\n----------\n"

// Every file of testdata/adapt is a Caddyfile, ten dashes, and what becomes of
// it: its JSON, which then loads, or a part of the error by which Caddy refuses
// to adapt or to load it.
func TestCaddyfile(t *testing.T) {
	prepareEnvironment(t)
	names, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".caddyfiletest"), func(t *testing.T) {
			checkCase(t, name)
		})
	}
}

func checkCase(t *testing.T, name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	input, want, ok := strings.Cut(string(text), divider)
	if !ok {
		t.Fatal("the line of ten dashes is missing")
	}
	want = strings.TrimSpace(want)
	got, failure := become(t, input+"\n")
	matches := got == want
	if failure {
		matches = want != "" && strings.Contains(got, want)
	}
	switch {
	case matches:
	case *update:
		if err := os.WriteFile(name, []byte(input+divider+got+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// become adapts and loads a Caddyfile, as far as it goes.
func become(t *testing.T, input string) (outcome string, failure bool) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err == nil {
		err = load(t, config)
	}
	if err != nil {
		return err.Error(), true
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, config, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return indented.String(), false
}

// load provisions a configuration as `caddy validate` does. Files of
// secrets are one of the test's.
func load(t *testing.T, config []byte) error {
	t.Helper()
	for _, name := range []string{
		"/etc/sidegate/master.key", "/run/credentials/sidegate.service/master.key", "/run/secrets/sidegate/master.key", "/run/secrets/sidegate/sms.secret",
	} {
		config = bytes.ReplaceAll(config, []byte(name), []byte(os.Getenv("KEY_FILE")))
	}
	var parsed caddy.Config
	if err := json.Unmarshal(config, &parsed); err != nil {
		t.Fatal(err)
	}
	parsed.Admin = &caddy.AdminConfig{Disabled: true}
	parsed.Logging = logTo(map[string]string{"output": "discard"})
	return caddy.Validate(&parsed)
}

// In JSON a gate may stand in a route with matchers; two such routes are for
// different requests.
func TestGatesOfDifferentRequests(t *testing.T) {
	prepareEnvironment(t)
	route := func(path string) string {
		return `{"match":[{"path":["` + path + `"]}],"handle":[{"handler":"sidegate"}],"terminal":true}`
	}
	config := `{"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:0"],"routes":[` + route("/a/*") + "," + route("/b/*") + `]}}}}}`
	if err := load(t, []byte(config)); err != nil {
		t.Error(err)
	}
}

// A rule for a set that is empty somewhere would match no request, and let
// everybody through. JSON is held to it too.
func TestEmptyMatcherSets(t *testing.T) {
	prepareEnvironment(t)
	for match, refused := range map[string]bool{
		`[{}]`:                           true,
		`[{"not":[{}]}]`:                 true,
		`[{"not":[ ]}]`:                  true,
		`[{"not":[{"not":[{}]}]}]`:       true,
		`[{"path":["/a"]},{"path":[ ]}]`: true,
		`[{"not":[{"path":[]}]}]`:        true,
		`[{"not":[{"path":["/a"]}]}]`:    false,
		`[{"sidegate":{}}]`:              false,
	} {
		for _, rule := range []string{`"require":[{"match":` + match + `,"roles":["admin"]}]`, `"public":{"match":` + match + `}`} {
			config := `{"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:0"],"routes":[{"handle":[{"handler":"sidegate",` + rule + `}]}]}}}}}`
			if err := load(t, []byte(config)); (err != nil) != refused {
				t.Errorf("%s: %v", rule, err)
			}
		}
	}
}

// logTo sends a configuration's log to a writer module, away from the test's
// own output.
func logTo(writer map[string]string) *caddy.Logging {
	return &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: caddyconfig.JSON(writer, nil)}},
	}}
}

// prepareEnvironment sets what the Caddyfiles of the cases and of the docs
// refer to.
func prepareEnvironment(t *testing.T) {
	t.Helper()
	key := strings.Repeat("0123456789abcdef", 4)
	file := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KEY_FILE", file)
	t.Setenv("SMS_SECRET", "a secret of the SMS gateway")
	t.Setenv("TWILIO_AUTH_TOKEN", "an-auth-token")
	t.Setenv("TWILIO_API_SECRET", "the-secret-of-an-API-key")
	t.Setenv("VONAGE_SIGNATURE_SECRET", "a-signature-secret")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "a-secret-access-key")
	certificate, private := certificateFiles(t)
	t.Setenv("REDIS_CERT_FILE", certificate)
	t.Setenv("REDIS_KEY_FILE", private)
	t.Setenv("REDIS_PASSWORD", "a-redis-password")
	t.Setenv("REDIS_ADDRESS", "10.0.0.1:6379")
	t.Setenv("DIRECTORY_SECRET", "a secret of the directory")
	t.Setenv("RISK_SECRET", "a-secret-of-the-risk-hook")
	t.Setenv("DORMANT_SECRET", "a-secret-of-the-dormant-hook")
	t.Setenv("USERS_DSN", "postgres://sidegate:a-password@db.internal/app?sslmode=verify-full")
	t.Setenv("USERS_MYSQL_DSN", "sidegate:a-password@tcp(db.internal:3306)/app?tls=true")
	t.Setenv("USERS_PASSWORD", "the-password-of-the-database")
	t.Setenv("GATEWAY_PW", "pa55")
	t.Setenv("GATEWAY_TOKEN", "a-token-of-the-gateway")
	t.Setenv("GATEWAY_URL", "https://sms.internal/send")
	t.Setenv("EVENT_SECRET", "a-secret-of-the-receiver")
	t.Setenv("MASTER_KEY", key)
	os.Unsetenv("NOT_SET")
}
