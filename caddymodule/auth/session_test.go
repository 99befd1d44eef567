package auth_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestSessionEnds(t *testing.T) {
	day := 24 * time.Hour
	tests := map[string]struct {
		story  func(w *world, g auth.Grant)
		want   auth.Code
		reason auth.EndReason
	}{
		"with idle_timeout of no activity": {func(w *world, _ auth.Grant) { w.clock.pass(7 * day) }, auth.CodeSessionExpired, auth.EndIdle},
		"not a millisecond earlier":        {func(w *world, _ auth.Grant) { w.clock.pass(7*day - time.Millisecond) }, "", ""},
		"with max_lifetime, however active": {func(w *world, g auth.Grant) {
			for range 5 {
				w.clock.pass(6 * day)
				_ = w.request(g)
			}
		}, auth.CodeSessionExpired, auth.EndExpired},
		"at logout":               {func(w *world, g auth.Grant) { wants(w.t, w.Logout(w.t.Context(), proof(g), auth.ScopeSession), "") }, auth.CodeSessionRevoked, auth.EndLogout},
		"at logout of all":        {func(w *world, g auth.Grant) { wants(w.t, w.Logout(w.t.Context(), proof(g), auth.ScopeAll), "") }, auth.CodeSessionRevoked, auth.EndLogout},
		"not at logout of others": {func(w *world, g auth.Grant) { wants(w.t, w.Logout(w.t.Context(), proof(g), auth.ScopeOthers), "") }, "", ""},
		"when another ends it": {func(w *world, g auth.Grant) {
			o := w.signIn(alice, "o")
			wants(w.t, w.Revoke(w.t.Context(), proof(o), g.Identity.SessionID), "")
		}, auth.CodeSessionRevoked, auth.EndRevoked},
		"when another ends all else": {func(w *world, _ auth.Grant) {
			o := w.signIn(alice, "o")
			wants(w.t, w.RevokeOthers(w.t.Context(), proof(o)), "")
		}, auth.CodeSessionRevoked, auth.EndRevoked},
		"when it ends itself":                             {func(w *world, g auth.Grant) { wants(w.t, w.Revoke(w.t.Context(), proof(g), g.Identity.SessionID), "") }, auth.CodeSessionRevoked, auth.EndLogout},
		"at a login on its device":                        {func(w *world, _ auth.Grant) { w.signIn(alice, "phone") }, auth.CodeSessionRevoked, auth.EndReplaced},
		"not at another's login on a device of that name": {func(w *world, _ auth.Grant) { w.signIn(bob, "phone") }, "", ""},
		"as the least recently used of too many": {func(w *world, _ auth.Grant) {
			for i := range 10 {
				w.clock.pass(time.Second)
				w.signIn(alice, fmt.Sprint(i))
			}
		}, auth.CodeSessionRevoked, auth.EndEvicted},
		"not when it was used more recently": {func(w *world, g auth.Grant) {
			for i := range 10 {
				w.clock.pass(time.Second)
				w.signIn(alice, fmt.Sprint(i))
				_ = w.request(g)
			}
		}, "", ""},
	}
	for name, test := range tests {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart=%v", name, restart), func(t *testing.T) {
				w := newWorld(t)
				g := w.signIn(alice, "phone")
				test.story(w, g)
				if restart {
					wants(t, w.Live.Flush(t.Context(), w.store), "")
					w.restart()
				}
				wants(t, w.request(g), test.want)
				if info := w.info(g); info.EndReason != test.reason || info.IsActive != (test.reason == "") {
					t.Errorf("got %+v, want reason %q", info, test.reason)
				}
			})
		}
	}
}

// Idle sessions stay over when an operator later makes idle_timeout longer.
func TestRunOutSessionStaysOver(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	w.clock.pass(7 * 24 * time.Hour)
	wants(t, w.request(g), auth.CodeSessionExpired)
	w.Settings.IdleTimeout *= 2
	w.restart()
	wants(t, w.request(g), auth.CodeSessionExpired)
}

