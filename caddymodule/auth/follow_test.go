package auth_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// An attacker who was signed out on one node must not go on at another, whose
// memory says that the session lives.
func TestAnEndHoldsOnEveryNode(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(w *world, g auth.Grant) error
	}{
		{"logout", func(w *world, g auth.Grant) error { return w.Logout(t.Context(), proof(g), auth.ScopeSession) }},
		{"logout everywhere", func(w *world, g auth.Grant) error { return w.Logout(t.Context(), proof(g), auth.ScopeAll) }},
		{"ended from another device", func(w *world, _ auth.Grant) error {
			return w.RevokeOthers(t.Context(), proof(w.signIn(alice, "other")))
		}},
		{"a new sign-in on the device", func(w *world, _ auth.Grant) error { w.signIn(alice, "phone"); return nil }},
		{"a ban", func(w *world, g auth.Grant) error {
			return auth.ChangeUser(t.Context(), w.Store, g.Identity.UserID, func(u *auth.User) { u.Ban = &auth.Ban{} })
		}},
		{"the end of all sessions", func(w *world, _ auth.Grant) error { return w.As("test").RevokeAll(t.Context()) }},
		{"a ban by an operator", func(w *world, g auth.Grant) error {
			_, err := w.As("test").Ban(t.Context(), g.Identity.UserID, "", time.Time{})
			return err
		}},
		{"the end of a user's sessions", func(w *world, g auth.Grant) error {
			return w.As("test").RevokeUser(t.Context(), g.Identity.UserID)
		}},
		{"an end of which only the user's record tells", func(w *world, g auth.Grant) error {
			return auth.ChangeUser(t.Context(), w.Store, g.Identity.UserID, func(u *auth.User) { u.Sessions[0].End = auth.EndRevoked })
		}},
		{"a seat that is gone", func(w *world, g auth.Grant) error {
			return auth.ChangeUser(t.Context(), w.Store, g.Identity.UserID, func(u *auth.User) { u.Sessions = nil })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, nodes := newNodes(t, 2)
			g := nodes[0].signIn(alice, "phone")
			wants(t, nodes[1].request(g), "")
			b.hold()
			if err := test.end(nodes[0], g); err != nil {
				t.Fatal(err)
			}
			wants(t, nodes[1].request(g), "") // it has not heard yet, so it was memory that let it through
			b.deliver()
			wants(t, nodes[1].request(g), auth.CodeSessionRevoked)
			wants(t, nodes[0].request(g), auth.CodeSessionRevoked)
		})
	}
}

func TestNewRolesShowOnEveryNode(t *testing.T) {
	_, nodes := newNodes(t, 2)
	g := nodes[0].signIn(alice, "phone")
	for _, roles := range []string{"customer", "admin"} {
		if err := auth.ChangeUser(t.Context(), nodes[0].Store, g.Identity.UserID, func(u *auth.User) { u.Roles = []string{roles} }); err != nil {
			t.Fatal(err)
		}
		for i, w := range nodes {
			id, err := w.Authenticate(t.Context(), proof(g), auth.Activity)
			if err != nil || id.RolesText != roles {
				t.Errorf("node %d: got %q, %v; want %q", i, id.RolesText, err, roles)
			}
		}
	}
}

// Requests are answered from memory, and the touches that they leave at other
// nodes change nothing in it.
func TestTouchesOfOtherNodesReadNothing(t *testing.T) {
	b, nodes := newNodes(t, 2)
	g := nodes[0].signIn(alice, "phone")
	for _, w := range nodes {
		wants(t, w.request(g), "")
	}
	nodes[0].put()
	before := b.reads.Load()
	for range 10 {
		wants(t, nodes[1].request(g), "")
	}
	if n := b.reads.Load() - before; n != 0 {
		t.Errorf("10 requests read %d times", n)
	}
}

// put writes the touches, and goes on with what is in memory.
func (w *world) put() {
	w.t.Helper()
	wants(w.t, w.Live.Flush(w.t.Context(), w.Store), "")
}

