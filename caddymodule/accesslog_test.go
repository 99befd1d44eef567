package caddymodule_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// documentedFilter is the block of docs/operations.md that filters a log.
func documentedFilter(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`(?s)\(private\) \{\n(.*?)\n\}\n\n\{`).FindStringSubmatch(readPage(t, "../docs/operations.md"))
	if found == nil {
		t.Fatal("docs/operations.md has no snippet (private)")
	}
	return found[1]
}

// What no line of a log may have.
const (
	clientV4, clientV6 = "203.0.113.77", "2001:db8:1:2:3:4:5:6"
	inQuery            = "a-token-of-the-apps"
	inReturn           = "return_to"
	inHeader           = "a-key-of-the-apps"
	inCookie           = "a-cookie-of-the-apps"
)

// logOf is the access log, and the log of failures, of requests that hold all
// that is private.
func logOf(t *testing.T, filter string) []byte {
	t.Helper()
	s := newSite(t)
	file := func(name string) string { return filepath.Join(s.dir, name) }
	config := s.config(noLimits, "public /open\nrequire /admin/* role admin", fmt.Sprintf("log {\noutput file %s\n%s\n}", file("access.log"), filter))
	config = strings.Replace(config, "level DEBUG", filter, 1)
	config = strings.Replace(config, "admin off\n", "admin off\nservers {\ntrusted_proxies static 127.0.0.1/32\ntrusted_proxies_strict\n}\n", 1)
	s.load(config)
	defer func() { _ = caddy.Stop() }()
	token := bearer(s.signInWith(testA, nil))
	s.upstream.answerWith(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Set-Cookie", "app="+inCookie) })
	for _, address := range []string{clientV4, clientV6} {
		common := []string{
			"X-Forwarded-For", address, "Referer", "https://app.example.com/page?" + inQuery, "X-Api-Key", inHeader,
			"Cookie", "app=" + inCookie, "Proxy-Authorization", "Basic " + inCookie, "User-Agent", "a-browser",
		}
		signedIn := append([]string{"Authorization", token}, common...)
		wants(t, "signed in", s.do("GET", "/page?token="+inQuery, nil, signedIn...), 200, "")
		wants(t, "refused", s.do("GET", "/page?token="+inQuery, nil, append([]string{"Sec-Fetch-Mode", "navigate"}, common...)...), 303, "")
		wants(t, "login", s.do("GET", "/auth/login?return_to=%2Fpage", nil, common...), 200, "")
	}
	s.upstream.answerWith(func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	wants(t, "failed", s.do("GET", "/open?token="+inQuery, nil, "X-Forwarded-For", clientV4, "X-Api-Key", inHeader), 502, "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	access, err := os.ReadFile(file("access.log"))
	if err != nil {
		t.Fatal(err)
	}
	general, err := os.ReadFile(file("caddy.log"))
	if err != nil || !bytes.Contains(general, []byte("http.log.error")) {
		t.Fatalf("the failed request is not in the log: %v", err)
	}
	if bytes.Contains(access, []byte(strings.TrimPrefix(token, "Bearer "))) || bytes.Contains(access, []byte(inCookie)) {
		t.Error("the access log holds a credential")
	}
	return append(access, general...)
}

// The documented filter leaves nothing private in a log of a running Caddy.
// Without it, all of it is there, but for the cookies and tokens that Caddy
// hides by itself.
func TestAccessLogFilter(t *testing.T) {
	private := []string{clientV4, clientV6, inQuery, inReturn, inHeader}
	plain := logOf(t, "")
	for _, secret := range private {
		if !bytes.Contains(plain, []byte(secret)) {
			t.Errorf("%s is not even in the log without the filter", secret)
		}
	}
	for _, header := range []string{"Cookie", "Set-Cookie", "Authorization", "Proxy-Authorization"} {
		if !bytes.Contains(plain, []byte(`"`+header+`":["REDACTED"]`)) {
			t.Errorf("Caddy does not hide %s by itself", header)
		}
	}
	filtered := logOf(t, documentedFilter(t))
	for _, secret := range append(private, "Cookie", "Authorization", `"remote_ip":"127.0.0.1"`) {
		if bytes.Contains(filtered, []byte(secret)) {
			t.Errorf("the filtered log holds %s:\n%s", secret, filtered)
		}
	}
	for _, kept := range []string{`"client_ip":"203.0.113.0"`, `"client_ip":"2001:db8:1:2::"`, `"uri":"/page"`, `"status":303`, `"user_id":"1"`} {
		if !bytes.Contains(filtered, []byte(kept)) {
			t.Errorf("the filtered log does not hold %s", kept)
		}
	}
}