func TestParallelLoginsKeepTheLimit(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.MaxPerUser = 3 })
	var mu sync.Mutex
	var grants []auth.Grant
	inParallel(20, func(i int) {
		p, err := w.Start(t.Context(), auth.StartRequest{Phone: alice})
		if err != nil {
			t.Error(err)
			return
		}
		g, err := w.verify(p.ChallengeID, w.Secrets.Code(p.ChallengeID, 6), fmt.Sprint(i))
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		grants = append(grants, g)
		mu.Unlock()
	})
	for _, restart := range []bool{false, true} {
		if restart {
			w.restart()
		}
		live := 0
		for _, g := range grants {
			if w.request(g) == nil {
				live++
			}
		}
		if live != 3 {
			t.Errorf("%d live sessions, want 3 (restart=%v)", live, restart)
		}
	}
}

func TestLogoutIsIdempotentAndADeadSessionEndsNoOther(t *testing.T) {
	w := newWorld(t)
	g, other := w.signIn(alice, "a"), w.signIn(alice, "b")
	for range 2 {
		wants(t, w.Logout(t.Context(), proof(g), auth.ScopeSession), "")
	}
	wants(t, w.Logout(t.Context(), proof(g), auth.ScopeAll), "")
	wants(t, w.request(other), "")
	p, ok := w.ProofOfTicket(other.Ticket)
	if !ok || p.SessionID != other.Identity.SessionID {
		t.Error("a refresh token names its session")
	}
	if _, ok := w.ProofOfTicket("sgr1_rubbish"); ok {
		t.Error("rubbish names a session")
	}
}

// Attack: one user reads or ends another's session by its id.
func TestAnotherUsersSessionIsNotFound(t *testing.T) {
	w := newWorld(t)
	mine, theirs := w.signIn(alice, "a"), w.signIn(bob, "b")
	id := theirs.Identity.SessionID
	for _, owner := range []auth.Proof{proof(mine), {SessionID: mine.Identity.SessionID, Generation: 1}} {
		for _, id := range []auth.SessionID{id, auth.NewSessionID()} {
			_, err := w.Session(t.Context(), owner, id)
			wants(t, err, auth.CodeNotFound)
			wants(t, w.Revoke(t.Context(), owner, id), auth.CodeNotFound)
			wants(t, w.Activity(t.Context(), owner, id, time.Time{}), auth.CodeNotFound)
		}
	}
	wants(t, w.request(theirs), "")
	wants(t, w.Logout(t.Context(), proof(mine), auth.ScopeSession), "")
	_, err := w.Session(t.Context(), proof(mine), id)
	wants(t, err, auth.CodeSessionRevoked)
	_, err = w.Sessions(t.Context(), proof(mine))
	wants(t, err, auth.CodeSessionRevoked)
	wants(t, w.RevokeOthers(t.Context(), proof(mine)), auth.CodeSessionRevoked)
	wants(t, w.Revoke(t.Context(), proof(mine), id), auth.CodeSessionRevoked)
	_, err = w.User(t.Context(), proof(mine))
	wants(t, err, auth.CodeSessionRevoked)
	_, err = w.Session(t.Context(), auth.Proof{SessionID: auth.NewSessionID()}, id)
	wants(t, err, auth.CodeSessionExpired)
}

func TestSessionsAreListedByUse(t *testing.T) {
	w := newWorld(t)
	a := w.signIn(alice, "a")
	w.clock.pass(time.Second)
	b := w.signIn(alice, "b")
	w.clock.pass(time.Second)
	wants(t, w.request(a), "")
	w.signIn(bob, "c")
	w.clock.pass(time.Second)
	sessions, err := w.Sessions(t.Context(), proof(b))
	wants(t, err, "")
	if len(sessions) != 2 || sessions[0].DeviceID != "b" || !sessions[0].Current || sessions[1].Current || sessions[1].DeviceID != "a" {
		t.Errorf("got %+v", sessions)
	}
	wants(t, w.Revoke(t.Context(), proof(b), a.Identity.SessionID), "")
	if sessions, _ = w.Sessions(t.Context(), proof(b)); len(sessions) != 1 {
		t.Errorf("got %d sessions after one ended, want 1", len(sessions))
	}
	wants(t, w.Activity(t.Context(), proof(b), a.Identity.SessionID, time.Time{}), auth.CodeNotFound)
}

