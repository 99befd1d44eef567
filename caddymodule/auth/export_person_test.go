package auth_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func limited(s *auth.Settings) {
	s.Limits.PhoneSends = []auth.Limit{{N: 50, Window: time.Hour}}
	s.Limits.PhoneFailures = s.Limits.PhoneSends
}

func (w *world) holdings(id uint64) (h auth.Holdings, text string) {
	w.t.Helper()
	h, err := w.As("anna").Holdings(w.t.Context(), id)
	wants(w.t, err, "")
	raw, err := json.Marshal(h)
	if err != nil {
		w.t.Fatal(err)
	}
	return h, string(raw)
}

// All that is held on a person, and nothing of anybody else: also of sessions
// that have ended, and of a known browser's own budget.
func TestHoldings(t *testing.T) {
	w := newWorld(t, limited)
	g := w.signIn(alice, "phone")
	_, _, err := w.UpdateDevice(t.Context(), proof(g), auth.DeviceInput{Name: "Alice's", PushToken: "push-secret"})
	wants(t, err, "")
	ended := w.signIn(alice, "laptop")
	wants(t, w.Logout(t.Context(), proof(ended), auth.ScopeSession), "")
	id, _ := w.start(alice)
	_, err = w.verify(id, "wrong", "phone")
	wants(t, err, auth.CodeOTPInvalid)
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice, DeviceProof: g.DeviceProof})
	wants(t, err, "")
	w.signIn(bob, "bob's device")
	w.start(bob)

	h, text := w.holdings(g.Identity.UserID)
	if h.User.Phone != alice || len(h.Devices) != 2 || len(h.Sessions) != 2 || h.CustomerAt.IsZero() || h.LastUsedAt.IsZero() {
		t.Errorf("got %s", text)
	}
	if len(h.Limits["phone_sends"]) != 4 || len(h.Limits["phone_failures"]) != 1 {
		t.Errorf("counted %v", h.Limits)
	}
	for _, want := range []string{"Alice's", `"end_reason":"logout"`, ended.Identity.SessionID.String()} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	for _, not := range []string{"push-secret", g.Ticket, "bob's device", bob} {
		if strings.Contains(text, not) {
			t.Errorf("%s is in %s", not, text)
		}
	}
}

// Attack: the owner of an account whose number has gone to somebody else asks for
// what is held, and gets what the new owner of the number does.
func TestHoldingsOfADetachedAccount(t *testing.T) {
	w := newWorld(t, limited)
	old := w.signIn(alice, "phone").Identity.UserID
	wants(t, auth.ChangeUser(t.Context(), w.store, old, func(u *auth.User) { u.Detached = w.clock.Now() }), "")
	w.signIn(alice, "of the new owner")
	w.start(alice)
	if h, text := w.holdings(old); len(h.Limits) != 0 || !h.CustomerAt.IsZero() || strings.Contains(text, "new owner") {
		t.Errorf("got %s", text)
	}
}
