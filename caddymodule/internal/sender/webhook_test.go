package sender_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

const code, number = "048151", "+46701740605"

// message is good for five minutes from now.
func message() auth.Message {
	return auth.Message{
		ID: "c1.1", To: number, Code: code, Text: "Your Acme code is " + code + ".", Channel: "sms", AppName: "Acme",
		ExpiresAt: time.Now().Add(5 * time.Minute),
	}
}

// discreet fails the test when an error tells what nobody may read.
func discreet(t *testing.T, err error) {
	t.Helper()
	for _, secret := range []string{code, number, strings.TrimPrefix(number, "+"), "hunter2", "048 151"} {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error %q holds %q", err, secret)
		}
	}
}

func webhook(t *testing.T, o sender.WebhookOptions) *sender.Webhook {
	t.Helper()
	w, err := sender.NewWebhook(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func TestWebhookPostsTheMessageSigned(t *testing.T) {
	var body []byte
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
		if user, password, _ := r.BasicAuth(); r.Method != http.MethodPost || r.URL.Path != "/send" || user != "u" || password != "hunter2" {
			w.WriteHeader(http.StatusTeapot)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	w := webhook(t, sender.WebhookOptions{
		URL:    strings.Replace(server.URL, "//", "//u:hunter2@", 1) + "/send",
		Secret: []byte("key"), Now: func() time.Time { return time.Unix(1700000000, 0) },
	})
	m := message()
	m.ExpiresAt = time.Date(2026, 7, 1, 14, 0, 0, 5, time.FixedZone("", 7200))
	if err := w.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"id": "c1.1", "to": number, "code": code, "text": m.Text, "channel": "sms", "app_name": "Acme", "expires_at": "2026-07-01T12:00:00Z",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("body %v, want %v", got, want)
	}
	mac := hmac.New(sha256.New, []byte("key"))
	mac.Write([]byte("1700000000." + string(body)))
	for name, want := range map[string]string{
		"Idempotency-Key": "c1.1", "Content-Type": "application/json", "X-Sidegate-Timestamp": "1700000000",
		"X-Sidegate-Signature": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestWebhookWithoutSecretIsNotSigned(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header["X-Sidegate-Signature"] != nil || r.Header["X-Sidegate-Timestamp"] != nil {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer server.Close()
	if err := webhook(t, sender.WebhookOptions{URL: server.URL}).Send(t.Context(), message()); err != nil {
		t.Error(err)
	}
}

func TestWebhookReadsTheStatus(t *testing.T) {
	for status, want := range map[int]string{
		200: "", 202: "", 204: "", 299: "", 400: "refused", 422: "refused",
		301: "failed", 307: "failed", 401: "failed", 404: "failed", 429: "failed", 500: "failed", 503: "failed",
	} {
		followed := false
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Attack: whoever controls a redirect would be sent the codes.
			followed = followed || r.URL.Path == "/elsewhere"
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			if status != http.StatusNoContent {
				fmt.Fprint(w, code, number, strings.Repeat("x", 1<<20)) // echoes, and never ends
			}
		}))
		err := webhook(t, sender.WebhookOptions{URL: server.URL}).Send(t.Context(), message())
		server.Close()
		got := ""
		if err != nil {
			got = "failed"
		}
		if errors.Is(err, sender.ErrRefused) {
			got = "refused"
		}
		if got != want || followed {
			t.Errorf("%d: %q (%v), want %q; redirect followed: %v", status, got, err, want, followed)
		}
		discreet(t, err)
	}
}

// raw is a server that answers each connection with the same bytes.
func raw(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, answer)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestWebhookErrorsTellNothing(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	for _, row := range []struct{ name, url string }{
		{"nobody listens", strings.Replace(closed.URL, "//", "//u:hunter2@", 1)},
		{"an unknown certificate", strings.Replace(tls.URL, "//", "//u:hunter2@", 1)},
		{"an answer that is not HTTP and repeats the code", "http://u:hunter2@" + raw(t, code+" "+number+"\r\n\r\n")},
		{"a header that repeats the code", "http://u:hunter2@" + raw(t, "HTTP/1.1 200 OK\r\n"+code+"\r\n\r\n")},
		{"headers without end", "http://u:hunter2@" + raw(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<16))},
		{"a closed connection", "http://u:hunter2@" + raw(t, "")},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := webhook(t, sender.WebhookOptions{URL: row.url, Secret: []byte("hunter2")}).Send(t.Context(), message())
			if err == nil {
				t.Error("no error")
			}
			discreet(t, err)
		})
	}
}

func TestWebhookEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	w := webhook(t, sender.WebhookOptions{URL: server.URL})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := w.Send(ctx, message()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if err := w.Send(ctx, message()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
}

func TestNewWebhookChecksTheURL(t *testing.T) {
	for _, url := range []string{"", "sms.internal/send", "ftp://x", "https://", "https:///send", "http://u:hunter2@x:port/", "https://u:hunter2@[x"} {
		_, err := sender.NewWebhook(sender.WebhookOptions{URL: url})
		if err == nil {
			t.Errorf("%q is taken", url)
		}
		discreet(t, err)
	}
	w := webhook(t, sender.WebhookOptions{URL: "https://u:hunter2@sms.internal:8443/send?key=hunter2", Timeout: time.Second})
	if w.Name() != "webhook sms.internal" || w.Limit() != time.Second {
		t.Errorf("got %q, %v", w.Name(), w.Limit())
	}
}

func TestWebhookUsesNoProxyOfTheEnvironment(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("the proxy was asked") }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := webhook(t, sender.WebhookOptions{URL: "http://sms.invalid/"}).Send(ctx, message()); err == nil {
		t.Error("no error")
	}
}