func TestActivity(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "a")
	start := w.clock.Now()
	w.clock.pass(time.Hour)
	for _, test := range []struct {
		name     string
		at, want time.Time
	}{
		{"in the past of what is known moves nothing", start.Add(-time.Hour), start},
		{"in between counts", start.Add(time.Minute), start.Add(time.Minute)},
		{"never moves back", start.Add(time.Second), start.Add(time.Minute)},
		{"in the future counts as now", start.Add(99 * time.Hour), start.Add(time.Hour)},
	} {
		wants(t, w.Activity(t.Context(), proof(g), g.Identity.SessionID, test.at), "")
		if got := w.info(g).LastActivityAt; !got.Equal(test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
	wants(t, w.Logout(t.Context(), proof(g), auth.ScopeSession), "")
	wants(t, w.Activity(t.Context(), proof(g), g.Identity.SessionID, time.Time{}), auth.CodeSessionRevoked)
}

// A clock that ran days ahead for a while must not keep a session for days that
// nobody uses.
func TestActivityOfTheFutureIsForgotten(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld(t)
		g := w.signIn(alice, "a")
		w.clock.pass(6 * 24 * time.Hour)
		wants(t, w.request(g), "")
		w.clock.pass(-6 * 24 * time.Hour)
		if restart {
			wants(t, w.Live.Flush(t.Context(), w.store), "")
			w.restart()
		}
		if info := w.info(g); info.LastActivityAt.After(w.clock.Now()) || info.LastAccessed.After(w.clock.Now()) {
			t.Errorf("restart=%v: used in the future: %+v", restart, info)
		}
		wants(t, w.request(g), "")
		w.clock.pass(7 * 24 * time.Hour)
		wants(t, w.request(g), auth.CodeSessionExpired)
	}
}

func TestValidationIsNoActivity(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "a")
	start := w.clock.Now()
	w.clock.pass(time.Minute)
	info := w.info(g)
	if !info.LastAccessed.Equal(w.clock.Now()) || !info.LastActivityAt.Equal(start) {
		t.Errorf("got %+v", info)
	}
	wants(t, w.request(g), "")
	if info = w.info(g); !info.LastActivityAt.Equal(w.clock.Now()) {
		t.Error("a proxied request is activity")
	}
}

func TestDevice(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "")
	if g.Identity.DeviceID == "" {
		t.Fatal("a missing device_id is made by the server")
	}
	d, push, err := w.UpdateDevice(t.Context(), proof(g), auth.DeviceInput{Name: "Chrome", Platform: "Windows", PushToken: "secret"})
	wants(t, err, "")
	if d.Name != "Chrome" || d.ID != g.Identity.DeviceID || !push {
		t.Errorf("got %+v, push %v", d, push)
	}
	d, push, err = w.UpdateDevice(t.Context(), proof(g), auth.DeviceInput{AppVersion: "2", ID: d.ID})
	if wants(t, err, ""); d.Name != "Chrome" || d.AppVersion != "2" || !push {
		t.Errorf("an update forgot: %+v, push %v", d, push)
	}
	_, _, err = w.UpdateDevice(t.Context(), proof(g), auth.DeviceInput{ID: "another"})
	wants(t, err, auth.CodeInvalidRequest)
	if info := w.info(g); info.DeviceName != "Chrome" || info.Platform != "Windows" {
		t.Errorf("got %+v", info)
	}
	user, err := w.User(t.Context(), proof(g))
	if wants(t, err, ""); user.Phone != alice || user.Type != "customer" {
		t.Errorf("got %+v", user)
	}
	wants(t, w.Logout(t.Context(), proof(g), auth.ScopeSession), "")
	_, _, err = w.UpdateDevice(t.Context(), proof(g), auth.DeviceInput{Name: "x"})
	wants(t, err, auth.CodeSessionRevoked)
	next := w.signIn(alice, g.Identity.DeviceID)
	if _, push, _ = w.UpdateDevice(t.Context(), proof(next), auth.DeviceInput{}); push {
		t.Error("the push token outlived its session")
	}
}

func TestBannedUserIsRefused(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "a")
	ban(t, w, g.Identity.UserID)
	w.restart()
	wants(t, w.request(g), auth.CodeSessionRevoked)
	if info := w.info(g); info.EndReason != auth.EndBanned {
		t.Errorf("got %+v", info)
	}
	id, code := w.start(alice)
	_, err := w.verify(id, code, "a")
	wants(t, err, auth.CodeAccountDisabled)
}
