package caddymodule_test

import (
	"bytes"
	"compress/gzip"
	"errors"
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
	config := withAuditLog(s.config("", "public /open", ""), file)
	s.load(config)
	challenge := s.start("+46701740605")
	wants(t, "a wrong code", s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": "000000"}), 400, "otp_invalid")
	own := s.signIn("+46701740605")
	s.load(strings.Replace(config, "public /open", "public /other", 1))
	refresh := map[string]any{"refresh_token": own.Refresh}
	answer, err := s.try("POST", apiPath+"/refresh", refresh)
	for err != nil { // Caddy drops a few connections while it swaps configurations
		answer, err = s.try("POST", apiPath+"/refresh", refresh)
	}
	renewed := s.tokens(answer)
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

func withAuditLog(config, file string) string {
	return strings.Replace(config, "\tsidegate {", fmt.Sprintf(`	log audit {
		include sidegate.audit
		format json
		output file %s
	}
	sidegate {`, file), 1)
}

// What operators do is in the audit with their names, and the command tells
// them whether it is whole.
func TestAuditCommand(t *testing.T) {
	o := newOffice(t, freeAddress(t))
	t.Cleanup(func() { _ = caddy.Stop() })
	file := filepath.Join(o.dir, "audit.log")
	o.load(withAuditLog(o.config("", ""), file))
	o.signIn("+46701740605")
	says := func(want string, fails bool, args ...string) {
		t.Helper()
		out, errs, err := run(append([]string{"--address", o.address}, args...)...)
		if (err != nil) != fails || !strings.Contains(out+errs, want) {
			t.Errorf("%q: got %q and %q, %v; want %q", args, out, errs, err, want)
		}
	}
	says("", false, "users", "set", "1", "--roles", "admin", "--by", "anna")
	says("3 lines of 1 processes: whole and in order", false, "audit", "verify", file)
	says(`"faults":[]`, false, "audit", "verify", file, "--json")
	text, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(text, []byte(`"by":"anna@127.0.0.1","before":{`)) || !bytes.Contains(text, []byte("authz_change:1")) {
		t.Errorf("the audit: %s, %v", text, err)
	}
	// Attack: whoever may write to the log takes away what they have done.
	cut := filepath.Join(o.dir, "cut.log")
	lines := strings.SplitAfter(string(text), "\n")
	if err := os.WriteFile(cut, []byte(strings.Join(lines[:2], "")), 0o600); err != nil {
		t.Fatal(err)
	}
	says("the end is missing", true, "audit", "verify", cut)
	says("2 lines of 1 processes: whole", false, "audit", "verify", "--offline", cut)
	// What Caddy has rotated away and packed, and what it has deleted as too old.
	old, rest := filepath.Join(o.dir, "audit-1.log.gz"), filepath.Join(o.dir, "rest.log")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write([]byte(lines[0]))
	err = errors.Join(err, z.Close(), os.WriteFile(old, packed.Bytes(), 0o600), os.WriteFile(rest, []byte(strings.Join(lines[1:], "")), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	junk := filepath.Join(o.dir, "junk.gz")
	if err := os.WriteFile(junk, text, 0o600); err != nil {
		t.Fatal(err)
	}
	says("3 lines of 1 processes: whole and in order", false, "audit", "verify", old, rest)
	says("2 lines of 1 processes: whole and in order", false, "audit", "verify", rest)
	says("invalid header", true, "audit", "verify", "--offline", junk)
	says("no such file", true, "audit", "verify", cut+"x")
	says("requires at least 1 arg", true, "audit", "verify")
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
