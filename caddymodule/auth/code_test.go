package auth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestRightCodeSignsInOnce(t *testing.T) {
	w := newWorld(t)
	id, code := w.start(alice)
	g, err := w.verify(id, code, "phone")
	if err != nil {
		t.Fatal(err)
	}
	if g.Identity.UserID != 1 || g.Identity.RolesText != "customer" || g.Identity.DeviceID != "phone" || g.Generation != 1 || !g.NewUser {
		t.Errorf("got %+v", g)
	}
	if g.AccessTTL != 15*time.Minute {
		t.Errorf("access token lives %v, want 15m", g.AccessTTL)
	}
	_, err = w.verify(id, code, "phone")
	wants(t, err, auth.CodeOTPExpired)
	wants(t, w.request(g), "")
	if again := w.signIn(alice, "phone"); again.NewUser || again.Identity.UserID != 1 {
		t.Errorf("second sign-in: got %+v", again)
	}
}

func TestWrongCodesUseUpTheChallenge(t *testing.T) {
	w := newWorld(t)
	id, code := w.start(alice)
	for left := 4; left >= 1; left-- {
		_, err := w.verify(id, "000000x", "")
		wants(t, err, auth.CodeOTPInvalid)
		if got := auth.AsError(err).AttemptsLeft; got != left {
			t.Errorf("got %d attempts left, want %d", got, left)
		}
	}
	_, err := w.verify(id, "000000x", "")
	wants(t, err, auth.CodeOTPAttemptsExhausted)
	_, err = w.verify(id, code, "")
	wants(t, err, auth.CodeOTPAttemptsExhausted)
	if got := auth.AsError(err).AttemptsLeft; got != 0 {
		t.Errorf("got %d attempts left, want none", got)
	}
}

// Attack: many requests at once, hoping that the count of tries is read before
// it is written.
func TestParallelGuessesGetNoMoreComparisonsThanAttempts(t *testing.T) {
	w := newWorld(t)
	id, _ := w.start(alice)
	before := w.codes.Load()
	inParallel(50, func(int) { _, _ = w.verify(id, "wrong", "") })
	if got := w.codes.Load() - before; got > 5 {
		t.Errorf("%d comparisons, want at most 5", got)
	}
}

func TestParallelRightCodesGiveOneSession(t *testing.T) {
	w := newWorld(t)
	id, code := w.start(alice)
	var mu sync.Mutex
	var grants []auth.Grant
	inParallel(50, func(i int) {
		if g, err := w.verify(id, code, fmt.Sprint("device", i)); err == nil {
			mu.Lock()
			grants = append(grants, g)
			mu.Unlock()
		}
	})
	if len(grants) != 1 {
		t.Fatalf("%d sign-ins, want 1", len(grants))
	}
	if !grants[0].NewUser {
		t.Error("nobody heard that the user is new")
	}
	sessions, err := w.Sessions(t.Context(), proof(grants[0]))
	if err != nil || len(sessions) != 1 {
		t.Errorf("%d sessions (%v), want 1", len(sessions), err)
	}
}

func inParallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func TestChallengeEndsAtItsInstant(t *testing.T) {
	w := newWorld(t)
	id, code := w.start(alice)
	w.clock.pass(5*time.Minute - time.Millisecond)
	if _, err := w.verify(id, "wrong", ""); auth.AsError(err).Code != auth.CodeOTPInvalid {
		t.Errorf("a millisecond before the end: %v", err)
	}
	w.clock.pass(time.Millisecond)
	_, err := w.verify(id, code, "")
	wants(t, err, auth.CodeOTPExpired)
	_, err = w.Status(t.Context(), id)
	wants(t, err, auth.CodeNotFound)
}

