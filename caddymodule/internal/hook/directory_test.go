package hook_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/hook"
)

const phone = "+46701234567"

func ask(t *testing.T, o hook.Options, answer http.HandlerFunc) (auth.Account, error) {
	t.Helper()
	server := httptest.NewServer(answer)
	defer server.Close()
	o.URL = server.URL + "/who?key=hunter2"
	w, err := hook.NewDirectory(o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.Resolve(t.Context(), phone, "challenge")
}

func TestTheQuestionIsSigned(t *testing.T) {
	at := time.Unix(1800000000, 0)
	o := hook.Options{
		Sign: func(timestamp string, body []byte) string { return "signed " + timestamp + " " + string(body) },
		Now:  func() time.Time { return at },
	}
	got, err := ask(t, o, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		want := `{"phone":"` + phone + `","challenge_id":"challenge"}`
		if r.Method != "POST" || r.URL.Path != "/who" || string(body) != want || r.Header.Get("Content-Type") != "application/json" ||
			r.Header.Get("X-Sidegate-Timestamp") != "1800000000" || r.Header.Get("X-Sidegate-Signature") != "signed 1800000000 "+want {
			t.Errorf("%s %s %v %s", r.Method, r.URL, r.Header, body)
		}
		_, _ = io.WriteString(w, `{"auth_user_id":9007199254740991,"user_type":"staff","user_roles":["admin","support"],"more":1}`)
	})
	if err != nil || got.UserID != 1<<53-1 || got.Type != "staff" || !slices.Equal(got.Roles, []string{"admin", "support"}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func answered(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestAnswers(t *testing.T) {
	const fine = `{"auth_user_id":7,"user_type":"customer"}`
	for _, test := range []struct {
		name     string
		answer   http.HandlerFunc
		disabled bool // else: a fault
	}{
		{"404 is an unknown number", answered(404, fine), true},
		{"403 is a banned one", answered(403, ""), true},
		{"401: our secret is wrong, which is nobody's fault but ours", answered(401, fine), false},
		{"400", answered(400, fine), false},
		{"a redirect is not followed", answered(307, fine), false},
		{"500", answered(500, fine), false},
		{"another 2xx", answered(204, ""), false},
		{"no JSON", answered(200, "<html>"), false},
		{"empty", answered(200, ""), false},
		{"two documents", answered(200, fine+fine), false},
		{"an id in quotes", answered(200, `{"auth_user_id":"7","user_type":"customer"}`), false},
		{"a negative id", answered(200, `{"auth_user_id":-7,"user_type":"customer"}`), false},
		{"a fraction", answered(200, `{"auth_user_id":7.5,"user_type":"customer"}`), false},
		// Where an app's serializer or a proxy lets a user add a member, the last
		// one would win, in any letter case: an id or a role of the user's choice.
		{"a second id", answered(200, `{"auth_user_id":7,"user_type":"customer","auth_user_id":1}`), false},
		{"a second type", answered(200, `{"user_type":"customer","auth_user_id":7,"user_type":"staff"}`), false},
		{"a second list of roles", answered(200, `{"auth_user_id":7,"user_type":"customer","user_roles":[],"user_roles":["admin"]}`), false},
		{"a second list of roles, empty", answered(200, `{"auth_user_id":7,"user_type":"customer","user_roles":["a"],"user_roles":null}`), false},
		{"roles in other letters beside them", answered(200, `{"auth_user_id":7,"user_type":"customer","user_roles":[],"User_Roles":["admin"]}`), false},
		{"roles in other letters alone", answered(200, `{"auth_user_id":7,"user_type":"customer","USER_ROLES":["admin"]}`), false},
		{"roles with a long s, which encoding/json takes for one", answered(200, `{"auth_user_id":7,"user_type":"customer","u\u017fer_roles":["admin"]}`), false},
		{"another member twice", answered(200, `{"auth_user_id":7,"user_type":"customer","more":1,"more":2}`), false},
		{"no UTF-8", answered(200, "{\"auth_user_id\":7,\"user_type\":\"customer\",\"user_roles\":[\"\xff\"]}"), false},
		{"a list", answered(200, "["+fine+"]"), false},
		{"null", answered(200, "null"), false},
		{"no id", answered(200, `{"user_type":"customer"}`), false},
		{"no type", answered(200, `{"auth_user_id":7}`), false},
		{"too long", answered(200, fine+strings.Repeat(" ", 64<<10)), false},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, fine)
			panic(http.ErrAbortHandler)
		}, false},
		{"not HTTP", func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(c, phone+" hunter2\r\n\r\n")
			c.Close()
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ask(t, hook.Options{}, test.answer)
			if err == nil || got.UserID != 0 || errors.Is(err, auth.Refuse(auth.CodeAccountDisabled)) != test.disabled {
				t.Fatalf("got %+v, %v", got, err)
			}
			if strings.Contains(err.Error(), phone) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells too much: %v", err)
			}
		})
	}
}

func TestASlowDirectoryIsNotWaitedFor(t *testing.T) {
	_, err := ask(t, hook.Options{Timeout: 50 * time.Millisecond}, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	if err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("got %v", err)
	}
}

func TestAnAbsentDirectory(t *testing.T) {
	w, err := hook.NewDirectory(hook.Options{URL: "http://127.0.0.1:1/?key=hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Resolve(t.Context(), phone, "c"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	for _, address := range []string{"", "ftp://host/", "/path", "https://", "://"} {
		if _, err := hook.NewDirectory(hook.Options{URL: address}); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
}
