package caddymodule_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// mustTest is set by cmd/test, which installs what is missing: then no test may
// be left out.
const mustTest = "SIDEGATE_SKIP_NOTHING"

// findNginx skips where there is none.
func findNginx(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv(mustTest) != "" {
		t.Fatal("nginx is not installed")
	}
	t.Skip("nginx is not installed; go run ./cmd/test installs it")
	return ""
}

// questions are a way to the gate which remembers what nginx sends.
type questions struct {
	mu  sync.Mutex
	got []question
}

type question struct {
	method, uri string
	body        int
}

func newQuestions(t *testing.T, gate string) (*questions, string) {
	a := &questions{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: gate})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.got = append(a.got, question{r.Method, r.RequestURI, len(body)})
		a.mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return a, strings.TrimPrefix(server.URL, "http://")
}

func (a *questions) take() []question {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.got
	a.got = nil
	return got
}

// documentedGate is the Caddyfile of docs/deploy/forward-auth with the ports and
// the store of a test. Its users sign in with the code of the test numbers.
func documentedGate(t *testing.T, dir, nginx, envoy, roles string) string {
	t.Helper()
	t.Setenv("SMS_SECRET", "a secret of the SMS gateway")
	return substitute(t, readPage(t, "../docs/deploy/forward-auth/Caddyfile"), map[string]string{
		"auto_https off":             "auto_https off\nadmin off\npersist_config off\nlog {\noutput discard\n}",
		"10.0.0.0/8":                 "",
		"\n:9080 {":                  "\nhttp://:" + port(nginx) + " {\nbind 127.0.0.1",
		"\n:9081 {":                  "\nhttp://:" + port(envoy) + " {\nbind 127.0.0.1",
		"/var/lib/sidegate":          filepath.Join(dir, "store"),
		"allow_countries SE NO GB\n": "allow_countries SE NO GB\ntest_number " + testA + " 424242 until 2099-01-01\ntest_number " + testB + " 424242 until 2099-01-01\n",
		"sender webhook":             "directory local {\nroles " + roles + "\n}\nsender webhook",
	})
}

// substitute fails when a text is not there: then the test would try something
// other than what is documented.
func substitute(t *testing.T, text string, changes map[string]string) string {
	t.Helper()
	for from, to := range changes {
		if !strings.Contains(text, from) {
			t.Fatalf("the documented configuration has no %q", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	return text
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// startNginx runs the documented configuration, with the addresses of a test.
func startNginx(t *testing.T, gate, app string) (address string) {
	t.Helper()
	dir, program := t.TempDir(), findNginx(t)
	address = freeAddress(t)
	certificate := selfSigned(t) // with its key
	site := substitute(t, readPage(t, "../docs/deploy/forward-auth/nginx.conf"), map[string]string{
		"127.0.0.1:9080": gate, "127.0.0.1:3000": app, "listen 443 ssl": "listen " + address + " ssl",
		"/etc/ssl/app.example.com.pem": certificate, "/etc/ssl/app.example.com.key": certificate,
	})
	main := fmt.Sprintf("daemon off;\nmaster_process off;\npid %[1]s/pid;\nevents {}\nhttp {\naccess_log off;\nclient_body_temp_path %[1]s/body;\nproxy_temp_path %[1]s/proxy;\nfastcgi_temp_path %[1]s/fastcgi;\nuwsgi_temp_path %[1]s/uwsgi;\nscgi_temp_path %[1]s/scgi;\n%[2]s\n}\n", dir, site)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(main), 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "error.log")
	cmd := exec.Command(program, "-p", dir, "-e", log, "-c", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log)
			t.Logf("nginx said:\n%s", text)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("nginx does not listen: %v", err)
		}
	}
}