// Attack: a code that was sent to one phone is tried on another's challenge.
func TestCodeIsBoundToItsChallenge(t *testing.T) {
	w := newWorld(t)
	_, codeA := w.start(alice)
	idB, codeB := w.start(bob)
	if codeA == codeB {
		t.Skip("the two codes happen to be equal")
	}
	_, err := w.verify(idB, codeA, "")
	wants(t, err, auth.CodeOTPInvalid)
	for _, id := range []string{"", "nothing", "../../user/1", "AAAAAAAAAAAAAAAAAAAAAA"} {
		_, err = w.verify(id, codeA, "")
		wants(t, err, auth.CodeOTPExpired)
	}
}

func TestResendIsTheSameCode(t *testing.T) {
	w := newWorld(t)
	id, code := w.start(alice)
	again := auth.StartRequest{Phone: alice, ChallengeID: id}
	_, err := w.Start(t.Context(), again)
	wants(t, err, auth.CodeRateLimited)
	if got := auth.AsError(err).RetryAfter; got != time.Minute {
		t.Errorf("retry after %v, want 1m", got)
	}
	w.clock.pass(time.Minute)
	p, err := w.Start(t.Context(), again)
	wants(t, err, "")
	if p.ChallengeID != id || w.outbox.code(alice) != code || p.ExpiresIn != 4*time.Minute {
		t.Errorf("got %+v and code %s", p, w.outbox.code(alice))
	}
	if a, b := w.outbox.sent[0].ID, w.outbox.sent[1].ID; a == b {
		t.Error("a resend is another message and needs another id")
	}
	status, err := w.Status(t.Context(), id)
	wants(t, err, "")
	if status.Status != auth.DeliverySent || status.AttemptsLeft != 5 || status.ResendAfter != time.Minute {
		t.Errorf("got %+v", status)
	}
}

// Attack: a stranger names another's challenge to have its code sent to
// themselves, or to learn whose it is.
func TestResendToAnotherNumberIsAFreshChallenge(t *testing.T) {
	w := newWorld(t)
	id, code := w.start(alice)
	w.clock.pass(time.Minute)
	p, err := w.Start(t.Context(), auth.StartRequest{Phone: bob, ChallengeID: id})
	wants(t, err, "")
	if p.ChallengeID == id || w.outbox.code(bob) == code {
		t.Error("bob got alice's challenge")
	}
}

// Attack: a resend as a way to fresh guesses.
func TestResendRenewsNoTries(t *testing.T) {
	w := newWorld(t)
	id, _ := w.start(alice)
	for range 4 {
		_, _ = w.verify(id, "wrong", "")
	}
	w.clock.pass(time.Minute)
	if _, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, ChallengeID: id}); err != nil {
		t.Fatal(err)
	}
	_, err := w.verify(id, "wrong", "")
	wants(t, err, auth.CodeOTPAttemptsExhausted)
}

func TestOnlySMS(t *testing.T) {
	_, err := newWorld(t).Start(t.Context(), auth.StartRequest{Phone: alice, Channel: "pigeon"})
	wants(t, err, auth.CodeInvalidRequest)
}

// Without a channel, a resend goes where the message before it went.
func TestResendByAnotherChannel(t *testing.T) {
	w := newWorld(t)
	w.Reaches = func(phone, channel string) bool { return phone == alice && channel != "whatsapp" }
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: bob})
	wants(t, err, auth.CodeInvalidRequest)
	id, code := w.start(alice)
	for i, row := range []struct{ asked, want string }{{"voice", "voice"}, {"", "voice"}, {"sms", "sms"}} {
		w.clock.pass(time.Minute)
		p, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, Channel: row.asked, ChallengeID: id})
		wants(t, err, "")
		if got := w.outbox.sent[i+1]; p.ChallengeID != id || p.Channel != row.want || got.Channel != row.want || got.Code != code {
			t.Errorf("asked for %q: %+v, sent %+v", row.asked, p, got)
		}
	}
}

