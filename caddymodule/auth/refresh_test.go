package auth_test

import (
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestRefreshGivesTheSuccessor(t *testing.T) {
	w := newWorld(t)
	first := w.signIn(alice, "phone")
	w.clock.pass(time.Minute)
	second, err := w.refresh(first.Ticket)
	wants(t, err, "")
	if second.Generation != 2 || second.Ticket == first.Ticket || second.SessionExpiresAt != first.SessionExpiresAt {
		t.Errorf("got %+v", second)
	}
	wants(t, w.request(second), "")
	wants(t, w.request(first), "") // an access token lives until it expires
	info := w.info(second)
	if !info.LastAccessed.Equal(w.clock.Now()) {
		t.Error("a refresh is an access")
	}
}

func TestRefreshIsNoActivity(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	start := w.clock.Now()
	w.clock.pass(6 * 24 * time.Hour)
	g, err := w.refresh(g.Ticket)
	wants(t, err, "")
	if info := w.info(g); !info.LastActivityAt.Equal(start) {
		t.Errorf("last activity %v, want %v", info.LastActivityAt, start)
	}
	w.clock.pass(24*time.Hour - time.Minute)
	g, err = w.refresh(g.Ticket)
	wants(t, err, "")
	if g.AccessTTL != time.Minute {
		t.Errorf("access token lives %v, but the session only a minute more", g.AccessTTL)
	}
	w.clock.pass(time.Minute)
	_, err = w.refresh(g.Ticket)
	wants(t, err, auth.CodeSessionExpired)
}

func TestFiftyParallelRefreshesGiveOneSuccessor(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	var mu sync.Mutex
	tickets := map[string]uint32{}
	inParallel(50, func(int) {
		next, err := w.refresh(g.Ticket)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		tickets[next.Ticket] = next.Generation
	})
	for _, generation := range tickets {
		if generation != 2 {
			t.Errorf("got generation %d, want 2", generation)
		}
	}
	if len(tickets) != 1 {
		t.Errorf("%d successors, want 1", len(tickets))
	}
}

func TestRefreshStories(t *testing.T) {
	const inGrace, later = 10 * time.Second, 5 * time.Hour
	tests := map[string]struct {
		story func(w *world, g auth.Grant) error
		want  auth.Code
	}{
		"a lost answer is forgiven hours later, and after a restart": {func(w *world, g auth.Grant) error {
			_, _ = w.refresh(g.Ticket)
			w.clock.pass(later)
			w.restart()
			_, err := w.refresh(g.Ticket)
			return err
		}, ""},
		"a second tab within grace gets the same pair, though the first used it": {func(w *world, g auth.Grant) error {
			next, _ := w.refresh(g.Ticket)
			_ = w.request(next)
			w.clock.pass(inGrace)
			_, err := w.refresh(g.Ticket)
			return err
		}, ""},
		// Attack: the thief refreshes first and works with the new pair; the
		// victim comes back with the old token.
		"a predecessor after its successor was used is a theft": {func(w *world, g auth.Grant) error {
			next, _ := w.refresh(g.Ticket)
			_ = w.request(next)
			w.clock.pass(time.Minute)
			_, err := w.refresh(g.Ticket)
			return err
		}, auth.CodeRefreshReused},
		"the use is remembered over a restart": {func(w *world, g auth.Grant) error {
			next, _ := w.refresh(g.Ticket)
			_ = w.request(next)
			if err := w.Live.Flush(w.t.Context(), w.store); err != nil {
				return err
			}
			w.restart()
			w.clock.pass(time.Minute)
			_, err := w.refresh(g.Ticket)
			return err
		}, auth.CodeRefreshReused},
		"two generations back is a theft, also within grace": {func(w *world, g auth.Grant) error {
			next, _ := w.refresh(g.Ticket)
			_, _ = w.refresh(next.Ticket)
			_, err := w.refresh(g.Ticket)
			return err
		}, auth.CodeRefreshReused},
		// Attack: the thief copies every pair and refreshes in step with the
		// victim. As soon as one of them is a step behind, the session ends.
		"a thief in step is caught at the first step apart": {func(w *world, g auth.Grant) error {
			victim, thief := g, g
			for range 3 {
				w.clock.pass(inGrace)
				victim, _ = w.refresh(victim.Ticket)
				thief, _ = w.refresh(thief.Ticket)
				_ = w.request(victim)
			}
			w.clock.pass(15 * time.Minute)
			thief, _ = w.refresh(thief.Ticket)
			_ = w.request(thief)
			w.clock.pass(15 * time.Minute)
			_, err := w.refresh(victim.Ticket)
			return err
		}, auth.CodeRefreshReused},
		"after a theft the successor is dead too": {func(w *world, g auth.Grant) error {
			next, _ := w.refresh(g.Ticket)
			last, _ := w.refresh(next.Ticket)
			_, _ = w.refresh(g.Ticket)
			return w.request(last)
		}, auth.CodeSessionRevoked},
		"after a theft the thief's refresh is told the session is over": {func(w *world, g auth.Grant) error {
			next, _ := w.refresh(g.Ticket)
			last, _ := w.refresh(next.Ticket)
			_, _ = w.refresh(g.Ticket)
			_, err := w.refresh(last.Ticket)
			return err
		}, auth.CodeSessionRevoked},
		"after a theft others of the user live on": {func(w *world, g auth.Grant) error {
			other := w.signIn(alice, "tablet")
			next, _ := w.refresh(g.Ticket)
			_, _ = w.refresh(next.Ticket)
			_, _ = w.refresh(g.Ticket)
			return w.request(other)
		}, ""},
		"garbage is refused": {func(w *world, g auth.Grant) error {
			_, err := w.refresh(g.Ticket[:len(g.Ticket)-1])
			return err
		}, auth.CodeRefreshInvalid},
		// Attack: a cookie stolen from a browser, used as a refresh token.
		"a cookie is no refresh token": {func(w *world, g auth.Grant) error {
			cookie := w.Secrets.Ticket(auth.Ticket{Kind: auth.CookieTicket, SessionID: g.Identity.SessionID, Generation: 1})
			_, err := w.refresh(cookie)
			return err
		}, auth.CodeRefreshInvalid},
		"a genuine token of a session nobody knows has expired": {func(w *world, _ auth.Grant) error {
			_, err := w.refresh(w.Secrets.Ticket(auth.Ticket{Kind: auth.RefreshTicket, SessionID: auth.NewSessionID(), Generation: 1}))
			return err
		}, auth.CodeSessionExpired},
		"after logout the refresh token is dead": {func(w *world, g auth.Grant) error {
			_ = w.Logout(w.t.Context(), proof(g), auth.ScopeSession)
			_, err := w.refresh(g.Ticket)
			return err
		}, auth.CodeSessionRevoked},
		"an access token of a generation not yet made is refused": {func(w *world, g auth.Grant) error {
			g.Generation = 9
			return w.request(g)
		}, auth.CodeTokenInvalid},
		"an access token that names another user is refused": {func(w *world, g auth.Grant) error {
			g.Identity.UserID = 999
			return w.request(g)
		}, auth.CodeTokenInvalid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			wants(t, test.story(w, w.signIn(alice, "phone")), test.want)
		})
	}
}

