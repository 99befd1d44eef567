package sender_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func vonage(t *testing.T, o sender.VonageOptions) *sender.Vonage {
	t.Helper()
	s, err := sender.NewVonage(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func vonageOptions(endpoint string) sender.VonageOptions {
	return sender.VonageOptions{APIKey: "abcd1234", SignatureSecret: "hunter2", From: "+46765190000", Endpoint: endpoint}
}

// The answer is that of https://developer.vonage.com/messaging/sms/guides/troubleshooting-sms.
const vonageTaken = `{"message-count": "1", "messages": [{"to": "46701740605", "message-id": "0C000000217B7F02",
	"status": "0", "remaining-balance": "15.53590000", "message-price": "0.03330000", "network": "23410"}]}`

// The fields are those of https://developer.vonage.com/en/api/sms (api_key, from, to, type, text, ttl, client-ref,
// timestamp, sig); how to sign them stands on
// https://developer.vonage.com/en/getting-started/concepts/signing-messages#manually-generate-a-signature.
func TestVonageRequest(t *testing.T) {
	server, got := provider(t, http.StatusOK, vonageTaken)
	o := vonageOptions(server.URL)
	now := time.Unix(1700000000, 0)
	o.Now = func() time.Time { return now }
	m := message()
	m.Text, m.ExpiresAt = "Tu & me = code is "+code+".\n\n@a.example #"+code, now.Add(5*time.Minute)
	if err := vonage(t, o).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte("hunter2"))
	mac.Write([]byte("&api_key=abcd1234&client-ref=c1.1&from=46765190000&text=Tu _ me _ code is 048151.\n\n@a.example #048151" +
		"&timestamp=1700000000&to=46701740605&ttl=300000&type=text"))
	want := map[string]string{
		"api_key": "abcd1234", "from": "46765190000", "to": "46701740605", "type": "text", "text": m.Text,
		"client-ref": "c1.1", "ttl": "300000", "timestamp": "1700000000", "sig": hex.EncodeToString(mac.Sum(nil)),
	}
	r := (*got)[0]
	if len(*got) != 1 || r.method != http.MethodPost || r.path != "/sms/json" || r.header.Get("Authorization") != "" ||
		r.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("%d requests, %s %s %v", len(*got), r.method, r.path, r.header)
	}
	for name, value := range want {
		if r.form.Get(name) != value {
			t.Errorf("%s: %q, want %q", name, r.form.Get(name), value)
		}
	}
	if len(r.form) != len(want) {
		t.Errorf("fields %v", r.form)
	}
}

// The API takes no life under 20 s.
func TestVonageOfACodeThatEndsSoon(t *testing.T) {
	server, got := provider(t, http.StatusOK, vonageTaken)
	m := message()
	m.ExpiresAt = time.Now().Add(2 * time.Second)
	if err := vonage(t, vonageOptions(server.URL)).Send(t.Context(), m); err != nil || (*got)[0].form.Get("ttl") != "20000" {
		t.Errorf("%v, %v", err, (*got)[0].form)
	}
}

// What the statuses mean is on https://developer.vonage.com/api-errors/sms.
func TestVonageAnswers(t *testing.T) {
	status := func(s string) string {
		return `{"message-count": "1", "messages": [{"status": "` + s + `", "error-text": "about ` + number + ` and ` + code + `"}]}`
	}
	for _, row := range []struct {
		name string
		code int
		body string
		want string
	}{
		{"taken", 200, vonageTaken, ""},
		{"throttled", 200, status("1"), "failed"},
		{"a missing parameter", 200, status("2"), "failed"},
		{"an invalid parameter", 200, status("3"), "refused"},
		{"wrong credentials", 200, status("4"), "failed"},
		{"a fault", 200, status("5"), "failed"},
		{"no route", 200, status("6"), "refused"},
		{"barred", 200, status("7"), "refused"},
		{"the account is barred", 200, status("8"), "failed"},
		{"no credit", 200, status("9"), "failed"},
		{"a wrong signature", 200, status("14"), "failed"},
		{"a sender that the country does not take", 200, status("15"), "refused"},
		{"not on the list of a trial account", 200, status("29"), "refused"},
		{"no longer in use", 200, status("33"), "refused"},
		{"a status that nobody knows", 200, status("777"), "failed"},
		{"a status that is none", 200, status("fine"), "failed"},
		{"the second part failed", 200, `{"messages": [{"status": "0"}, {"status": "5"}]}`, "failed"},
		{"no message", 200, `{"message-count": "0", "messages": []}`, "failed"},
		{"a page instead of JSON", 200, `<html>`, "failed"},
		{"accepted is not taken", 202, vonageTaken, "failed"},
		{"too many requests", 429, ``, "failed"},
		{"a redirect", 307, ``, "failed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			server, got := provider(t, row.code, row.body)
			err := vonage(t, vonageOptions(server.URL)).Send(t.Context(), message())
			if outcome(err) != row.want || len(*got) != 1 {
				t.Errorf("%d requests, %v; want %q", len(*got), err, row.want)
			}
			discreet(t, err)
		})
	}
}

func TestNewVonageChecksItsOptions(t *testing.T) {
	for want, change := range map[string]func(*sender.VonageOptions){
		"api_key is needed":          func(o *sender.VonageOptions) { o.APIKey = "" },
		"signature_secret is needed": func(o *sender.VonageOptions) { o.SignatureSecret = "" },
		"from is needed":             func(o *sender.VonageOptions) { o.From = "" },
		"endpoint must be":           func(o *sender.VonageOptions) { o.Endpoint = "rest.nexmo.com" },
	} {
		o := vonageOptions("")
		change(&o)
		if _, err := sender.NewVonage(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if s := vonage(t, vonageOptions("")); s.Name() != "vonage" || s.Limit() != 0 {
		t.Errorf("got %s, %v", s.Name(), s.Limit())
	}
}
