package auth_test

import (
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestBan(t *testing.T) {
	w := newWorld(t)
	o := w.As("test")
	g, stranger := w.signIn(alice, "phone"), w.signIn(bob, "phone")
	news, stop := w.Watch(g.Identity.SessionID)
	defer stop()
	until := w.clock.Now().Add(time.Hour)
	u, err := o.Ban(t.Context(), g.Identity.UserID, "spam", until)
	wants(t, err, "")
	if state := w.StateOf(u); !state.Banned || state.BanReason != "spam" || !state.BannedUntil.Equal(until) || state.Sessions != 0 {
		t.Errorf("got %+v", state)
	}
	wants(t, w.request(g), auth.CodeSessionRevoked)
	wants(t, w.request(stranger), "")
	if end, _, _ := w.Standing(t.Context(), g.Identity.SessionID); end != auth.EndBanned || !heard(news) {
		t.Errorf("whoever watches learns %q", end)
	}
	if info := w.info(g); info.EndReason != auth.EndBanned {
		t.Errorf("the owner learns %q", info.EndReason)
	}

	w.clock.pass(time.Hour - time.Millisecond)
	id, code := w.start(alice)
	_, err = w.verify(id, code, "phone")
	wants(t, err, auth.CodeAccountDisabled)
	w.clock.pass(time.Millisecond) // a ban is over at that very instant
	w.clock.pass(time.Minute)
	again := w.signIn(alice, "phone")
	wants(t, w.request(again), "")
	wants(t, w.request(g), auth.CodeSessionRevoked)
	w.restart()
	wants(t, w.request(again), "")
	wants(t, w.request(g), auth.CodeSessionRevoked)
}

func TestBanEndsAtTheVeryInstant(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	id, code := w.start(alice)
	early, earlyCode := id, code
	w.clock.pass(time.Minute)
	id, code = w.start(alice)
	_, err := w.As("test").Ban(t.Context(), g.Identity.UserID, "", w.clock.Now().Add(time.Minute))
	wants(t, err, "")
	w.clock.pass(time.Minute - time.Millisecond)
	_, err = w.verify(early, earlyCode, "phone")
	wants(t, err, auth.CodeAccountDisabled)
	w.clock.pass(time.Millisecond)
	_, err = w.verify(id, code, "phone")
	wants(t, err, "")
}

func TestBanIsReplacedAndLifted(t *testing.T) {
	w := newWorld(t)
	o := w.As("test")
	g := w.signIn(alice, "phone")
	user := g.Identity.UserID
	_, err := o.Ban(t.Context(), user, "", w.clock.Now().Add(time.Minute))
	wants(t, err, "")
	_, err = o.Ban(t.Context(), user, "", time.Time{})
	wants(t, err, "")
	w.clock.pass(24 * time.Hour)
	id, code := w.start(alice)
	_, err = w.verify(id, code, "phone")
	wants(t, err, auth.CodeAccountDisabled)
	_, err = o.Unban(t.Context(), user)
	wants(t, err, "")
	w.signIn(alice, "phone")
	wants(t, w.request(g), auth.CodeSessionRevoked)

	_, err = o.Ban(t.Context(), user, "", w.clock.Now())
	wants(t, err, auth.CodeInvalidRequest)
	_, err = o.Ban(t.Context(), 4711, "", time.Time{})
	wants(t, err, auth.CodeNotFound)
	_, err = o.Unban(t.Context(), 4711)
	wants(t, err, auth.CodeNotFound)
}

// Attack: a banned user who was signing in, or renewing a session, at that very
// moment keeps it.
func TestBanDuringASignIn(t *testing.T) {
	ban := func(w *world) {
		_, err := w.As("test").Ban(t.Context(), 1, "", time.Time{})
		wants(t, err, "")
	}
	check := func(w *world, before, after auth.Grant, err error) {
		over(w, before, nil)
		over(w, after, err)
	}
	t.Run("sign-in", func(t *testing.T) { during(t, ban, logsIn, check) })
	t.Run("refresh", func(t *testing.T) { during(t, ban, refreshes, check) })
}

// The record of a user is ours, whoever says what the user is: a directory that
// knows nothing of the ban lets nobody in.
func TestBanOfAUserOfTheApp(t *testing.T) {
	w := newWorld(t)
	w.Directory = directoryFunc(func() auth.Account {
		return auth.Account{UserID: 4711, Type: "staff", Roles: []string{"admin"}}
	})
	g := w.signIn(alice, "phone")
	_, err := w.As("test").Ban(t.Context(), 4711, "", time.Time{})
	wants(t, err, "")
	wants(t, w.request(g), auth.CodeSessionRevoked)
	w.clock.pass(time.Minute)
	id, code := w.start(alice)
	_, err = w.verify(id, code, "phone")
	wants(t, err, auth.CodeAccountDisabled)
}
