package auth_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

var errDenied = fmt.Errorf("hook: %w", auth.ErrDenied)

// denials is a world whose risk hook denies what has no verdict yet. Verdicts
// come when the test gives them, as they do in truth: after the answer.
func denials(t *testing.T, change ...func(*auth.Settings)) (w *world, verdicts *[]func(error)) {
	w, verdicts = newWorld(t, change...), new([]func(error))
	w.Outbox = outboxFunc(func(m auth.Message, done func(error)) error {
		w.outbox.codes[m.To], w.outbox.sent = m.Code, append(w.outbox.sent, m)
		*verdicts = append(*verdicts, done)
		return nil
	})
	return w, verdicts
}

// Attack: numbers that the hook denies, to learn that it does, and to have the
// send back for another try.
func TestDeniedCodesLookSentAndStayCounted(t *testing.T) {
	one := []auth.Limit{{N: 1, Window: time.Hour}}
	for name, limit := range map[string]func(*auth.Limits){
		"number":      func(l *auth.Limits) { l.PhoneSends = one },
		"address":     func(l *auth.Limits) { l.IPSends = one },
		"block":       func(l *auth.Limits) { l.PrefixSends = one },
		"country":     func(l *auth.Limits) { l.CountrySends = one },
		"all":         func(l *auth.Limits) { l.GlobalSends = one },
		"codes out":   func(l *auth.Limits) { l.CountryUnverified = one },
		"codes block": func(l *auth.Limits) { l.PrefixUnverified = one },
	} {
		w, verdicts := denials(t, func(s *auth.Settings) { limit(&s.Limits) })
		var log strings.Builder
		w.Log = slog.New(slog.NewTextHandler(&log, nil))
		request := auth.StartRequest{Phone: alice, Country: "SE", ClientIP: "192.0.2.1"}
		p, err := w.Start(t.Context(), request)
		wants(t, err, "")
		(*verdicts)[0](errDenied)
		looksSent(t, w, p)
		if _, err = w.Start(t.Context(), request); err == nil {
			t.Errorf("%s: a denied send was given back", name)
		}
		if text := log.String(); strings.Count(text, "denied") != 1 || strings.Contains(text, alice[1:]) || strings.Contains(text, "ERROR") {
			t.Errorf("%s: the log says %q", name, text)
		}
	}
}

// Attack: watching the status, to tell a denied code by how soon after the
// hook's verdict it seems sent.
func TestDeniedCodesSeemUnderWayAfterTheVerdict(t *testing.T) {
	w, verdicts := denials(t)
	p, err := w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, "")
	w.clock.pass(5 * time.Second)
	(*verdicts)[0](errDenied)
	if status, _ := w.Status(t.Context(), p.ChallengeID); status.Status != auth.DeliveryQueued {
		t.Errorf("at the verdict: %+v", status)
	}
	w.clock.pass(2 * time.Second)
	if status, _ := w.Status(t.Context(), p.ChallengeID); status.Status != auth.DeliverySent {
		t.Errorf("later: %+v", status)
	}
}

// A verdict is about one message: who asks again later may get the code.
func TestTheNextMessageHasItsOwnVerdict(t *testing.T) {
	w, verdicts := denials(t)
	p, err := w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, "")
	w.clock.pass(time.Minute)
	again, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, ChallengeID: p.ChallengeID})
	if wants(t, err, ""); again.ChallengeID != p.ChallengeID || w.outbox.sent[0].ID == w.outbox.sent[1].ID {
		t.Errorf("got %+v and messages %s and %s", again, w.outbox.sent[0].ID, w.outbox.sent[1].ID)
	}
	(*verdicts)[0](errDenied) // late, about the first
	w.clock.pass(2 * time.Second)
	if status, _ := w.Status(t.Context(), p.ChallengeID); status.Status != auth.DeliveryQueued {
		t.Errorf("after a late verdict: %+v", status)
	}
	(*verdicts)[1](nil)
	if status, _ := w.Status(t.Context(), p.ChallengeID); status.Status != auth.DeliverySent {
		t.Errorf("got %+v", status)
	}
	_, err = w.verify(p.ChallengeID, w.outbox.code(alice), "")
	wants(t, err, "")
}

// A resend of a denied code is queued again until its own verdict.
func TestAResendForgetsTheDenial(t *testing.T) {
	w, verdicts := denials(t)
	p, err := w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, "")
	(*verdicts)[0](errDenied)
	w.clock.pass(time.Minute)
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice, ChallengeID: p.ChallengeID})
	wants(t, err, "")
	w.clock.pass(10 * time.Second)
	if status, _ := w.Status(t.Context(), p.ChallengeID); status.Status != auth.DeliveryQueued {
		t.Errorf("got %+v", status)
	}
	(*verdicts)[1](errNetwork)
	if status, _ := w.Status(t.Context(), p.ChallengeID); status.Status != auth.DeliveryFailed {
		t.Errorf("got %+v", status)
	}
}

// A denied message counts as a code that is out, until its code comes back by
// another message.
func TestDeniedCodesAreCreditedWithTheirChallenge(t *testing.T) {
	w, verdicts := denials(t, countryLimit(2))
	p, err := w.ask(alice, "")
	wants(t, err, "")
	(*verdicts)[0](errDenied)
	w.clock.pass(time.Minute)
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice, Country: "SE", ChallengeID: p.ChallengeID})
	wants(t, err, "")
	(*verdicts)[1](nil)
	_, err = w.verify(p.ChallengeID, w.outbox.code(alice), "")
	wants(t, err, "")
	for i := range 4 { // as many as came back, and the limit
		_, err = w.ask(swedish(i), "")
		wants(t, err, "")
	}
	_, err = w.ask(swedish(4), "")
	wants(t, err, auth.CodeRateLimited)
}

// What the hook hears is in the message; a test number has none.
func TestMessagesCarryTheAddress(t *testing.T) {
	w := newWorld(t, withReviewer)
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, ClientIP: "192.0.2.1"})
	wants(t, err, "")
	w.start(reviewer)
	if len(w.outbox.sent) != 1 || w.outbox.sent[0].ClientIP != "192.0.2.1" {
		t.Errorf("got %+v", w.outbox.sent)
	}
}
