package auth_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func norwegian(i int) string { return fmt.Sprintf("+4790%06d", i) }

// The budget tells at 50 and 80 percent, once in a window each; strangers get
// nothing from its last fifth, and the answers do not say so.
func TestBudgetTellsAndKeepsAReserve(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) {
		s.Limits.GlobalSends, s.Limits.Reserve = []auth.Limit{{N: 500, Window: time.Hour}}, 20
	})
	var log bytes.Buffer
	w.Log = slog.New(slog.NewTextHandler(&log, nil))
	w.signIn(alice, "phone")
	told := func(percent int) int {
		return strings.Count(log.String(), fmt.Sprintf("used_percent=%d", percent))
	}
	w.clock.pass(time.Hour)
	for i := range 600 {
		p, err := w.Start(t.Context(), auth.StartRequest{Phone: norwegian(i)})
		wants(t, err, "")
		if sent := len(w.outbox.sent) - 1; sent != min(i+1, 400) {
			t.Fatalf("%d messages after %d requests", sent, i+1)
		}
		if i == 248 && told(50) != 0 || i == 249 && told(50) != 1 || i == 398 && told(80) != 0 || i == 399 && told(80) != 1 {
			t.Fatalf("after %d requests: %s", i+1, &log)
		}
		if i == 599 {
			looksSent(t, w, p)
		}
	}
	for range 100 {
		w.start(alice)
	}
	for _, phone := range []string{alice, norwegian(700)} {
		_, err := w.Start(t.Context(), auth.StartRequest{Phone: phone})
		wants(t, err, auth.CodeRateLimited)
	}
	w.clock.pass(time.Hour)
	for i := range 400 {
		w.start(norwegian(1000 + i))
	}
	if told(50) != 2 || told(80) != 2 {
		t.Errorf("told %d and %d times in two windows", told(50), told(80))
	}
}

// A small budget is a trial's, and goes to whoever comes.
func TestASmallBudgetKeepsNoReserve(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) {
		s.Limits.GlobalSends, s.Limits.Reserve = []auth.Limit{{N: 10, Window: time.Hour}}, 20
	})
	for i := range 10 {
		w.start(norwegian(i))
	}
	if len(w.outbox.sent) != 10 {
		t.Errorf("%d messages went out, want 10", len(w.outbox.sent))
	}
}

// A suppressed request is none to the budget, and one to its number.
func TestSuppressedRequestsCountForTheirNumber(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) {
		s.Limits.GlobalSends, s.Limits.Reserve = []auth.Limit{{N: 500, Window: time.Hour}}, 90
		s.Limits.PhoneSends = []auth.Limit{{N: 1, Window: time.Hour}}
	})
	for i := range 300 { // 50 go out
		_, err := w.Start(t.Context(), auth.StartRequest{Phone: norwegian(i)})
		wants(t, err, "")
	}
	if len(w.outbox.sent) != 50 {
		t.Errorf("%d messages went out, want 50", len(w.outbox.sent))
	}
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: norwegian(299)})
	wants(t, err, auth.CodeRateLimited) // to its number it counts as any other
}