// A session that ends while another node reads it must not come into that node's
// memory alive: the news has gone by when the reading is done.
func TestAnEndDuringAReadIsNotMissed(t *testing.T) {
	for _, test := range []struct {
		name, record string
		end          func(w *world, g auth.Grant) error
	}{
		{"logout while the session is read", "session/", func(w *world, g auth.Grant) error {
			return w.Logout(t.Context(), proof(g), auth.ScopeSession)
		}},
		{"logout while the user is read", "user/", func(w *world, g auth.Grant) error {
			return w.Logout(t.Context(), proof(g), auth.ScopeSession)
		}},
		{"a ban while the user is read", "user/", func(w *world, g auth.Grant) error {
			return auth.ChangeUser(t.Context(), w.Store, g.Identity.UserID, func(u *auth.User) { u.Ban = &auth.Ban{} })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, nodes := newNodes(t, 2)
			g := nodes[0].signIn(alice, "phone")
			b.whileReading(test.record, func() {
				if err := test.end(nodes[0], g); err != nil {
					t.Error(err)
				}
			})
			wants(t, nodes[1].request(g), auth.CodeSessionRevoked)
			wants(t, nodes[1].request(g), auth.CodeSessionRevoked)
		})
	}
}

// While other nodes cannot be heard, a pass could be for a session that has
// ended, and a refusal would sign out one that lives: both are 503.
func TestWithoutNewsNobodyPassesAndNobodyIsSignedOut(t *testing.T) {
	b, nodes := newNodes(t, 2)
	w := nodes[1]
	lives, over := nodes[0].signIn(alice, "phone"), nodes[0].signIn(bob, "phone")
	for _, g := range []auth.Grant{lives, over} {
		wants(t, w.request(g), "")
	}
	unknown := lives
	unknown.Identity.SessionID = auth.NewSessionID()
	b.hold()
	if err := nodes[0].Logout(t.Context(), proof(over), auth.ScopeSession); err != nil {
		t.Fatal(err)
	}

	b.all(func(l auth.Listener) { l.TrustUntil(w.clock.Now().Add(time.Second)) })
	w.clock.pass(time.Second - time.Millisecond)
	wants(t, w.request(lives), "")
	w.clock.pass(time.Millisecond)
	for name, do := range map[string]func() error{
		"a live session":    func() error { return w.request(lives) },
		"an ended session":  func() error { return w.request(over) },
		"an unknown one":    func() error { return w.request(unknown) },
		"a refresh":         func() error { _, err := w.refresh(lives.Ticket); return err },
		"where it stands":   func() error { _, _, err := w.Standing(t.Context(), over.Identity.SessionID); return err },
		"health":            func() error { return w.Healthy(t.Context()) },
		"logout everywhere": func() error { return w.Logout(t.Context(), proof(lives), auth.ScopeAll) },
	} {
		if err := do(); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("%s: got %v, want unavailable", name, err)
		}
	}

	b.all(func(l auth.Listener) {
		l.ChangedAll()
		l.TrustUntil(w.clock.Now().Add(time.Hour))
	})
	wants(t, w.request(lives), "")
	wants(t, w.request(over), auth.CodeSessionRevoked)
	wants(t, w.Healthy(t.Context()), "")
}

// After a break any news may have been missed, and only the store knows.
func TestAfterABreakEverySessionIsReadAgain(t *testing.T) {
	b, nodes := newNodes(t, 2)
	g := nodes[0].signIn(alice, "phone")
	wants(t, nodes[1].request(g), "")
	b.hold()
	if err := nodes[0].Logout(t.Context(), proof(g), auth.ScopeAll); err != nil {
		t.Fatal(err)
	}
	wants(t, nodes[1].request(g), "")
	b.all(auth.Listener.ChangedAll)
	wants(t, nodes[1].request(g), auth.CodeSessionRevoked)
}

// A node that has not had a session's requests for a week must not call it idle.
func TestASessionIsNotIdleThatAnotherNodeHasSeen(t *testing.T) {
	_, nodes := newNodes(t, 2, func(s *auth.Settings) { s.IdleTimeout = time.Hour })
	g := nodes[0].signIn(alice, "phone")
	wants(t, nodes[1].request(g), "")
	nodes[1].put()
	for range 3 {
		nodes[0].clock.pass(50 * time.Minute)
		wants(t, nodes[0].request(g), "")
		nodes[0].put()
	}
	if end, due, err := nodes[1].Standing(t.Context(), g.Identity.SessionID); end != "" || err != nil || due.Sub(nodes[1].clock.Now()) != time.Hour {
		t.Errorf("got end %q, due %v, %v; want an hour more", end, due, err)
	}
	wants(t, nodes[1].request(g), "")
	nodes[0].clock.pass(time.Hour)
	wants(t, nodes[1].request(g), auth.CodeSessionExpired)
	wants(t, nodes[0].request(g), auth.CodeSessionExpired)
}

