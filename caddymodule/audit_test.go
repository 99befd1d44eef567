package caddymodule_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/internal/audit"
)

// The audit's lines go where the operator says, are one chain over reloads and
// restarts, and hold nothing that could be used.
func TestAudit(t *testing.T) {
	s := newSite(t)
	t.Cleanup(func() { _ = caddy.Stop() })
	file := filepath.Join(s.dir, "audit.log")
	config := strings.Replace(s.config("", "public /open", ""), "\tsidegate {", fmt.Sprintf(`	log audit {
		include sidegate.audit
		format json
		output file %s
	}
	sidegate {`, file), 1)
	s.load(config)
	challenge := s.start("+46701740605")
	wants(t, "a wrong code", s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": "000000"}), 400, "otp_invalid")
	own := s.signIn("+46701740605")
	s.load(strings.Replace(config, "public /open", "public /other", 1))
	s.client.CloseIdleConnections() // a POST is not repeated on the connection that the reload closes
	renewed := s.tokens(s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": own.Refresh}))
	wants(t, "logout", s.do("POST", apiPath+"/logout", nil, "Authorization", bearer(renewed)), 204, "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	first := readAudit(t, file)
	if want := []string{"code_wrong", "user_created", "session_started", "session_ended"}; !slices.Equal(first.names, want) || first.Chains != 1 {
		t.Errorf("told %q in %d chains, want %q in one", first.names, first.Chains, want)
	}
	for _, secret := range []string{"46701740605", s.codeOf(challenge), own.Access, own.Refresh} {
		if bytes.Contains(first.text, []byte(secret)) {
			t.Errorf("the audit holds %s", secret)
		}
	}

	s.load(config)
	s.signIn("+46701740606")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if second := readAudit(t, file); second.Chains != 2 || len(second.Faults) != 0 {
		t.Errorf("after a restart: %+v", second.Report)
	}
	// Attack: what the first process wrote last is taken away before the second
	// one starts.
	lines := strings.SplitAfter(string(first.text), "\n")
	if err := os.WriteFile(file, []byte(strings.Join(lines[:len(lines)-2], "")), 0o600); err != nil {
		t.Fatal(err)
	}
	s.load(config)
	s.signIn("+46701740607")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if cut := readAudit(t, file); len(cut.Faults) != 1 {
		t.Errorf("without the last line: %+v", cut.Report)
	}
}

type readReport struct {
	audit.Report
	text  []byte
	names []string
}

func readAudit(t *testing.T, file string) (r readReport) {
	t.Helper()
	var err error
	if r.text, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	if r.Report, err = audit.Verify(bytes.NewReader(r.text), nil); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(r.text)) {
		_, rest, _ := strings.Cut(line, `"name":"`)
		name, _, _ := strings.Cut(rest, `"`)
		r.names = append(r.names, name)
	}
	return r
}
