package caddymodule_test

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Whoever has the logs, the audit among them, the disk, the metrics and what an
// operator is shown of a whole run, but not the master key, has no code, no
// token, no cookie and no number. Codes have ten digits here, or one could stand
// in a log by chance.
func TestNoSecretAtRest(t *testing.T) {
	o := newOffice(t, freeAddress(t))
	s := o.site
	const global = "otp {\nlength 10\nresend_after 1s\ntest_number +15555550100 4242424242 until 2099-01-01\n}\nlimits {\nphone_failures 3/1h\nphone_sends 4/1h\nglobal_sends 6/1h\n}"
	s.load(strings.Replace(s.config(global, "public /open", "log"), "admin off", "admin "+o.address, 1))
	secrets := []string{"46701740605", "46701740606", "46701740607", "15555550100", "4242424242"}
	keep := func(r reply) reply {
		for _, line := range r.header.Values("Set-Cookie") {
			value, _, _ := strings.Cut(line[strings.Index(line, "=")+1:], ";")
			secrets = append(secrets, value)
		}
		return r
	}
	verify := func(challenge, code string, headers ...string) reply {
		body := map[string]any{"challenge_id": challenge, "code": code}
		if len(headers) == 0 {
			body["transport"] = "cookie"
		}
		return keep(s.do("POST", apiPath+"/otp/verify", body, headers...))
	}

	challenge := s.start("+46 70-174 06 05")
	code := s.codeOf(challenge)
	wants(t, "a wrong code", verify(challenge, "0000000000"), 400, "otp_invalid")
	signedIn := verify(challenge, code, "Sec-Fetch-Site", "same-origin")
	own := s.tokens(signedIn)
	device := strings.SplitN(signedIn.header.Get("Set-Cookie"), ";", 2)[0]
	secrets = append(secrets, code, own.Access, own.Refresh)
	wants(t, "the app", s.do("GET", "/app", nil, "Authorization", bearer(own), "Cookie", device), 200, "")
	if got := s.upstream.one(t).Header.Get("Cookie"); got != "" {
		t.Errorf("the app got %q", got)
	}
	renewed := s.tokens(s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": own.Refresh}))
	secrets = append(secrets, renewed.Access, renewed.Refresh)

	challenge = s.start("+46701740606")
	code = s.codeOf(challenge)
	secrets = append(secrets, code)
	wants(t, "the cookie", verify(challenge, code), 200, "")
	for range 3 {
		verify(s.start("+15555550100"), "0000000000")
	}
	wants(t, "too many failures", verify(s.start("+15555550100"), "4242424242"), 429, "too_many_failures")
	for range 4 {
		s.do("POST", apiPath+"/otp", map[string]any{"phone": "+46701740607"})
	}
	wants(t, "too many sends", s.do("POST", apiPath+"/otp", map[string]any{"phone": "+46701740607"}), 429, "rate_limited")
	wants(t, "logout", s.do("POST", apiPath+"/logout", nil, "Authorization", bearer(renewed)), http.StatusNoContent, "")
	o.keepAnswers(filepath.Join(s.dir, "answers"), "users", "users/1", "users/1/sessions", "users/1/devices", "blocks", "keys", "keys/master", "stats", "audit/head", "doctor", "../metrics")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}

	files := 0
	err := filepath.WalkDir(s.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || name == s.codesFile() { // what the sender wrote is its own
			return err
		}
		text, err := os.ReadFile(name)
		files++
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds %s", filepath.Base(name), secret)
			}
		}
		return err
	})
	log, _ := os.ReadFile(filepath.Join(s.dir, "caddy.log"))
	if err != nil || files < 4 || len(secrets) < 13 || !bytes.Contains(log, []byte("budget of messages")) || !bytes.Contains(log, []byte("handled request")) {
		t.Errorf("%d files and %d secrets looked at, %v:\n%s", files, len(secrets), err, log[:min(len(log), 4000)])
	}
}

// keepAnswers writes what the admin endpoint says into a file.
func (o *office) keepAnswers(file string, paths ...string) {
	o.t.Helper()
	var all bytes.Buffer
	for _, path := range paths {
		r := o.ask("GET", path, "")
		if wants(o.t, path, r, 200, ""); len(r.body) == 0 {
			o.t.Errorf("%s: no answer", path)
		}
		all.Write(r.body)
	}
	if err := os.WriteFile(file, all.Bytes(), 0o600); err != nil {
		o.t.Fatal(err)
	}
}
