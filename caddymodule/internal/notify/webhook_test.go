package notify

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestWebhook(t *testing.T) {
	type request struct {
		header http.Header
		body   string
	}
	requests := make(chan request, 1)
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- request{r.Header, string(body)}
		w.Header().Set("Location", "http://192.0.2.1/elsewhere")
		w.WriteHeader(status)
	}))
	defer server.Close()
	sign := func(timestamp string, body []byte) string { return "signed " + timestamp + " " + string(body) }
	w, err := NewWebhook(WebhookOptions{URL: server.URL, Sign: sign, Now: func() time.Time { return time.Unix(1800000000, 5) }})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, row := range []struct {
		status          int
		failed, refused bool
	}{{200, false, false}, {202, false, false}, {204, false, false}, {400, true, true}, {422, true, true}, {302, true, false}, {401, true, false}, {404, true, false}, {429, true, false}, {500, true, false}} {
		status = row.status
		err := w.Post(t.Context(), "id-1", []byte(`{"id":"id-1"}`))
		if (err != nil) != row.failed || errors.Is(err, ErrRefused) != row.refused {
			t.Errorf("%d: %v", row.status, err)
		}
		got := <-requests
		for name, want := range map[string]string{
			"Content-Type": "application/json", "Idempotency-Key": "id-1", "User-Agent": "Sidegate",
			"X-Sidegate-Timestamp": "1800000000", "X-Sidegate-Signature": `signed 1800000000 {"id":"id-1"}`,
		} {
			if got.header.Get(name) != want {
				t.Errorf("%s: got %q", name, got.header.Get(name))
			}
		}
	}
}

// The URL may hold a secret: no error and no name tells it.
func TestErrorsHoldNoURL(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body) // else the server does not notice that the client has gone
		<-r.Context().Done()
	}))
	defer silent.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer broken.Close()
	for name, address := range map[string]string{"silent": silent.URL, "broken": broken.URL, "nobody there": "http://127.0.0.1:1"} {
		w, err := NewWebhook(WebhookOptions{URL: strings.Replace(address, "://", "://user:hunter2@", 1) + "/hunter2?hunter2"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := w.Post(ctx, "id", nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		if w.Host() != "127.0.0.1" {
			t.Errorf("called %q", w.Host())
		}
		_ = w.Close()
	}
	for _, bad := range []string{"", "ftp://a.example/hunter2", "http:///hunter2", "http://a b/hunter2", "://hunter2"} {
		if _, err := NewWebhook(WebhookOptions{URL: bad}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What the receiver reads. Fields that are not known are absent.
func TestNoticeJSON(t *testing.T) {
	at := time.Date(2027, 1, 2, 3, 4, 5, 6e6, time.UTC)
	for _, row := range []struct {
		event auth.Event
		want  string
	}{
		{auth.Event{Name: auth.EventSessionEnded, At: at, Cause: "reused", UserID: 7, SessionID: auth.SessionID{1}, DeviceID: "d", ClientIP: "192.0.2.1"},
			`{"id":"ID","name":"session_ended","at":"2027-01-02T03:04:05.006Z","cause":"reused","auth_user_id":7,"session_id":"AQAAAAAAAAAAAAAAAAAAAA","device_id":"d","client_ip":"192.0.2.1"}`},
		{auth.Event{Name: auth.EventSendBlocked, At: at, Cause: "ip_sends", Subject: "s", Country: "SE", Channel: "sms"},
			`{"id":"ID","name":"send_blocked","at":"2027-01-02T03:04:05.006Z","cause":"ip_sends","subject":"s","country":"SE","channel":"sms"}`},
	} {
		n := noticeOf(row.event)
		if len(n.ID) < 20 {
			t.Errorf("an id that can be guessed: %q", n.ID)
		}
		n.ID = "ID"
		got, err := json.Marshal(n)
		if err != nil || string(got) != row.want {
			t.Errorf("got %s, %v", got, err)
		}
		var back Notice
		if err := json.Unmarshal(got, &back); err != nil || back != n {
			t.Errorf("came back as %+v, %v", back, err)
		}
	}
}
