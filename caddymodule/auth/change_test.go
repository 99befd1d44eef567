package auth_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// startChange sends a code to a number that is to become the owner's.
func (w *world) startChange(g auth.Grant, phone string) (id, code string) {
	w.t.Helper()
	p, err := w.StartPhoneChange(w.t.Context(), proof(g), auth.StartRequest{Phone: phone})
	if err != nil {
		w.t.Fatalf("sending a code to the new number: %v", err)
	}
	return p.ChallengeID, w.outbox.code(phone)
}

func (w *world) change(g auth.Grant, id, code string) error {
	_, _, err := w.ChangePhone(w.t.Context(), proof(g), auth.ChangeRequest{ChallengeID: id, Code: code, Locale: "fr"})
	return err
}

// changeTo is the whole of it.
func (w *world) changeTo(g auth.Grant, phone string) error {
	w.t.Helper()
	id, code := w.startChange(g, phone)
	return w.change(g, id, code)
}

func (w *world) phoneOf(g auth.Grant) string {
	w.t.Helper()
	u, err := w.User(w.t.Context(), proof(g))
	if err != nil {
		w.t.Fatal(err)
	}
	return u.Phone
}

// notices are the messages without a code.
func (o *outbox) notices() []auth.Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(o.sent), func(m auth.Message) bool { return m.Code != "" })
}

func TestANumberIsChanged(t *testing.T) {
	w := newWorld(t)
	g, other := w.signIn(alice, "phone"), w.signIn(alice, "tablet")
	id, code := w.startChange(g, carol)
	user, known, err := w.ChangePhone(t.Context(), proof(g), auth.ChangeRequest{ChallengeID: id, Code: code, Locale: "fr"})
	if wants(t, err, ""); user.ID != 1 || user.Phone != carol || w.phoneOf(g) != carol {
		t.Errorf("got %+v; the record says %s", user, w.phoneOf(g))
	}
	want := auth.Message{
		ID: id + ".notice", To: alice, Text: "changed", Channel: "sms", AppName: "Test", ExpiresAt: w.clock.Now().Add(4 * time.Hour), Language: "fr",
	}
	if got := w.outbox.notices(); len(got) != 1 || got[0] != want {
		t.Errorf("the old number got %+v", got)
	}
	wants(t, w.change(g, id, code), auth.CodeOTPExpired)

	// Everybody stays signed in, and the next sign-in is by the new number.
	wants(t, w.request(g), "")
	wants(t, w.request(other), "")
	if again := w.signIn(carol, "phone 2"); again.Identity.UserID != 1 || again.DeviceProof != known {
		t.Errorf("by the new number: %+v", again.Identity)
	}
	if stranger := w.signIn(alice, "phone 3"); stranger.Identity.UserID != 2 || !stranger.NewUser {
		t.Errorf("by the old number: %+v", stranger.Identity)
	}
	if w.phoneOf(g) != carol {
		t.Errorf("the number is %s", w.phoneOf(g))
	}
}

func TestAChangeEndsTheOthersOnRequest(t *testing.T) {
	w := newWorld(t)
	g, other := w.signIn(alice, "phone"), w.signIn(alice, "tablet")
	id, code := w.startChange(g, carol)
	_, _, err := w.ChangePhone(t.Context(), proof(g), auth.ChangeRequest{ChallengeID: id, Code: code, EndOthers: true})
	wants(t, err, "")
	w.restart()
	wants(t, w.request(g), "")
	wants(t, w.request(other), auth.CodeSessionRevoked)
	info, err := w.Session(t.Context(), proof(other), other.Identity.SessionID)
	if wants(t, err, ""); info.EndReason != auth.EndRevoked {
		t.Errorf("ended as %q", info.EndReason)
	}
}