func TestDeliveryFailureGivesTheSendBack(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneSends = []auth.Limit{{N: 1, Window: time.Hour}} })
	w.outbox.refuse = errNetwork
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, auth.CodeDeliveryUnavailable)
	w.outbox.refuse, w.outbox.failure = nil, errNetwork
	p, err := w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, "")
	status, err := w.Status(t.Context(), p.ChallengeID)
	if err != nil || status.Status != auth.DeliveryFailed {
		t.Errorf("got %+v, %v", status, err)
	}
	w.outbox.failure = nil
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, "")
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, auth.CodeRateLimited)
}

func TestTestNumberGetsNoMessage(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) {
		s.OTP.TestNumbers = []auth.TestNumber{{Phone: "+15555550100", Code: "424242", Until: time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC)}}
		s.Limits.PhoneSends = []auth.Limit{{N: 1, Window: time.Hour}}
	})
	for range 3 {
		p, err := w.Start(t.Context(), auth.StartRequest{Phone: "+15555550100"})
		wants(t, err, "")
		_, err = w.verify(p.ChallengeID, "424242", "")
		wants(t, err, "")
	}
	if len(w.outbox.sent) != 0 {
		t.Error("a message went out")
	}
	w.clock.pass(200 * 24 * time.Hour)
	p, err := w.Start(t.Context(), auth.StartRequest{Phone: "+15555550100"})
	wants(t, err, "")
	_, err = w.verify(p.ChallengeID, "424242", "")
	if err == nil {
		t.Error("an expired test number signs in with its fixed code")
	}
}

// Everybody may know a test number, and nothing is paid for its challenges: who
// asks for one after the other must not fill the store with them.
func TestTestNumbersDoNotFillTheStore(t *testing.T) {
	const number, other = "+15555550100", "+15555550101"
	until := time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC)
	w := newWorld(t, func(s *auth.Settings) {
		s.OTP.TestNumbers = []auth.TestNumber{{Phone: number, Code: "424242", Until: until}, {Phone: other, Code: "424242", Until: until}}
		s.Limits.PhoneSends = []auth.Limit{{N: 5, Window: time.Hour}}
		s.Limits.IPSends = []auth.Limit{{N: 10, Window: time.Hour}}
	})
	ask := func(phone, ip string) error {
		_, err := w.Start(t.Context(), auth.StartRequest{Phone: phone, ClientIP: ip})
		return err
	}
	// flood asks until it is refused.
	flood := func(ip string) (taken int) {
		for ; taken < 2000; taken++ {
			if err := ask(number, ip); err != nil {
				wants(t, err, auth.CodeRateLimited)
				break
			}
		}
		return taken
	}
	if taken := flood("192.0.2.1"); taken != 300 {
		t.Errorf("one address gets %d challenges", taken)
	}
	wants(t, ask(number, "192.0.2.2"), "") // the reviewer's
	wants(t, ask(other, "192.0.2.1"), "")
	all := 301
	for i := range 9 {
		all += flood(fmt.Sprintf("198.51.100.%d", i))
	}
	if all != 1000 {
		t.Errorf("many addresses get %d challenges", all)
	}
	w.clock.pass(10 * time.Minute)
	wants(t, ask(number, "192.0.2.1"), "")
	w.Settings.Limits.PhoneSends = nil
	w.Settings.Limits.IPSends = nil
	for range 1001 { // as for any other number without limits
		wants(t, ask(number, "192.0.2.1"), "")
	}
}

type brokenDirectory struct{ err error }

func (d *brokenDirectory) Resolve(_ context.Context, _, _ string) (auth.Account, error) {
	return auth.Account{UserID: 7, Type: "staff", Roles: []string{"a", "b"}}, d.err
}

func TestDirectoryFaultKeepsTheCodeGood(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneFailures = []auth.Limit{{N: 1, Window: time.Hour}} })
	directory := &brokenDirectory{errNetwork}
	w.Directory = directory
	id, code := w.start(alice)
	for range 7 {
		if _, err := w.verify(id, code, ""); !errors.Is(err, errNetwork) {
			t.Fatalf("got %v", err)
		}
	}
	directory.err = nil
	g, err := w.verify(id, code, "")
	wants(t, err, "")
	if g.Identity.RolesText != "a,b" || g.Identity.UserID != 7 {
		t.Errorf("got %+v", g.Identity)
	}
}

