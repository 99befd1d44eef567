package auth_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func heard(news <-chan struct{}) bool {
	select {
	case <-news:
		return true
	default:
		return false
	}
}

func TestWatchersHearOfEveryEnd(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(w *world, g auth.Grant) error
		want auth.EndReason
	}{
		{"logout", func(w *world, g auth.Grant) error {
			return w.Logout(t.Context(), auth.Proof{SessionID: g.Identity.SessionID}, auth.ScopeSession)
		}, auth.EndLogout},
		{"logout of all", func(w *world, g auth.Grant) error {
			return w.Logout(t.Context(), auth.Proof{SessionID: g.Identity.SessionID}, auth.ScopeAll)
		}, auth.EndLogout},
		{"revoked from another device", func(w *world, _ auth.Grant) error {
			other := w.signIn(alice, "other")
			return w.RevokeOthers(t.Context(), auth.Proof{SessionID: other.Identity.SessionID})
		}, auth.EndRevoked},
		{"a new sign-in on the same device", func(w *world, _ auth.Grant) error {
			w.signIn(alice, "phone")
			return nil
		}, auth.EndReplaced},
		{"an old refresh token used again", func(w *world, g auth.Grant) error {
			ticket := g.Ticket
			for range 2 {
				next, err := w.Refresh(t.Context(), ticket, auth.RefreshTicket)
				if err != nil {
					return err
				}
				ticket = next.Ticket
			}
			if _, err := w.Refresh(t.Context(), g.Ticket, auth.RefreshTicket); err == nil {
				return errors.New("reuse was not caught")
			}
			return nil
		}, auth.EndReused},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			g := w.signIn(alice, "phone")
			stranger := w.signIn(bob, "phone")
			news, stop := w.Watch(g.Identity.SessionID)
			defer stop()
			others, stopOthers := w.Watch(stranger.Identity.SessionID)
			defer stopOthers()
			if err := test.end(w, g); err != nil {
				t.Fatal(err)
			}
			if !heard(news) {
				t.Error("no news of the end")
			}
			if heard(others) {
				t.Error("news of somebody else's session")
			}
			if end, _, err := w.Standing(t.Context(), g.Identity.SessionID); err != nil || end != test.want {
				t.Errorf("standing: %q, %v", end, err)
			}
		})
	}
}

func TestWatchersHearOfNoEndThatDidNotHappen(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	news, stop := w.Watch(g.Identity.SessionID)
	defer stop()
	w.store.failAfter(0)
	if err := w.Logout(t.Context(), auth.Proof{SessionID: g.Identity.SessionID}, auth.ScopeSession); err == nil {
		t.Fatal("a logout that was not kept was answered")
	}
	if heard(news) {
		t.Error("told of an end that could not be kept")
	}
}

// A thief who signs in on a device of their own is seen on the owner's at once.
func TestWatchersHearOfANewDevice(t *testing.T) {
	w := newWorld(t)
	g, stranger := w.signIn(alice, "phone"), w.signIn(bob, "phone")
	news, stop := w.Watch(g.Identity.SessionID)
	defer stop()
	others, stopOthers := w.Watch(stranger.Identity.SessionID)
	defer stopOthers()
	for _, row := range []struct {
		device string
		want   bool
	}{{"laptop", true}, {"laptop", false}, {"tablet", true}} {
		w.signIn(alice, row.device)
		if got := heard(news); got != row.want {
			t.Errorf("a sign-in on the %s: heard %v, want %v", row.device, got, row.want)
		}
	}
	if heard(others) {
		t.Error("news of somebody else's device")
	}
	if end, _, err := w.Standing(t.Context(), g.Identity.SessionID); end != "" || err != nil {
		t.Errorf("standing: %q, %v", end, err)
	}
}

func TestWatchEnds(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	one, stopOne := w.Watch(g.Identity.SessionID)
	two, stopTwo := w.Watch(g.Identity.SessionID)
	defer stopTwo()
	stopOne()
	if err := w.Logout(t.Context(), auth.Proof{SessionID: g.Identity.SessionID}, auth.ScopeSession); err != nil {
		t.Fatal(err)
	}
	if heard(one) || !heard(two) {
		t.Error("the one who stopped hears, or the other does not")
	}
}

func TestStandingFollowsTheClockWithoutTouching(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	idle := w.clock.Now().Add(w.Settings.IdleTimeout)
	for _, inMemory := range []bool{true, false} {
		if !inMemory {
			w.restart()
		}
		w.clock.pass(time.Hour)
		end, due, err := w.Standing(t.Context(), g.Identity.SessionID)
		if err != nil || end != "" || !due.Equal(idle) {
			t.Errorf("in memory %v: %q until %v (%v), want alive until %v", inMemory, end, due, err, idle)
		}
	}
	w.clock.pass(idle.Sub(w.clock.Now()))
	end, _, err := w.Standing(t.Context(), g.Identity.SessionID)
	if err != nil || end != auth.EndIdle {
		t.Errorf("at the very instant: %q, %v", end, err)
	}
	if end, _, err = w.Standing(t.Context(), auth.SessionID{1}); end != "" || err == nil {
		t.Errorf("unknown session: %q, %v", end, err)
	}
}