// Attack: codes and challenges used for what they were not made for. All of them
// are unknown challenges, and spend nothing of the real ones.
func TestChallengesOfAnotherPurpose(t *testing.T) {
	w := newWorld(t)
	g, thief := w.signIn(alice, "phone"), w.signIn(bob, "phone")
	unknown := w.change(g, "AAAAAAAAAAAAAAAAAAAAAA", "123456")
	wants(t, unknown, auth.CodeOTPExpired)
	signIn, signInCode := w.start(carol)
	changing, changeCode := w.startChange(g, carol)
	for name, attack := range map[string]func() error{
		"a sign-in's code as proof of a new number": func() error { return w.change(g, signIn, signInCode) },
		"a new number's code as a sign-in":          func() error { _, err := w.verify(changing, changeCode, "x"); return err },
		"somebody else's new number":                func() error { return w.change(thief, changing, changeCode) },
	} {
		for range 9 { // more than it has tries
			if err := attack(); err == nil || err.Error() != unknown.Error() || auth.AsError(err).AttemptsLeft != -1 {
				t.Errorf("%s: got %v, want %v", name, err, unknown)
			}
		}
	}
	wants(t, w.change(g, changing, changeCode), "")
	if again, err := w.verify(signIn, signInCode, "x"); err != nil || again.Identity.UserID != 1 {
		t.Errorf("the sign-in: %+v, %v", again.Identity, err)
	}
}

// Attack: a challenge named in a request of another kind, to have its code sent
// once more or to make it one of that kind.
func TestResendsOfAnotherPurposeAreFreshChallenges(t *testing.T) {
	w := newWorld(t)
	g, thief := w.signIn(alice, "phone"), w.signIn(bob, "phone")
	signIn, _ := w.start(carol)
	changing, code := w.startChange(g, carol)
	w.clock.pass(time.Minute)
	again := func(id string) auth.StartRequest { return auth.StartRequest{Phone: carol, ChallengeID: id} }
	for name, start := range map[string]func() (auth.Pending, error){
		"a change as a sign-in":   func() (auth.Pending, error) { return w.Start(t.Context(), again(changing)) },
		"a sign-in as a change":   func() (auth.Pending, error) { return w.StartPhoneChange(t.Context(), proof(g), again(signIn)) },
		"a change of another one": func() (auth.Pending, error) { return w.StartPhoneChange(t.Context(), proof(thief), again(changing)) },
	} {
		p, err := start()
		if wants(t, err, ""); p.ChallengeID == changing || p.ChallengeID == signIn || w.outbox.code(carol) == code {
			t.Errorf("%s: the same challenge", name)
		}
	}
	p, err := w.StartPhoneChange(t.Context(), proof(g), again(changing))
	if wants(t, err, ""); p.ChallengeID != changing || w.outbox.code(carol) != code {
		t.Error("a resend is another challenge")
	}
}

// Attack: a session that was left open, or stolen, long after its code.
func TestAChangeNeedsAFreshSession(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	w.clock.pass(5 * time.Minute)
	id, code := w.startChange(g, carol) // to the minute
	w.clock.pass(time.Millisecond)
	_, err := w.StartPhoneChange(t.Context(), proof(g), auth.StartRequest{Phone: carol})
	wants(t, err, auth.CodeReauthRequired)
	wants(t, w.change(g, id, code), auth.CodeReauthRequired)
	wants(t, w.PhoneChangeable(t.Context(), proof(g)), auth.CodeReauthRequired)
	if w.phoneOf(g) != alice {
		t.Error("the number has changed")
	}
	g = w.signIn(alice, "phone")
	wants(t, w.PhoneChangeable(t.Context(), proof(g)), "")
	wants(t, w.change(g, id, code), "") // the same code: it is the user's, not the session's

	w.clock.pass(-time.Hour) // how old the code is, nobody knows
	wants(t, w.PhoneChangeable(t.Context(), proof(g)), auth.CodeReauthRequired)
}

func TestWhoCannotChangeTheNumber(t *testing.T) {
	w := newWorld(t, withReviewer)
	ended := w.signIn(alice, "phone")
	wants(t, w.Logout(t.Context(), proof(ended), auth.ScopeSession), "")
	wants(t, w.PhoneChangeable(t.Context(), proof(ended)), auth.CodeSessionRevoked)
	_, err := w.StartPhoneChange(t.Context(), proof(ended), auth.StartRequest{Phone: carol})
	wants(t, err, auth.CodeSessionRevoked)
	wants(t, w.change(ended, "AAAAAAAAAAAAAAAAAAAAAA", "123456"), auth.CodeSessionRevoked)

	// Attack: the account of a number whose code everybody knows is taken away, or
	// an account is made one that everybody gets into.
	id, _ := w.start(reviewer)
	review, err := w.verify(id, "424242", "phone")
	wants(t, err, "")
	wants(t, w.PhoneChangeable(t.Context(), proof(review)), auth.CodeNotFound)
	g := w.signIn(alice, "phone")
	_, err = w.StartPhoneChange(t.Context(), proof(g), auth.StartRequest{Phone: reviewer})
	wants(t, err, auth.CodePhoneNotSupported)
	id, _ = w.startChange(g, carol)
	w.Settings.OTP.TestNumbers[0].Phone = carol // since the code was sent
	wants(t, w.change(g, id, "424242"), auth.CodePhoneNotSupported)

	// The app's own table says who a number is.
	w.Directory = directoryFunc(func() auth.Account { return auth.Account{UserID: 7, Type: "staff"} })
	g = w.signIn(bob, "phone")
	wants(t, w.PhoneChangeable(t.Context(), proof(g)), auth.CodeNotFound)
	_, err = w.StartPhoneChange(t.Context(), proof(g), auth.StartRequest{Phone: alice})
	wants(t, err, auth.CodeNotFound)
	wants(t, w.change(g, id, "123456"), auth.CodeNotFound)
}