// Attack: a role that reads as two behind the gate, and an id that JavaScript
// rounds to somebody else's.
func TestUnusableAccountIsAFault(t *testing.T) {
	for name, test := range map[string]struct {
		account auth.Account
		good    bool
	}{
		"as it should be":       {auth.Account{UserID: 1<<53 - 1, Type: "staff", Roles: []string{"a:b", "c-d"}}, true},
		"type and roles unsaid": {auth.Account{UserID: 1}, true},
		"no id":                 {auth.Account{Type: "staff"}, false},
		"an id beyond 2^53":     {auth.Account{UserID: 1 << 53, Type: "staff"}, false},
		"two roles in one":      {auth.Account{UserID: 1, Type: "staff", Roles: []string{"guest,admin"}}, false},
		"an empty role":         {auth.Account{UserID: 1, Type: "staff", Roles: []string{""}}, false},
		"a line break":          {auth.Account{UserID: 1, Type: "a\r\nb"}, false},
		"roles without a type":  {auth.Account{UserID: 1, Roles: []string{"admin"}}, false},
	} {
		w := newWorld(t)
		w.Directory = directoryFunc(func() auth.Account { return test.account })
		id, code := w.start(alice)
		want := auth.CodeStoreUnavailable
		if test.good {
			want = ""
		}
		for range 2 { // the code stays good
			_, err := w.verify(id, code, "")
			if wants(t, err, want); t.Failed() || test.good {
				t.Log(name)
				break
			}
		}
	}
}

type directoryFunc func() auth.Account

func (f directoryFunc) Resolve(context.Context, string, string) (auth.Account, error) {
	return f(), nil
}

func TestDisabledAccountIsToldOnlyAfterARightCode(t *testing.T) {
	w := newWorld(t)
	w.Directory.(*auth.LocalDirectory).Registration = false
	id, code := w.start(alice)
	_, err := w.verify(id, "wrong", "")
	wants(t, err, auth.CodeOTPInvalid)
	_, err = w.verify(id, code, "")
	wants(t, err, auth.CodeAccountDisabled)
	_, err = w.verify(id, code, "")
	wants(t, err, auth.CodeOTPExpired)
}

func TestParallelFirstSignInsMakeOneUser(t *testing.T) {
	w := newWorld(t)
	w.Directory.(*auth.LocalDirectory).FirstID = 100
	var mu sync.Mutex
	ids := map[uint64]bool{}
	inParallel(20, func(int) {
		a, err := w.Directory.Resolve(t.Context(), alice, "")
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		ids[a.UserID] = true
	})
	if len(ids) != 1 {
		t.Errorf("got users %v, want one", ids)
	}
	for id := range ids {
		if id < 100 {
			t.Errorf("got id %d, want at least first_id", id)
		}
	}
}

// A code that is on its way when otp.length changes stays the code, also when
// it is sent again.
func TestCodeKeepsItsLength(t *testing.T) {
	w := newWorld(t)
	id, code := w.start(alice)
	w.Settings.OTP.Length = 8
	w.clock.pass(time.Minute)
	again, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, ChallengeID: id})
	if err != nil || again.ChallengeID != id || again.CodeLength != len(code) {
		t.Errorf("resend: got %+v, %v", again, err)
	}
	if resent := w.outbox.code(alice); resent != code {
		t.Errorf("resent as %s, was %s", resent, code)
	}
	if _, err := w.verify(id, code, ""); err != nil {
		t.Errorf("verifying: %v", err)
	}
	if _, code = w.start(alice); len(code) != 8 {
		t.Errorf("a new code has %d digits", len(code))
	}
}
