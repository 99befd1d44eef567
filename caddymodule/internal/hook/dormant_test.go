package hook_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/hook"
)

func sameOwner(t *testing.T, o hook.Options, answer http.HandlerFunc) (bool, error) {
	t.Helper()
	server := httptest.NewServer(answer)
	defer server.Close()
	o.URL = server.URL + "/dormant?key=hunter2"
	h, err := hook.NewDormant(o)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	used := time.Date(2026, 1, 2, 4, 4, 5, 6, time.FixedZone("", 3600))
	return h.SameOwner(t.Context(), auth.Dormant{UserID: 7, Phone: phone, LastUsedAt: used, ChallengeID: "challenge"})
}

func TestTheQuestionAboutADormantAccountIsSigned(t *testing.T) {
	o := hook.Options{
		Sign: func(timestamp string, body []byte) string { return "signed " + timestamp + " " + string(body) },
		Now:  func() time.Time { return time.Unix(1800000000, 0) },
	}
	same, err := sameOwner(t, o, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		want := `{"auth_user_id":7,"phone":"` + phone + `","last_used_at":"2026-01-02T03:04:05Z","challenge_id":"challenge"}`
		if string(body) != want || r.Header.Get("Idempotency-Key") != "challenge" || r.Header.Get("X-Sidegate-Signature") != "signed 1800000000 "+want {
			t.Errorf("%v %s", r.Header, body)
		}
		_, _ = io.WriteString(w, `{"action":"open"}`)
	})
	if !same || err != nil {
		t.Errorf("got %v, %v", same, err)
	}
}

func TestAnswersAboutDormantAccounts(t *testing.T) {
	for _, row := range []struct {
		name           string
		answer         http.HandlerFunc
		same, disabled bool
		fault          bool
	}{
		{"open", answered(200, `{"action":"open"}`), true, false, false},
		{"new", answered(200, `{"action":"new"}`), false, false, false},
		{"403", answered(403, `{"action":"open"}`), false, true, true},
		{"404", answered(404, ""), false, false, true},
		{"another action", answered(200, `{"action":"allow"}`), false, false, true},
		{"two actions", answered(200, `{"action":"new","action":"open"}`), false, false, true},
		{"another 2xx", answered(204, ""), false, false, true},
		{"a redirect", answered(307, `{"action":"open"}`), false, false, true},
		{"500", answered(500, `{"action":"open"}`), false, false, true},
	} {
		same, err := sameOwner(t, hook.Options{}, row.answer)
		if same != row.same || (err != nil) != row.fault || errors.Is(err, auth.Refuse(auth.CodeAccountDisabled)) != row.disabled {
			t.Errorf("%s: got %v, %v", row.name, same, err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), phone)) {
			t.Errorf("%s: the error tells too much: %v", row.name, err)
		}
	}
	if _, err := hook.NewDormant(hook.Options{URL: "ftp://host"}); err == nil {
		t.Error("ftp is taken")
	}
}
