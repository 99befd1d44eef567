package caddymodule_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// messages waits until a file of sender file holds n messages, and returns them.
func messages(t *testing.T, file string, n int) (all []map[string]any) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, _ := os.ReadFile(file)
		if strings.Count(string(text), "\n") < n {
			continue
		}
		for line := range strings.Lines(string(text)) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			all = append(all, m)
		}
		return all
	}
	t.Fatalf("%s does not get %d messages", file, n)
	return nil
}

const american = "+12015550123"

// The site's own sender takes all countries, by sms alone.
func TestChannelsOfSenders(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	s := startSite(t, `
		sender file `+calls+` {
			countries SE
			channels voice
		}
		otp {
			resend_after 1s
		}`, "")
	send := func(body map[string]any) reply { return s.do("POST", apiPath+"/otp", body) }

	wants(t, "a channel of no sender", send(map[string]any{"phone": "+46701740605", "channel": "whatsapp"}), 400, "invalid_request")
	wants(t, "a channel of no sender for this country", send(map[string]any{"phone": american, "channel": "voice"}), 400, "invalid_request")
	called := send(map[string]any{"phone": "+46701740605", "channel": "voice"})
	wants(t, "a call", called, 202, "")
	if got := called.json(t)["channel"]; got != "voice" {
		t.Errorf("channel %v", got)
	}
	if m := messages(t, calls, 1)[0]; m["channel"] != "voice" || m["to"] != "+46701740605" {
		t.Errorf("got %v", m)
	}

	// No message arrived: the same code by voice.
	sms := send(map[string]any{"phone": "+46701740606"}).json(t)
	code := s.codeOf(sms["challenge_id"].(string))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		again := send(map[string]any{"phone": "+46701740606", "channel": "voice", "challenge_id": sms["challenge_id"]})
		if again.status == 429 && time.Now().Before(deadline) {
			continue
		}
		wants(t, "a call instead", again, 202, "")
		if got := again.json(t); got["challenge_id"] != sms["challenge_id"] || got["channel"] != "voice" {
			t.Errorf("got %v", got)
		}
		break
	}
	if m := messages(t, calls, 2)[1]; m["code"] != code {
		t.Errorf("got %v, want the code %s", m, code)
	}
}

// A country that everybody else may come from, but that no sender takes, is one
// that is not supported.
func TestCountryOfNoSender(t *testing.T) {
	s := newSite(t)
	config := s.config("", "", "")
	s.load(strings.Replace(config, "sender file "+s.codesFile(), "sender file "+s.codesFile()+" {\ncountries SE GB\n}", 1))
	t.Cleanup(stopCaddy(t))
	wants(t, "its country", s.do("POST", apiPath+"/otp", map[string]any{"phone": "+46701740605"}), 202, "")
	wants(t, "another", s.do("POST", apiPath+"/otp", map[string]any{"phone": american}), 400, "phone_not_supported")
}

func stopCaddy(t *testing.T) func() {
	return func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	}
}