// Whose the new number is, is told after a right code alone, which is used up.
func TestATakenNumber(t *testing.T) {
	w := newWorld(t)
	g, owner := w.signIn(alice, "phone"), w.signIn(bob, "phone")
	id, code := w.startChange(g, bob)
	wants(t, w.change(g, id, "wrong"), auth.CodeOTPInvalid)
	wants(t, w.change(g, id, code), auth.CodeAccountDisabled)
	wants(t, w.change(g, id, code), auth.CodeOTPExpired)
	if w.phoneOf(g) != alice || w.phoneOf(owner) != bob || len(w.outbox.notices()) != 0 {
		t.Error("something has changed")
	}
	if w.signIn(bob, "phone").Identity.UserID != 2 || w.signIn(alice, "phone").Identity.UserID != 1 {
		t.Error("somebody gets in elsewhere")
	}
}

// One's own number is no news to anybody.
func TestAChangeToTheSameNumber(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	for range 5 {
		wants(t, w.changeTo(g, alice), "")
	}
	if w.phoneOf(g) != alice || len(w.outbox.notices()) != 0 || w.signIn(alice, "x").Identity.UserID != 1 {
		t.Error("something has changed")
	}
}

// Attack: messages to old numbers without end, at the operator's cost. What
// changes nothing is not counted.
func TestChangesOfAUserAreLimited(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneFailures = []auth.Limit{{N: 1, Window: time.Hour}} })
	g := w.signIn(alice, "phone")
	w.signIn(bob, "phone")
	ahead, aheadCode := w.startChange(g, norwegian(9))
	for i := range 3 {
		wants(t, w.changeTo(g, bob), auth.CodeAccountDisabled)
		wants(t, w.changeTo(g, norwegian(i)), "")
	}
	_, err := w.StartPhoneChange(t.Context(), proof(g), auth.StartRequest{Phone: norwegian(3)})
	wants(t, err, auth.CodeRateLimited)
	if e := auth.AsError(err); e.RetryAfter != 24*time.Hour || !strings.Contains(e.Detail, "too often") {
		t.Errorf("got %+v", e)
	}
	wants(t, w.change(g, ahead, aheadCode), auth.CodeRateLimited)
	if len(w.outbox.notices()) != 3 {
		t.Errorf("%d notices", len(w.outbox.notices()))
	}
	w.clock.pass(24 * time.Hour)
	wants(t, w.changeTo(w.signIn(norwegian(2), "phone"), norwegian(4)), "")
}

// Attack: the limit raced. It holds at the moment of the change, too.
func TestParallelChangesKeepTheLimit(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	ids, codes := make([]string, 8), make([]string, 8)
	for i := range ids {
		ids[i], codes[i] = w.startChange(g, norwegian(i))
	}
	var changed atomic.Int32
	inParallel(8, func(i int) {
		if w.change(g, ids[i], codes[i]) == nil {
			changed.Add(1)
		}
	})
	if n := changed.Load(); n != 3 || len(w.outbox.notices()) != 3 {
		t.Errorf("%d changes, %d notices; want 3", n, len(w.outbox.notices()))
	}
}