func TestTheftNamesItsReason(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	next, _ := w.refresh(g.Ticket)
	_, _ = w.refresh(next.Ticket)
	_, _ = w.refresh(g.Ticket)
	w.restart()
	if info := w.info(g); info.IsActive || info.EndReason != auth.EndReused {
		t.Errorf("got %+v", info)
	}
}

// Another node, or a request between the store's read and now, has rotated: the
// table is behind and must ask the store, not refuse.
func TestTableBehindTheStoreAsksAgain(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	here := w.Live
	w.restart()
	next, err := w.refresh(g.Ticket)
	wants(t, err, "")
	w.Live = here
	wants(t, w.request(next), "")
}

func TestCookieRotatesInPlace(t *testing.T) {
	w := newWorld(t)
	id, code := w.start(alice)
	g, err := w.Verify(t.Context(), auth.VerifyRequest{ChallengeID: id, Code: code, Kind: auth.CookieTicket})
	wants(t, err, "")
	if g.TicketTTL != 30*24*time.Hour {
		t.Errorf("the cookie lives %v, want max_lifetime", g.TicketTTL)
	}
	visit := func(value string, rotate bool) (string, error) {
		_, rotated, _, err := w.AuthenticateCookie(t.Context(), value, auth.Activity, rotate)
		return rotated, err
	}
	rotated, err := visit(g.Ticket, true)
	if wants(t, err, ""); rotated != "" {
		t.Error("rotated before access_ttl")
	}
	w.clock.pass(15 * time.Minute)
	rotated, err = visit(g.Ticket, false)
	if wants(t, err, ""); rotated != "" {
		t.Error("rotated where it cannot be set")
	}
	second, err := visit(g.Ticket, true)
	if wants(t, err, ""); second == "" || second == g.Ticket {
		t.Fatal("not rotated after access_ttl")
	}
	again, err := visit(g.Ticket, true) // the browser's parallel requests
	if wants(t, err, ""); again != second {
		t.Error("the same cookie gave two successors")
	}
	_, err = visit(g.Ticket, false)
	wants(t, err, "")
	_, err = visit(second, true)
	wants(t, err, "")
	w.clock.pass(time.Minute)
	_, err = visit(g.Ticket, false) // Attack: a copy of the old cookie
	wants(t, err, auth.CodeSessionRevoked)
	_, err = visit(second, true)
	wants(t, err, auth.CodeSessionRevoked)
	_, err = visit("sgc1_rubbish", true)
	wants(t, err, auth.CodeTokenInvalid)
	_, err = visit(w.signIn(alice, "x").Ticket, true) // Attack: a refresh token as cookie
	wants(t, err, auth.CodeTokenInvalid)
}
