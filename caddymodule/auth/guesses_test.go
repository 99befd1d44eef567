package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// many is a limit of failures that no test meets.
func many(s *auth.Settings) { s.Limits.PhoneFailures = []auth.Limit{{N: 9999, Window: time.Hour}} }

// guess brings a wrong code for a fresh challenge of the number.
func (w *world) guess(phone string) error {
	w.t.Helper()
	id, _ := w.start(phone)
	_, err := w.verify(id, "wrong", "")
	return err
}

// NIST SP 800-63B, section 5.2.2: at most 100 failures in a row, over all
// challenges, and longer waits on the way there.
func TestWrongCodesInARowWaitLongerAndStop(t *testing.T) {
	w := newWorld(t, many)
	var waited []time.Duration
	for n := range 100 {
		err := w.guess(alice)
		if n < 15 {
			wants(t, err, auth.CodeOTPInvalid)
			continue
		}
		wants(t, err, auth.CodeTooManyFailures)
		wait := auth.AsError(err).RetryAfter
		waited = append(waited, wait)
		w.restart()
		w.clock.pass(wait - time.Millisecond)
		wants(t, w.guess(alice), auth.CodeTooManyFailures)
		w.clock.pass(time.Millisecond)
		wants(t, w.guess(alice), auth.CodeOTPInvalid)
		if t.Failed() {
			t.Fatalf("at failure %d", n+1)
		}
	}
	for i, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
		if waited[i] != want {
			t.Errorf("after %d wrong codes the wait is %v, want %v", 15+i, waited[i], want)
		}
	}
	compared := w.codes.Load()
	for range 50 {
		id, code := w.start(alice)
		compared++ // to send it
		_, err := w.verify(id, code, "")
		wants(t, err, auth.CodeTooManyFailures)
		w.clock.pass(7 * time.Hour)
	}
	if w.codes.Load() != compared {
		t.Error("a code was compared after 100 failures")
	}
	w.clock.pass(31 * 24 * time.Hour)
	w.signIn(alice, "phone")
}

func TestARightCodeEndsTheRow(t *testing.T) {
	w := newWorld(t, many)
	for range 14 {
		wants(t, w.guess(alice), auth.CodeOTPInvalid)
	}
	w.signIn(alice, "phone")
	for range 15 {
		wants(t, w.guess(alice), auth.CodeOTPInvalid)
	}
	wants(t, w.guess(alice), auth.CodeTooManyFailures)
	wants(t, w.guess(bob), auth.CodeOTPInvalid) // another number has a row of its own
}

// phone_failures' default is the one limit that a number meets within its
// window: 15 wrong codes are compared, and no waiting comes before.
func TestTheDefaultLimitComesBeforeTheWaits(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneFailures = []auth.Limit{{N: 15, Window: 24 * time.Hour}} })
	for range 15 {
		wants(t, w.guess(alice), auth.CodeOTPInvalid)
	}
	err := w.guess(alice)
	wants(t, err, auth.CodeTooManyFailures)
	if wait := auth.AsError(err).RetryAfter; wait < 23*time.Hour {
		t.Errorf("the 16th may come after %v, want a day", wait)
	}
}

// A refusal of another limit is no wrong code.
func TestARefusedTryIsNotInTheRow(t *testing.T) {
	w := newWorld(t, many, func(s *auth.Settings) { s.Limits.IPFailures = []auth.Limit{{N: 1, Window: 24 * time.Hour}} })
	for n := range 30 {
		id, _ := w.start(alice)
		_, err := w.Verify(t.Context(), auth.VerifyRequest{ChallengeID: id, Code: "wrong", ClientIP: "192.0.2.1"})
		if n > 0 {
			wants(t, err, auth.CodeTooManyFailures)
		}
	}
	wants(t, w.guess(alice), auth.CodeOTPInvalid)
}