// Attack: a new number's code guessed. Tries and failures count as for a
// sign-in, and together with it.
func TestGuessesAtANewNumber(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneFailures = []auth.Limit{{N: 7, Window: 24 * time.Hour}} })
	g := w.signIn(alice, "phone")
	id, code := w.startChange(g, carol)
	before := w.codes.Load()
	inParallel(50, func(int) { _ = w.change(g, id, "wrong") })
	if got := w.codes.Load() - before; got > 5 {
		t.Errorf("%d comparisons, want at most 5", got)
	}
	wants(t, w.change(g, id, code), auth.CodeOTPAttemptsExhausted)
	id, code = w.startChange(g, carol)
	for range 2 {
		wants(t, w.change(g, id, "wrong"), auth.CodeOTPInvalid)
	}
	wants(t, w.change(g, id, code), auth.CodeTooManyFailures)
	id, code = w.start(carol)
	_, err := w.verify(id, code, "phone")
	wants(t, err, auth.CodeTooManyFailures)
}

func TestParallelRightCodesChangeOnce(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	id, code := w.startChange(g, carol)
	var changed atomic.Int32
	inParallel(20, func(int) {
		if w.change(g, id, code) == nil {
			changed.Add(1)
		}
	})
	if n := changed.Load(); n != 1 || len(w.outbox.notices()) != 1 {
		t.Errorf("%d changes and %d notices, want 1", n, len(w.outbox.notices()))
	}
}

// A new number's code that comes back is one of its country.
func TestAChangeBringsACodeBack(t *testing.T) {
	w := newWorld(t, countryLimit(1))
	for range 3 {
		g := w.signIn(alice, "phone")
		p, err := w.StartPhoneChange(t.Context(), proof(g), auth.StartRequest{Phone: alice, Country: "SE"})
		wants(t, err, "")
		wants(t, w.change(g, p.ChallengeID, w.outbox.code(alice)), "")
	}
}

// A request for a new number is one for a code to it, in every limit.
func TestANewNumberHasTheLimitsOfASignIn(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneSends = []auth.Limit{{N: 2, Window: time.Hour}} })
	g := w.signIn(alice, "phone")
	w.start(carol)
	w.startChange(g, carol)
	for range 2 {
		_, err := w.StartPhoneChange(t.Context(), proof(g), auth.StartRequest{Phone: carol, DeviceProof: g.DeviceProof})
		wants(t, err, auth.CodeRateLimited)
	}
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: carol})
	wants(t, err, auth.CodeRateLimited)
}

// What makes a browser known, and a number a customer's, goes with the number.
func TestAFormerNumberIsAStrangers(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) {
		s.Limits = auth.Limits{PhoneSends: []auth.Limit{{N: 3, Window: 24 * time.Hour}}, GlobalSends: hourly(600), Reserve: 99}
	})
	g := w.signIn(alice, "phone")
	id, code := w.startChange(g, carol)
	_, known, err := w.ChangePhone(t.Context(), proof(g), auth.ChangeRequest{ChallengeID: id, Code: code})
	wants(t, err, "")
	for i := range 20 { // more than strangers may use of the budget
		w.start(norwegian(i))
	}
	for phone, want := range map[string]int{alice: 0, carol: 1} {
		sent := len(w.outbox.sent)
		if w.start(phone); len(w.outbox.sent)-sent != want {
			t.Errorf("%s: %d messages, want %d", phone, len(w.outbox.sent)-sent, want)
		}
	}
	w.start(carol)
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: carol, DeviceProof: g.DeviceProof})
	wants(t, err, auth.CodeRateLimited)
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: carol, DeviceProof: known})
	wants(t, err, "")
}

// A change is done whole or not at all: after any fault of ours the same code
// ends it, and the old number is told.
func TestAChangeSurvivesTrouble(t *testing.T) {
	var id, code string
	again := func(w *troubled, ctx context.Context, g auth.Grant) error {
		_, _, err := w.ChangePhone(ctx, proof(g), auth.ChangeRequest{ChallengeID: id, Code: code, EndOthers: true})
		return err
	}
	atEveryCall(t, func(w *troubled, ctx context.Context, g auth.Grant, _, _ string) error {
		w.paused(func() {
			w.signIn(alice, "tablet")
			id, code = w.startChange(g, carol)
		})
		return again(w, ctx, g)
	}, func(w *troubled, g auth.Grant, _, _ string, err error) {
		if err != nil {
			wants(w.t, err, auth.CodeStoreUnavailable)
			if err = again(w, w.t.Context(), g); err != nil {
				w.t.Fatalf("the same code again: %v", err)
			}
		}
		wants(w.t, again(w, w.t.Context(), g), auth.CodeOTPExpired)
		if n := liveSessions(w.world, g); n != 1 || w.phoneOf(g) != carol {
			w.t.Errorf("%d sessions, number %s", n, w.phoneOf(g))
		}
		if n := len(w.outbox.notices()); n != 1 {
			w.t.Errorf("%d notices", n)
		}
		w.clock.pass(time.Hour) // for new codes
		if w.signIn(carol, "x").Identity.UserID != 1 || w.signIn(alice, "x").Identity.UserID != 2 {
			w.t.Error("a number leads to the wrong account")
		}
	})
}

