package auth_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// journal keeps what the service tells, as "name cause".
type journal struct {
	mu     sync.Mutex
	lines  []string
	events []auth.Event
}

func (j *journal) tell(e auth.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
	j.lines = append(j.lines, strings.TrimSpace(string(e.Name)+" "+e.Cause))
}

// take returns what has been told since the last call.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

func newToldWorld(t *testing.T, change ...func(*auth.Settings)) (*world, *journal) {
	w, j := newWorld(t, change...), &journal{}
	w.Tell = j.tell
	return w, j
}

func TestEventsOfASession(t *testing.T) {
	w, told := newToldWorld(t, func(s *auth.Settings) { s.MaxPerUser = 2 })
	var first, second, third auth.Grant
	renew := func(g *auth.Grant) {
		next, err := w.refresh(g.Ticket)
		wants(t, err, "")
		*g = next
	}
	for _, row := range []struct {
		name string
		act  func()
		want []string
	}{
		{"a new user signs in", func() { first = w.signIn(alice, "phone") },
			[]string{"code_delivered", "code_requested", "user_created", "session_started"}},
		{"a request is not told", func() { wants(t, w.request(first), "") }, nil},
		{"on another device", func() { second = w.signIn(alice, "tablet") },
			[]string{"code_delivered", "code_requested", "new_device", "session_started"}},
		{"on a device that is known", func() { third = w.signIn(alice, "tablet") },
			[]string{"code_delivered", "code_requested", "session_ended replaced", "session_started"}},
		{"with one session too many", func() { w.clock.pass(time.Second); second = w.signIn(alice, "laptop") },
			[]string{"code_delivered", "code_requested", "session_ended evicted", "new_device", "session_started"}},
		{"a refresh", func() { old := second; renew(&second); first = old }, []string{"token_refreshed rotated"}},
		{"the same again at once", func() { g := first; renew(&g) }, []string{"token_refreshed repeated"}},
		{"the same again much later", func() { w.clock.pass(time.Hour); g := first; renew(&g) }, []string{"token_refreshed forgiven"}},
		{"a copy of an old token", func() {
			wants(t, w.request(second), "")
			_, err := w.refresh(first.Ticket)
			wants(t, err, auth.CodeRefreshReused)
		}, []string{"token_reused", "session_ended reused", "token_refused refresh_token_reused"}},
		{"the same copy again", func() {
			_, err := w.refresh(first.Ticket)
			wants(t, err, auth.CodeSessionRevoked)
		}, []string{"token_refused session_revoked"}},
		{"a token of nobody", func() {
			_, err := w.refresh("rubbish")
			wants(t, err, auth.CodeRefreshInvalid)
		}, []string{"token_refused refresh_token_invalid"}},
		{"a logout", func() {
			third = w.signIn(alice, "watch")
			told.take()
			wants(t, w.Logout(t.Context(), proof(third), auth.ScopeSession), "")
		},
			[]string{"session_ended logout"}},
		{"a second logout is no news", func() { wants(t, w.Logout(t.Context(), proof(third), auth.ScopeSession), "") }, nil},
		{"a session that nobody used", func() {
			third = w.signIn(alice, "watch")
			told.take()
			w.clock.pass(8 * 24 * time.Hour)
			wants(t, w.request(third), auth.CodeSessionExpired)
			wants(t, w.request(third), auth.CodeSessionExpired)
		}, []string{"session_ended idle"}},
	} {
		told.take()
		row.act()
		if got := told.take(); !slices.Equal(got, row.want) {
			t.Errorf("%s: told %q, want %q", row.name, got, row.want)
		}
	}
}

func TestEventsOfACode(t *testing.T) {
	w, told := newToldWorld(t, func(s *auth.Settings) {
		s.OTP.Attempts = 2
		s.Limits.PhoneFailures = []auth.Limit{{N: 2, Window: time.Hour}}
		s.Limits.PhoneSends = []auth.Limit{{N: 2, Window: time.Hour}}
	})
	id, code := w.start(alice)
	wrong := fmt.Sprintf("%06d", (len(code)+1)*7)
	for _, row := range []struct {
		name string
		act  func()
		want []string
	}{
		{"a wrong code", func() { _, err := w.verify(id, wrong, "d"); wants(t, err, auth.CodeOTPInvalid) }, []string{"code_wrong otp_invalid"}},
		{"the last try", func() { _, err := w.verify(id, wrong, "d"); wants(t, err, auth.CodeOTPAttemptsExhausted) }, []string{"code_wrong otp_attempts_exhausted"}},
		{"too many for the number", func() {
			id, code = w.start(alice)
			told.take()
			_, err := w.verify(id, code, "d")
			wants(t, err, auth.CodeTooManyFailures)
		}, []string{"verify_blocked phone_failures"}},
		{"too many messages", func() {
			_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice})
			wants(t, err, auth.CodeRateLimited)
		}, []string{"send_blocked phone_sends"}},
		{"a message that nobody takes", func() { w.outbox.failure = errNetwork; w.start(bob) }, []string{"code_undelivered", "code_requested"}},
		{"an account that is closed", func() {
			w.outbox.failure = nil
			w.Directory.(*auth.LocalDirectory).Registration = false
			id, code = w.start(bob)
			told.take()
			_, err := w.verify(id, code, "d")
			wants(t, err, auth.CodeAccountDisabled)
		}, []string{"sign_in_refused account_disabled"}},
	} {
		told.take()
		row.act()
		if got := told.take(); !slices.Equal(got, row.want) {
			t.Errorf("%s: told %q, want %q", row.name, got, row.want)
		}
	}
	subjects := map[string]bool{}
	for _, e := range told.events {
		text := fmt.Sprintf("%+v", e)
		if strings.Contains(text, alice) || strings.Contains(text, code) || e.At.IsZero() {
			t.Errorf("an event says too much, or not when: %s", text)
		}
		subjects[e.Subject] = true
	}
	if len(subjects) != 2 {
		t.Errorf("two numbers have the subjects %v", subjects)
	}
}

// The share of codes that are brought back is told by country.
func TestSignInTellsTheCountry(t *testing.T) {
	w, told := newToldWorld(t)
	p, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, Country: "SE"})
	wants(t, err, "")
	_, err = w.verify(p.ChallengeID, w.outbox.code(alice), "phone")
	wants(t, err, "")
	last := told.events[len(told.events)-1]
	if last.Name != auth.EventSessionStarted || last.Country != "SE" || last.Channel != "sms" {
		t.Errorf("got %+v", last)
	}
}

// Whoever subscribes to an event by name must find every one.
func TestEventNamesAreComplete(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared []auth.EventName
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "EventName" {
				return true
			}
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, auth.EventName(value))
			return true
		})
	}
	listed := slices.Sorted(slices.Values(auth.EventNames))
	if slices.Sort(declared); !slices.Equal(declared, listed) || len(listed) == 0 {
		t.Errorf("declared are %v, listed %v", declared, listed)
	}
}