// The node that saw a session's last access must not take back the activity
// that another one has written.
func TestTouchesOfNodesAddUp(t *testing.T) {
	_, nodes := newNodes(t, 2)
	g := nodes[0].signIn(alice, "phone")
	wants(t, nodes[1].request(g), "")
	nodes[1].put()
	nodes[0].clock.pass(time.Minute)
	wants(t, nodes[0].request(g), "")
	active := nodes[0].clock.Now()
	nodes[0].put()
	nodes[0].clock.pass(time.Minute)
	if _, err := nodes[1].Authenticate(t.Context(), proof(g), auth.Access); err != nil {
		t.Fatal(err)
	}
	accessed := nodes[0].clock.Now()
	nodes[1].put()
	nodes[0].restart()
	if info := nodes[0].info(g); !info.LastActivityAt.Equal(active) || info.LastAccessed.Before(accessed) {
		t.Errorf("active %v, accessed %v; want %v, %v", info.LastActivityAt, info.LastAccessed, active, accessed)
	}
}

// A thief who brings a stolen refresh token to another node than the owner's
// must not pass for an owner whose answer got lost.
func TestReuseIsSeenByEveryNode(t *testing.T) {
	for _, test := range []struct {
		name string
		used bool
		want auth.Code
	}{
		{"the successor was used elsewhere", true, auth.CodeRefreshReused},
		{"nobody has used the successor", false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, nodes := newNodes(t, 2)
			g := nodes[0].signIn(alice, "phone")
			wants(t, nodes[1].request(g), "")
			next, err := nodes[0].refresh(g.Ticket)
			if err != nil {
				t.Fatal(err)
			}
			wants(t, nodes[1].request(g), "") // knows of the new generation from here on
			if test.used {
				wants(t, nodes[0].request(next), "")
				nodes[0].put()
			}
			nodes[0].clock.pass(nodes[0].Settings.RefreshGrace)
			_, err = nodes[1].refresh(g.Ticket)
			wants(t, err, test.want)
		})
	}
}