// A process that dies at any call leaves an account with one number, that of
// before or the new one, and the other one is a stranger's.
func TestAChangeSurvivesACrash(t *testing.T) {
	for n := range 100 {
		w := newWorld(t)
		g := w.signIn(alice, "phone")
		id, code := w.startChange(g, carol)
		w.store.failAfter(n)
		err := w.change(g, id, code)
		died := w.store.repair()
		w.restart()
		number := w.phoneOf(g)
		if err == nil && number != carol || number != alice && number != carol {
			t.Fatalf("crash at call %d: %v, number %s", n, err, number)
		}
		strangers := map[string]string{alice: carol, carol: alice}[number]
		if w.signIn(strangers, "x").Identity.UserID != 2 || w.signIn(number, "x").Identity.UserID != 1 || w.phoneOf(g) != number {
			t.Fatalf("crash at call %d: a number leads to the wrong account", n)
		}
		wants(t, w.changeTo(w.signIn(number, "x"), bob), "")
		if !died {
			return
		}
	}
	t.Error("never without a crash")
}

// Somebody signs in on the old number, or on the new one, while the change is at
// any of its calls, and the other way round.
func TestSignInsDuringAChange(t *testing.T) {
	for _, phone := range []string{alice, carol} {
		for _, changeFirst := range []bool{true, false} {
			for n := 0; ; n++ {
				w := newWorld(t)
				g := w.signIn(alice, "phone")
				store := &troubledStore{Store: w.store}
				w.Service.Store, w.Directory.(*auth.LocalDirectory).Store = store, store
				changing, changeCode := w.startChange(g, carol)
				id, code := w.start(phone)
				var entered auth.Grant
				var changed, refused error
				change := func() error { changed = w.change(g, changing, changeCode); return nil }
				signIn := func() error { entered, refused = w.verify(id, code, "x"); return nil }
				if changeFirst {
					store.arm(n, trouble{first: signIn})
					_ = change()
				} else {
					store.arm(n, trouble{first: change})
					_ = signIn()
				}
				if !store.over() {
					break
				}
				if refused != nil { // the number has moved in the meantime
					wants(t, refused, auth.CodeStoreUnavailable)
					_ = signIn()
					wants(t, refused, "")
				}
				mine, others := carol, alice
				if changed != nil { // the new number has become the stranger's
					wants(t, changed, auth.CodeAccountDisabled)
					mine, others = alice, carol
				}
				if w.phoneOf(g) != mine || w.signIn(mine, "y").Identity.UserID != 1 || w.signIn(others, "y").Identity.UserID == 1 {
					t.Errorf("%s is the number, want %s; or one leads to the wrong account", w.phoneOf(g), mine)
				}
				if own := entered.Identity.UserID == 1; !own && phone == mine || own && w.phoneOf(entered) != mine {
					t.Errorf("%s signed in as %d", phone, entered.Identity.UserID)
				}
				if t.Failed() {
					t.Fatalf("sign-in on %s, change first: %v, the other at call %d", phone, changeFirst, n)
				}
			}
		}
	}
}

// A message that cannot be sent keeps nobody from leaving a number.
func TestAChangeHoldsWithoutTheNotice(t *testing.T) {
	for _, outbox := range []*outbox{{codes: map[string]string{}, refuse: errNetwork}, {codes: map[string]string{}, failure: errNetwork}} {
		w := newWorld(t)
		g := w.signIn(alice, "phone")
		id, code := w.startChange(g, carol)
		w.Outbox = outbox
		wants(t, w.change(g, id, code), "")
		if w.phoneOf(g) != carol {
			t.Errorf("the number is %s", w.phoneOf(g))
		}
	}
}
