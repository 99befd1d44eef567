package auth_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/bits"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// work solves a puzzle as a client would.
func work(t testing.TB, p *auth.Puzzle) string {
	t.Helper()
	if p == nil {
		t.Fatal("no puzzle")
	}
	text := []byte(p.Challenge + ".")
	for n, start := int64(0), len(text); ; n++ {
		if text = strconv.AppendInt(text[:start], n, 36); leadingZeros(sha256.Sum256(text)) >= p.Bits {
			return string(text)
		}
	}
}

func leadingZeros(sum [32]byte) (n int) {
	for _, b := range sum {
		if n += bits.LeadingZeros8(b); b != 0 {
			break
		}
	}
	return n
}

func swedish(i int) string { return fmt.Sprintf("+4670%03d0000", i) } // each of a prefix of its own

// ask sends a code to a Swedish number.
func (w *world) ask(phone, proof string) (auth.Pending, error) {
	return w.Start(w.t.Context(), auth.StartRequest{Phone: phone, Country: "SE", Proof: proof})
}

// swede asks for a code and brings it back.
func (w *world) swede(phone string) {
	w.t.Helper()
	p, err := w.ask(phone, "")
	wants(w.t, err, "")
	_, err = w.verify(p.ChallengeID, w.outbox.code(phone), "phone")
	wants(w.t, err, "")
}

func countryLimit(n int) func(*auth.Settings) {
	return func(s *auth.Settings) { s.Limits.CountryUnverified = []auth.Limit{{N: n, Window: time.Hour}} }
}

// Attack: numbers that the attacker earns with. They get messages, and no code
// ever comes back.
func TestCodesThatAreNotBroughtBackNeedWorkAndThenStop(t *testing.T) {
	w := newWorld(t, countryLimit(2))
	member := swedish(999)
	w.signIn(member, "phone")
	for i := range 2 {
		_, err := w.ask(swedish(i), "")
		wants(t, err, "")
	}
	_, err := w.ask(swedish(100), "")
	wants(t, err, auth.CodeRateLimited)
	worked := map[string]string{} // while the puzzles are easy
	for _, phone := range []string{swedish(200), member} {
		_, err := w.ask(phone, "")
		worked[phone] = work(t, auth.AsError(err).Puzzle)
	}
	if _, err := w.Start(t.Context(), auth.StartRequest{Phone: "+4791234567", Country: "NO"}); err != nil {
		t.Errorf("another country: %v", err)
	}
	for i := range 2 {
		_, err := w.ask(swedish(100+i), "")
		wants(t, err, auth.CodeRateLimited)
		_, err = w.ask(swedish(100+i), work(t, auth.AsError(err).Puzzle))
		wants(t, err, "")
	}
	sent := len(w.outbox.sent)
	p, err := w.ask(swedish(200), worked[swedish(200)])
	if wants(t, err, ""); len(w.outbox.sent) != sent {
		t.Error("a message went out")
	}
	looksSent(t, w, p)

	_, err = w.ask(member, "") // the answers tell nobody who has signed in before
	wants(t, err, auth.CodeRateLimited)
	_, err = w.ask(member, worked[member])
	if wants(t, err, ""); len(w.outbox.sent) != sent+1 {
		t.Error("who has signed in before got no message")
	}
	w.clock.pass(75 * time.Minute)
	_, err = w.ask(swedish(201), "")
	wants(t, err, "")
}

// looksSent holds a suppressed challenge to what others can see of a sent one.
func looksSent(t *testing.T, w *world, p auth.Pending) {
	t.Helper()
	if p.ExpiresIn != 5*time.Minute || p.ResendAfter != time.Minute || p.CodeLength != 6 || p.Channel != "sms" {
		t.Errorf("got %+v", p)
	}
	status, err := w.Status(t.Context(), p.ChallengeID)
	if wants(t, err, ""); status.Status != auth.DeliveryQueued || status.AttemptsLeft != 5 {
		t.Errorf("at once: %+v", status)
	}
	w.clock.pass(2 * time.Second)
	if status, _ = w.Status(t.Context(), p.ChallengeID); status.Status != auth.DeliverySent {
		t.Errorf("later: %+v", status)
	}
	_, err = w.verify(p.ChallengeID, "wrong", "")
	wants(t, err, auth.CodeOTPInvalid)
}

// A country whose codes come back is never over, however many there are.
func TestCodesThatAreBroughtBackExplainOthers(t *testing.T) {
	w := newWorld(t, countryLimit(4))
	for i := range 30 {
		w.swede(swedish(i))
		_, err := w.ask(swedish(500+i), "") // every second one is not
		wants(t, err, "")
	}
	for i := range 4 {
		_, err := w.ask(swedish(600+i), "")
		wants(t, err, "")
	}
	_, err := w.ask(swedish(700), "")
	wants(t, err, auth.CodeRateLimited)
}

// What a place has brought back in its busiest hour of the day explains as
// much now; after a day it is forgotten.
func TestAPlaceIsHeldAgainstItsOwnHistory(t *testing.T) {
	for after, allowed := range map[time.Duration]int{2 * time.Hour: 4 + 10, 20 * time.Hour: 4 + 10, 27 * time.Hour: 4} {
		w := newWorld(t, countryLimit(4))
		for i := range 10 {
			w.swede(swedish(i))
		}
		w.clock.pass(after)
		for i := range allowed {
			if _, err := w.ask(swedish(100+i), ""); err != nil {
				t.Errorf("%v later: request %d of %d: %v", after, i+1, allowed, err)
			}
		}
		_, err := w.ask(swedish(900), "")
		wants(t, err, auth.CodeRateLimited)
	}
}

