package hook_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/hook"
)

var inquiry = auth.Inquiry{ID: "c.1", Phone: phone, Country: "SE", Channel: "sms", ClientIP: "192.0.2.1"}

func judge(t *testing.T, o hook.Options, answer http.HandlerFunc) (bool, error) {
	t.Helper()
	server := httptest.NewServer(answer)
	defer server.Close()
	o.URL = server.URL + "/judge?key=hunter2"
	r, err := hook.NewRisk(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return r.Judge(t.Context(), inquiry)
}

func TestTheInquiryIsSigned(t *testing.T) {
	o := hook.Options{
		Sign: func(timestamp string, body []byte) string { return "signed " + timestamp + " " + string(body) },
		Now:  func() time.Time { return time.Unix(1800000000, 0) },
	}
	allow, err := judge(t, o, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		want := `{"id":"c.1","phone":"` + phone + `","country":"SE","channel":"sms","client_ip":"192.0.2.1"}`
		if r.Method != "POST" || string(body) != want || r.Header.Get("Idempotency-Key") != "c.1" ||
			r.Header.Get("X-Sidegate-Timestamp") != "1800000000" || r.Header.Get("X-Sidegate-Signature") != "signed 1800000000 "+want {
			t.Errorf("%s %v %s", r.Method, r.Header, body)
		}
		_, _ = io.WriteString(w, `{"action":"allow"}`)
	})
	if !allow || err != nil {
		t.Errorf("got %v, %v", allow, err)
	}
}

func TestVerdicts(t *testing.T) {
	for _, row := range []struct {
		name   string
		answer http.HandlerFunc
		allow  bool
		fault  bool
	}{
		{"allow", answered(200, `{"action":"allow"}`), true, false},
		{"deny", answered(200, ` {"score": 0.9, "action": "deny"} `), false, false},
		{"another action", answered(200, `{"action":"open"}`), false, true},
		{"another spelling", answered(200, `{"action":"Allow"}`), false, true},
		{"no action", answered(200, `{}`), false, true},
		{"another 2xx", answered(201, `{"action":"allow"}`), false, true},
		{"403, which is no denial", answered(403, `{"action":"deny"}`), false, true},
		{"a redirect", answered(307, `{"action":"allow"}`), false, true},
		{"500", answered(500, `{"action":"allow"}`), false, true},
		{"too long", answered(200, `{"action":"allow"}`+strings.Repeat(" ", 64<<10)), false, true},
	} {
		allow, err := judge(t, hook.Options{}, row.answer)
		if allow != row.allow || (err != nil) != row.fault {
			t.Errorf("%s: got %v, %v", row.name, allow, err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), phone)) {
			t.Errorf("%s: the error tells too much: %v", row.name, err)
		}
	}
}

func TestARiskHookHasAHostAndALimit(t *testing.T) {
	r, err := hook.NewRisk(hook.Options{URL: "https://user:hunter2@risk.example:8443/x", Timeout: time.Second})
	if err != nil || r.Name() != "webhook risk.example" || r.Limit() != time.Second {
		t.Errorf("got %v, %v", r, err)
	}
	if _, err := hook.NewRisk(hook.Options{URL: "risk.example"}); err == nil {
		t.Error("an URL without a scheme is taken")
	}
}
