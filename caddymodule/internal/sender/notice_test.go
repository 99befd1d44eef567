package sender_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// notice is a message without a code.
func notice() auth.Message {
	return auth.Message{ID: "c1.notice", To: number, Text: "Your sign-in number was changed.", Channel: "sms", AppName: "Acme", ExpiresAt: time.Now().Add(4 * time.Hour)}
}

// What passes messages on as JSON has the code, empty.
func TestNoticesInJSON(t *testing.T) {
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		body = string(text)
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "messages")
	file, err := sender.NewFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]sender.Sender{"webhook": webhook(t, sender.WebhookOptions{URL: server.URL}), "file": file} {
		if err := s.Send(t.Context(), notice()); err != nil {
			t.Fatal(err)
		}
		if name == "file" {
			text, _ := os.ReadFile(path)
			body = string(text)
		}
		var m map[string]string
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatal(err)
		}
		if code, has := m["code"]; !has || code != "" || m["text"] != notice().Text || m["channel"] != "sms" || m["id"] != "c1.notice" {
			t.Errorf("%s: %s", name, body)
		}
	}
}

// Providers get the text alone.
func TestNoticesByProviders(t *testing.T) {
	server, got := provider(t, http.StatusCreated, twilioCreated)
	if err := twilio(t, twilioOptions(server.URL)).Send(t.Context(), notice()); err != nil {
		t.Error(err)
	}
	if form := (*got)[0].form; form.Get("Body") != notice().Text || !strings.HasSuffix((*got)[0].path, "/Messages.json") || form.Get("ValidityPeriod") == "" {
		t.Errorf("Twilio: %v", form)
	}
	server, got = provider(t, http.StatusOK, vonageTaken)
	if err := vonage(t, vonageOptions(server.URL)).Send(t.Context(), notice()); err != nil {
		t.Error(err)
	}
	if form := (*got)[0].form; form.Get("text") != notice().Text {
		t.Errorf("Vonage: %v", form)
	}
}

// An error about a message without a code is told: nothing in it is secret but
// the number.
func TestErrorsOfNotices(t *testing.T) {
	server, _ := provider(t, http.StatusServiceUnavailable, "")
	q := sender.NewQueue(sender.Options{Senders: []sender.Sender{vonage(t, vonageOptions(server.URL))}, Log: silent})
	defer q.Close(t.Context())
	if _, err := deliver(q, notice()); err == nil || !strings.Contains(err.Error(), "answered 503") {
		t.Errorf("got %v", err)
	}
}