func TestMessagesThatFailedAreNotOut(t *testing.T) {
	w := newWorld(t, countryLimit(3))
	w.outbox.failure = errNetwork
	for i := range 20 {
		_, err := w.ask(swedish(i), "")
		wants(t, err, "")
	}
	w.outbox.failure = nil
	for i := range 3 {
		_, err := w.ask(swedish(i), "")
		wants(t, err, "")
	}
	_, err := w.ask(swedish(50), "")
	wants(t, err, auth.CodeRateLimited)
}

// A block of numbers is a place of its own, and a resend is a message.
func TestPrefixesHaveTheirOwnConversion(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) {
		s.Limits.PrefixUnverified = []auth.Limit{{N: 3, Window: 24 * time.Hour}}
		s.OTP.ResendAfter = 0
	})
	p, err := w.ask(alice, "")
	wants(t, err, "")
	for range 2 {
		_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice, ChallengeID: p.ChallengeID})
		wants(t, err, "")
	}
	_, err = w.ask(alice[:8]+"9999", "")
	wants(t, err, auth.CodeRateLimited)
	_, err = w.ask(bob[:5]+"1111111", "")
	wants(t, err, "")
	_, err = w.verify(p.ChallengeID, w.outbox.code(alice), "") // brings all three back
	wants(t, err, "")
	for range 3 + 3 {
		_, err = w.ask(alice[:8]+"9999", "")
		wants(t, err, "")
	}
	_, err = w.ask(alice[:8]+"9999", "")
	wants(t, err, auth.CodeRateLimited)
}

// Attack: a few messages to each of many countries.
func TestAnAttackOverManyCountriesMeetsSmallLimits(t *testing.T) {
	w := newWorld(t, countryLimit(48), func(s *auth.Settings) { s.Limits.GlobalUnverified = []auth.Limit{{N: 20, Window: time.Hour}} })
	refused := 0
	for i := range 40 {
		_, err := w.Start(t.Context(), auth.StartRequest{Phone: swedish(i), Country: string(rune('A'+i%10)) + "X"})
		if err != nil {
			wants(t, err, auth.CodeRateLimited)
			refused++
		}
	}
	if refused != 10 { // 20 before the alarm, and then up to 3 in each of the ten
		t.Errorf("%d of 40 refused, want 10", refused)
	}
}

// Attack: one solution for many messages, or for another number; old ones;
// ones of somebody else's making.
func TestSolutionsAreGoodOnceAndForOneNumber(t *testing.T) {
	w := newWorld(t, countryLimit(1))
	_, err := w.ask(bob, "")
	wants(t, err, "")
	_, err = w.ask(alice, "")
	puzzle := auth.AsError(err).Puzzle
	good := work(t, puzzle)
	for name, proof := range map[string]string{
		"for another number":  good,
		"none":                "",
		"the challenge alone": puzzle.Challenge,
		"dots":                "....",
		"too long":            good + strings.Repeat("0", 30),
		"an easier one":       "1" + good[2:],
	} {
		phone := alice
		if name == "for another number" {
			phone = bob
		}
		_, err := w.ask(phone, proof)
		if wants(t, err, auth.CodeRateLimited); t.Failed() {
			t.Fatal(name)
		}
	}
	_, err = w.ask(alice, good)
	wants(t, err, "")
	_, err = w.ask(alice, good)
	wants(t, err, auth.CodeRateLimited)
	w.restart()
	_, err = w.ask(alice, good)
	wants(t, err, auth.CodeRateLimited)
	late := work(t, auth.AsError(err).Puzzle)
	w.clock.pass(5 * time.Minute)
	_, err = w.ask(alice, late)
	wants(t, err, auth.CodeRateLimited)
}

// In the mode that records, nothing is stopped and all is told.
func TestRecordModeStopsNothing(t *testing.T) {
	w := newWorld(t, countryLimit(2), func(s *auth.Settings) {
		s.Limits.PhoneSends = []auth.Limit{{N: 1, Window: time.Hour}}
		s.Limits.PhoneFailures = []auth.Limit{{N: 1, Window: time.Hour}}
		s.Limits.GlobalSends = []auth.Limit{{N: 1, Window: time.Hour}}
		s.Limits.Record = true
	})
	var log bytes.Buffer
	w.Log = slog.New(slog.NewTextHandler(&log, nil))
	for range 6 {
		_, err := w.ask(alice, "")
		wants(t, err, "")
	}
	if len(w.outbox.sent) != 6 {
		t.Errorf("%d messages went out, want 6", len(w.outbox.sent))
	}
	for _, limit := range []string{"phone_sends", "global_sends", "country_unverified"} {
		if !strings.Contains(log.String(), "would have stopped a message\" limit="+limit) {
			t.Errorf("the log does not name %s", limit)
		}
	}
	wants(t, w.guess(alice), auth.CodeOTPInvalid)
	wants(t, w.guess(alice), auth.CodeTooManyFailures) // wrong codes are never only recorded
}