func TestParallelRefreshesOnNodesGiveOneSuccessor(t *testing.T) {
	_, nodes := newNodes(t, 3, func(s *auth.Settings) { s.RefreshGrace = 0 })
	g := nodes[0].signIn(alice, "phone")
	for range 20 {
		var wg sync.WaitGroup
		grants := make([]auth.Grant, 9)
		for i := range grants {
			wg.Go(func() {
				var err error
				if grants[i], err = nodes[i%3].refresh(g.Ticket); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, other := range grants {
			if other.Ticket != grants[0].Ticket {
				t.Fatal("two successors of one token")
			}
		}
		g = grants[0]
	}
}

func TestWatchersHearOfOtherNodes(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(b *bus, w *world, g auth.Grant) error
		want auth.EndReason
	}{
		{"logout", func(_ *bus, w *world, g auth.Grant) error {
			return w.Logout(t.Context(), proof(g), auth.ScopeSession)
		}, auth.EndLogout},
		{"a change of the user alone", func(_ *bus, w *world, g auth.Grant) error {
			return auth.ChangeUser(t.Context(), w.Store, g.Identity.UserID, func(u *auth.User) { u.Ban = &auth.Ban{} })
		}, auth.EndBanned},
		{"a break", func(b *bus, _ *world, _ auth.Grant) error {
			b.all(auth.Listener.ChangedAll)
			return nil
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, nodes := newNodes(t, 2)
			g := nodes[0].signIn(alice, "phone")
			wants(t, nodes[1].request(g), "")
			news, stop := nodes[1].Watch(g.Identity.SessionID)
			defer stop()
			if err := test.do(b, nodes[0], g); err != nil {
				t.Fatal(err)
			}
			if !heard(news) {
				t.Error("no news")
			}
			if end, _, err := nodes[1].Standing(t.Context(), g.Identity.SessionID); end != test.want || err != nil {
				t.Errorf("got %q, %v; want %q", end, err, test.want)
			}
			stop()
			heard(news) // of the end that Standing may have noted
			b.all(auth.Listener.ChangedAll)
			if heard(news) {
				t.Error("news after stop")
			}
		})
	}
}

// Keys that are nobody's are told for nothing.
func TestNewsOfStrangeKeysDoesNothing(t *testing.T) {
	b, nodes := newNodes(t, 1)
	g := nodes[0].signIn(alice, "phone")
	wants(t, nodes[0].request(g), "")
	before := b.reads.Load()
	for _, key := range []string{"", "/", "session/", "session/short", "user/", "user/-1", "user/x", "touch/" + g.Identity.SessionID.String()} {
		b.all(func(l auth.Listener) { l.Changed(key) })
	}
	wants(t, nodes[0].request(g), "")
	if n := b.reads.Load() - before; n != 0 {
		t.Errorf("read %d times", n)
	}
}

// An end that is on its way to the store holds here already, although the store
// still shows a live session to whoever reads it.
func TestAnEndOnItsWayIsNotReadAway(t *testing.T) {
	b, nodes := newNodes(t, 2)
	w := nodes[1]
	g := nodes[0].signIn(alice, "phone")
	wants(t, w.request(g), "")
	b.all(auth.Listener.ChangedAll) // the request reads the store
	reads, ending, hold, ended := 0, make(chan struct{}), make(chan struct{}), make(chan error)
	release := sync.OnceFunc(func() { close(hold) })
	b.eachRead(func(key string) {
		if key != "session/"+g.Identity.SessionID.String() {
			return
		}
		switch reads++; reads {
		case 1: // the request's
			go func() { ended <- w.Logout(t.Context(), proof(g), auth.ScopeSession) }()
			<-ending
		case 2: // the logout's
			close(ending)
			<-hold
		case 4: // the refusal's, after the request has read again
			release()
		}
	})
	wants(t, w.request(g), auth.CodeSessionRevoked)
	release()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What a session is used for while it is read must not be forgotten with it.
func TestAUseDuringAReadIsKept(t *testing.T) {
	b, nodes := newNodes(t, 2)
	w := nodes[1]
	g := nodes[0].signIn(alice, "phone")
	wants(t, w.request(g), "")
	b.all(auth.Listener.ChangedAll)
	b.whileReading("user/", func() {
		w.clock.pass(time.Minute)
		wants(t, w.request(g), "")
	})
	if _, _, err := w.Standing(t.Context(), g.Identity.SessionID); err != nil {
		t.Fatal(err)
	}
	if info := w.info(g); !info.LastActivityAt.Equal(w.clock.Now()) {
		t.Errorf("got activity at %v, want %v", info.LastActivityAt, w.clock.Now())
	}
}

// A copied cookie is told from a late one where no new cookie can be set, too.
func TestOldCookieIsSeenByEveryNode(t *testing.T) {
	_, nodes := newNodes(t, 2)
	id, code := nodes[0].start(alice)
	g, err := nodes[0].Verify(t.Context(), auth.VerifyRequest{ChallengeID: id, Code: code, Kind: auth.CookieTicket})
	if err != nil {
		t.Fatal(err)
	}
	use := func(w *world, cookie string, rotate bool) (string, error) {
		_, next, _, err := w.AuthenticateCookie(t.Context(), cookie, auth.Activity, rotate)
		return next, err
	}
	nodes[0].clock.pass(nodes[0].Settings.AccessTTL)
	next, err := use(nodes[0], g.Ticket, true)
	if err != nil || next == "" {
		t.Fatalf("no new cookie: %v", err)
	}
	_, err = use(nodes[1], g.Ticket, false)
	wants(t, err, "") // late, and forgiven
	_, err = use(nodes[0], next, false)
	wants(t, err, "")
	nodes[0].put()
	nodes[0].clock.pass(nodes[0].Settings.RefreshGrace)
	_, err = use(nodes[1], g.Ticket, false)
	wants(t, err, auth.CodeSessionRevoked)
}

func TestFollowingThatCannotBegin(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	if err := w.Live.Follow(t.Context(), deaf{}); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if err := w.request(g); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("what was in memory passed: %v", err)
	}
}