// Attack: wrong codes, and codes asked for, to keep the number's owner out. A
// browser that has signed in on the number before is not.
func TestStrangersDoNotLockAKnownBrowserOut(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) {
		two := []auth.Limit{{N: 2, Window: 24 * time.Hour}}
		s.Limits = auth.Limits{PhoneSends: []auth.Limit{{N: 3, Window: 24 * time.Hour}}, PhoneFailures: two, IPSends: two, IPFailures: two, GlobalFailures: two, PrefixSends: []auth.Limit{{N: 3, Window: 24 * time.Hour}}}
	})
	proof := w.signIn(alice, "phone").DeviceProof
	const cafe = "192.0.2.1"
	for range 2 {
		p, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, ClientIP: cafe})
		wants(t, err, "")
		_, err = w.Verify(t.Context(), auth.VerifyRequest{ChallengeID: p.ChallengeID, Code: "wrong", ClientIP: cafe})
		wants(t, err, auth.CodeOTPInvalid)
	}
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, ClientIP: cafe})
	wants(t, err, auth.CodeRateLimited)

	for range 3 { // a budget of its own, which right codes do not use up
		p, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, ClientIP: cafe, DeviceProof: proof})
		wants(t, err, "")
		code := w.outbox.code(alice)
		_, err = w.Verify(t.Context(), auth.VerifyRequest{ChallengeID: p.ChallengeID, Code: code, ClientIP: cafe})
		wants(t, err, auth.CodeTooManyFailures) // without the proof
		_, err = w.Verify(t.Context(), auth.VerifyRequest{ChallengeID: p.ChallengeID, Code: code, ClientIP: cafe, DeviceProof: proof, Kind: auth.RefreshTicket})
		wants(t, err, "")
	}
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice, DeviceProof: proof})
	wants(t, err, auth.CodeRateLimited) // and which ends
}

// A known browser has no more wrong codes than a stranger.
func TestKnownBrowsersShareOneBudgetOfFailures(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneFailures = []auth.Limit{{N: 3, Window: 24 * time.Hour}} })
	first := w.signIn(alice, "one").DeviceProof
	w.clock.pass(24 * time.Hour)
	second := w.signIn(alice, "two").DeviceProof
	if first == second {
		t.Error("the day is not in the proof")
	}
	for n, want := range []auth.Code{auth.CodeOTPInvalid, auth.CodeOTPInvalid, auth.CodeOTPInvalid, auth.CodeTooManyFailures} {
		id, _ := w.start(alice)
		_, err := w.Verify(t.Context(), auth.VerifyRequest{ChallengeID: id, Code: "wrong", DeviceProof: []string{first, second}[n%2]})
		wants(t, err, want)
	}
	wants(t, w.guess(alice), auth.CodeOTPInvalid)
}

// After 100 wrong codes of strangers the owner's right one ends the stop.
func TestAKnownBrowserEndsTheStop(t *testing.T) {
	w := newWorld(t, many)
	proof := w.signIn(alice, "phone").DeviceProof
	for range 16 {
		_ = w.guess(alice)
	}
	wants(t, w.guess(alice), auth.CodeTooManyFailures)
	id, code := w.start(alice)
	_, err := w.Verify(t.Context(), auth.VerifyRequest{ChallengeID: id, Code: code, DeviceProof: proof, Kind: auth.RefreshTicket})
	wants(t, err, "")
	wants(t, w.guess(alice), auth.CodeOTPInvalid)
}

// Attack: a proof that somebody made, altered, or got on a number of their own.
func TestForgedDeviceProofs(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneSends = []auth.Limit{{N: 1, Window: 24 * time.Hour}} })
	good := w.signIn(alice, "phone").DeviceProof
	others := w.signIn(bob, "phone").DeviceProof
	day, mac, _ := strings.Cut(good, ".")
	for name, proof := range map[string]string{
		"none": "", "a dot": ".", "of another number": others, "another day": "99999." + mac, "no day": "." + mac, "no MAC": day + ".",
		"the day spelled otherwise": "0" + good, "a plus": "+" + good, "a letter more": good + "A", "long": day + "." + strings.Repeat("A", 9999),
	} {
		_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, DeviceProof: proof})
		if wants(t, err, auth.CodeRateLimited); t.Failed() {
			t.Fatal(name)
		}
	}
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, DeviceProof: good})
	wants(t, err, "")
	w.clock.pass(auth.DeviceProofLife)
	w.start(alice)
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice, DeviceProof: good})
	wants(t, err, auth.CodeRateLimited)
}

// Attack: one code tried on many numbers from many addresses.
func TestSprayingIsCountedInAll(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.GlobalFailures = []auth.Limit{{N: 1, Window: time.Hour}} })
	wants(t, w.guess(alice), auth.CodeOTPInvalid)
	wants(t, w.guess(bob), auth.CodeTooManyFailures)
	w.clock.pass(time.Hour)
	w.signIn(bob, "phone")
	wants(t, w.guess(bob), auth.CodeOTPInvalid)
}

// The fixed code of a review number is no secret, so it makes no browser known.
func TestReviewNumbersMakeNoBrowserKnown(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) {
		s.OTP.TestNumbers = []auth.TestNumber{{Phone: alice, Code: "424242", Until: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}}
	})
	p, err := w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, "")
	g, err := w.verify(p.ChallengeID, "424242", "")
	if wants(t, err, ""); g.DeviceProof != "" {
		t.Error("got a proof")
	}
}
