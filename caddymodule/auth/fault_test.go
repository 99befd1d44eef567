package auth_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// A store that fails at any call of any operation gives 503, never a pass; what
// was signed in still is when the store is back.
func TestFaultAtEveryCall(t *testing.T) {
	operations := map[string]func(w *world, g auth.Grant, id, code string) error{
		"start": func(w *world, _ auth.Grant, _, _ string) error {
			_, err := w.Start(w.t.Context(), auth.StartRequest{Phone: bob, ClientIP: "192.0.2.1"})
			return err
		},
		"status":  func(w *world, _ auth.Grant, id, _ string) error { _, err := w.Status(w.t.Context(), id); return err },
		"verify":  func(w *world, _ auth.Grant, id, code string) error { _, err := w.verify(id, code, "new"); return err },
		"refresh": func(w *world, g auth.Grant, _, _ string) error { _, err := w.refresh(g.Ticket); return err },
		"request": func(w *world, g auth.Grant, _, _ string) error { return w.request(g) },
		"logout": func(w *world, g auth.Grant, _, _ string) error {
			return w.Logout(w.t.Context(), proof(g), auth.ScopeSession)
		},
		"others": func(w *world, g auth.Grant, _, _ string) error { return w.RevokeOthers(w.t.Context(), proof(g)) },
		"session": func(w *world, g auth.Grant, _, _ string) error {
			_, err := w.Session(w.t.Context(), auth.Proof{SessionID: g.Identity.SessionID}, g.Identity.SessionID)
			return err
		},
		"sessions": func(w *world, g auth.Grant, _, _ string) error {
			_, err := w.Sessions(w.t.Context(), proof(g))
			return err
		},
		"activity": func(w *world, g auth.Grant, _, _ string) error {
			return w.Activity(w.t.Context(), proof(g), g.Identity.SessionID, time.Time{})
		},
		"device": func(w *world, g auth.Grant, _, _ string) error {
			_, _, err := w.UpdateDevice(w.t.Context(), proof(g), auth.DeviceInput{PushToken: "p"})
			return err
		},
		"user":   func(w *world, g auth.Grant, _, _ string) error { _, err := w.User(w.t.Context(), proof(g)); return err },
		"health": func(w *world, _ auth.Grant, _, _ string) error { return w.Healthy(w.t.Context()) },
		"flush":  func(w *world, g auth.Grant, _, _ string) error { return w.Live.Flush(w.t.Context(), w.store) },
	}
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			for n := range 100 {
				limit := []auth.Limit{{N: 50, Window: time.Hour}}
				w := newWorld(t, func(s *auth.Settings) {
					s.Limits = auth.Limits{PhoneSends: limit, PhoneFailures: limit, IPSends: limit, GlobalSends: limit}
				})
				g := w.signIn(alice, "phone")
				w.signIn(alice, "other")
				id, code := w.start(alice)
				if name != "flush" {
					w.restart()
				}
				w.store.failAfter(n)
				err := operation(w, g, id, code)
				if !w.store.repair() {
					wants(t, err, "")
					return // n calls are more than it makes
				}
				if err != nil {
					wants(t, err, auth.CodeStoreUnavailable)
					// Nothing that was refused for a fault has happened by halves: the
					// session is live, unless the operation got as far as ending it.
					if err := w.request(g); err != nil && name != "logout" {
						t.Errorf("after a fault at call %d: %v", n, err)
					}
				}
			}
			t.Error("never succeeded")
		})
	}
}

// A fault while a logout is written: the answer is 503, and the session is as
// it was, in memory and in the store.
func TestFailedLogoutChangesNothing(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	w.store.failAfter(1)
	wants(t, w.Logout(t.Context(), proof(g), auth.ScopeSession), auth.CodeStoreUnavailable)
	w.store.repair()
	wants(t, w.request(g), "")
}

func TestWarmRequestReadsNoStore(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	w.restart()
	wants(t, w.request(g), "")
	before := w.store.calls
	for range 100 {
		wants(t, w.request(g), "")
	}
	if w.store.calls != before {
		t.Errorf("%d store calls, want none", w.store.calls-before)
	}
}

func TestTouchesAreWrittenInBatchesAndAtTheEnd(t *testing.T) {
	w := newWorld(t)
	var grants []auth.Grant
	for i := range 10 {
		grants = append(grants, w.signIn(alice, fmt.Sprint(i)))
	}
	w.clock.pass(time.Hour)
	for _, g := range grants {
		wants(t, w.request(g), "")
	}
	w.store.failAfter(0)
	if err := w.Live.Flush(t.Context(), w.store); err == nil {
		t.Error("a failed flush says nothing")
	}
	w.store.repair()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := w.store.calls
	w.Live.Keep(ctx, w.store, time.Hour, func(err error) { t.Error(err) })
	if calls := w.store.calls - before; calls != 1 {
		t.Errorf("%d writes, want one batch", calls)
	}
	w.restart()
	for _, g := range grants {
		if info := w.info(g); !info.LastActivityAt.Equal(w.clock.Now()) {
			t.Errorf("activity was lost: %+v", info)
		}
	}
}

// The table holds no more than its capacity, and what left it comes back.
func TestColdSessionsLeaveAndComeBack(t *testing.T) {
	w := newWorld(t)
	w.Live = auth.NewLive(1)
	var grants []auth.Grant
	for user := range 4500 {
		grants = append(grants, w.signIn(fmt.Sprintf("+4670%07d", user), "phone"))
		if user%100 == 0 {
			wants(t, w.Live.Flush(t.Context(), w.store), "")
		}
	}
	if got := w.Live.Len(); got > 256*16+100 {
		t.Errorf("%d entries in memory, want at most about 4096", got)
	}
	for _, g := range grants {
		wants(t, w.request(g), "")
	}
}
