package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// warnings loads a Caddyfile as `caddy validate` does and gives its log.
func warnings(t *testing.T, caddyfile string) string {
	t.Helper()
	var config caddy.Config
	if err := json.Unmarshal(adapt(t, caddyfile), &config); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "log")
	config.Admin = &caddy.AdminConfig{Disabled: true}
	config.Logging = logTo(map[string]string{"output": "file", "filename": file})
	if err := caddy.Validate(&config); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Attack: whoever listens between this machine and the gateway reads the codes.
func TestWebhookInTheClearIsWarnedOf(t *testing.T) {
	for url, warned := range map[string]bool{
		"http://sms.internal/send": true, "http://10.0.0.9/send": true, "http://[2001:db8::1]/send": true,
		"https://sms.internal/send": false, "http://localhost:9000/send": false,
		"http://127.0.0.1:9000/send": false, "http://[::1]:9000/send": false,
	} {
		log := warnings(t, "{\n\tsidegate {\n\t\tsender webhook "+url+"\n\t\totp {\n\t\t\tallow_countries *\n\t\t}\n\t}\n}\n")
		if got := strings.Contains(log, "over plain http"); got != warned {
			t.Errorf("%s: warned: %v, want %v", url, got, warned)
		}
	}
}

// Attack: behind a proxy that adds to X-Forwarded-For, a client that writes the
// header itself has a fresh address for every request.
func TestAddressesThatClientsChooseAreWarnedOf(t *testing.T) {
	for servers, warned := range map[string]int{
		"":                                   0,
		"trusted_proxies static 127.0.0.1/8": 1,
		"trusted_proxies static 127.0.0.1/8\n\t\ttrusted_proxies_strict":             0,
		"trusted_proxies static 127.0.0.1/8\n\t\tclient_ip_headers Cf-Connecting-Ip": 0,
	} {
		t.Run(servers, func(t *testing.T) {
			s := newSite(t)
			s.load(strings.Replace(s.config("", "", ""), "grace_period 5s", "grace_period 5s\n\tservers {\n\t\t"+servers+"\n\t}", 1))
			defer func() { _ = caddy.Stop() }()
			for range 2 {
				wants(t, "health", s.do("GET", apiPath+"/health", nil, "X-Forwarded-For", "192.0.2.1"), http.StatusOK, "")
			}
			log, err := os.ReadFile(filepath.Join(s.dir, "caddy.log"))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(string(log), "add trusted_proxies_strict"); got != warned {
				t.Errorf("%d warnings, want %d", got, warned)
			}
		})
	}
}
