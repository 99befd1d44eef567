package auth_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// passenger is a request in flight that remembers how it was cut.
type passenger struct {
	auth.Flight
	mu  sync.Mutex
	cut []auth.EndReason
}

func (p *passenger) Cut(reason auth.EndReason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = append(p.cut, reason)
}

// reason is how it was cut, "" for not at all.
func (p *passenger) reason() auth.EndReason {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.cut) == 0 {
		return ""
	}
	return p.cut[0]
}

func (w *world) board(g auth.Grant) *passenger {
	p := &passenger{}
	w.Live.Board(&p.Flight, g.Identity.SessionID, p)
	return p
}

// sweep looks at once, and again when the last words are spoken.
func (w *world) sweep() {
	w.Sweep(w.t.Context())
	w.clock.pass(150 * time.Millisecond)
	w.Sweep(w.t.Context())
}

func TestFlightsEndWithTheirSession(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(w *world, g auth.Grant) error
		want auth.EndReason
	}{
		{"logout", func(w *world, g auth.Grant) error {
			return w.Logout(t.Context(), proof(g), auth.ScopeSession)
		}, auth.EndLogout},
		{"logout of all", func(w *world, g auth.Grant) error {
			return w.Logout(t.Context(), proof(g), auth.ScopeAll)
		}, auth.EndLogout},
		{"revoked from another device", func(w *world, g auth.Grant) error {
			return w.Revoke(t.Context(), proof(w.signIn(alice, "other")), g.Identity.SessionID)
		}, auth.EndRevoked},
		{"all others revoked", func(w *world, _ auth.Grant) error {
			return w.RevokeOthers(t.Context(), proof(w.signIn(alice, "other")))
		}, auth.EndRevoked},
		{"a new sign-in on the same device", func(w *world, _ auth.Grant) error {
			w.signIn(alice, "phone")
			return nil
		}, auth.EndReplaced},
		{"one session too many", func(w *world, _ auth.Grant) error {
			w.Settings.MaxPerUser = 1
			w.signIn(alice, "other")
			return nil
		}, auth.EndEvicted},
		{"an old refresh token", func(w *world, g auth.Grant) error {
			next, err := w.refresh(g.Ticket)
			if err != nil {
				return err
			}
			if _, err := w.refresh(next.Ticket); err != nil {
				return err
			}
			_, err = w.refresh(g.Ticket)
			wants(t, err, auth.CodeRefreshReused)
			return nil
		}, auth.EndReused},
		{"the idle timeout", func(w *world, _ auth.Grant) error {
			w.clock.pass(w.Settings.IdleTimeout)
			return nil
		}, auth.EndIdle},
		{"the end of its life", func(w *world, _ auth.Grant) error {
			w.Settings.IdleTimeout = 2 * w.Settings.MaxLifetime
			w.clock.pass(w.Settings.MaxLifetime)
			return nil
		}, auth.EndExpired},
		{"the end of all sessions", func(w *world, _ auth.Grant) error { return w.As("test").RevokeAll(t.Context()) }, auth.EndRevoked},
		{"a ban that this process was not told of", func(w *world, g auth.Grant) error {
			w.restart()
			return auth.ChangeUser(t.Context(), w.store, g.Identity.UserID, func(u *auth.User) { u.Ban = new(auth.Ban) })
		}, auth.EndBanned},
		{"a seat that was taken, by a process that died then", func(w *world, g auth.Grant) error {
			w.restart()
			return auth.ChangeUser(t.Context(), w.store, g.Identity.UserID, func(u *auth.User) { u.Sessions[0].End = auth.EndReplaced })
		}, auth.EndReplaced},
		{"an end by another node", func(w *world, g auth.Grant) error {
			w.restart()
			return auth.ChangeSession(t.Context(), w.store, g.Identity.SessionID, func(v *auth.Session) { v.EndReason = auth.EndLogout })
		}, auth.EndLogout},
		{"its record has aged out", func(w *world, _ auth.Grant) error {
			w.restart()
			w.clock.pass(100 * 24 * time.Hour)
			return nil
		}, auth.EndExpired},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			g := w.signIn(alice, "phone")
			if err := test.end(w, g); err != nil {
				t.Fatal(err)
			}
			flight, late, stranger := w.board(g), w.board(g), w.board(w.signIn(bob, "phone"))
			w.Sweep(t.Context())
			late.Leave()
			if got := flight.reason(); got != "" {
				t.Errorf("cut before its last words: %q", got)
			}
			w.clock.pass(150 * time.Millisecond)
			w.Sweep(t.Context())
			w.sweep() // one that was over, and had to be read from the store
			if got := flight.reason(); got != test.want {
				t.Errorf("cut by %q, want %q", got, test.want)
			}
			if got := late.reason(); got != "" {
				t.Errorf("cut after it had arrived: %q", got)
			}
			if got := stranger.reason(); got != "" {
				t.Errorf("somebody else's flight was cut: %q", got)
			}
		})
	}
}

// What ends a session elsewhere is found out, and cut, as fast as what ends it
// here: the last words run while the store is asked.
func TestFlightOfUnknownSessionIsCutAtTheSecondSweep(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	flight := w.board(g)
	w.restart()
	w.Live.Board(&flight.Flight, g.Identity.SessionID, flight)
	if err := auth.ChangeSession(t.Context(), w.store, g.Identity.SessionID, func(v *auth.Session) { v.EndReason = auth.EndLogout }); err != nil {
		t.Fatal(err)
	}
	w.sweep()
	if got := flight.reason(); got != auth.EndLogout {
		t.Errorf("cut by %q", got)
	}
}

func TestFlightsOfLivingSessionsGoOn(t *testing.T) {
	for _, test := range []struct {
		name string
		live func(w *world, g auth.Grant)
	}{
		{"nothing happens", func(*world, auth.Grant) {}},
		{"its session left the table", func(w *world, _ auth.Grant) { w.restart() }},
		{"the person sends something now and then", func(w *world, g auth.Grant) {
			for range 5 {
				w.clock.pass(w.Settings.IdleTimeout * 3 / 4)
				w.Live.Active(g.Identity.SessionID, w.clock.Now())
			}
		}},
		{"the session is refreshed", func(w *world, g auth.Grant) {
			if _, err := w.refresh(g.Ticket); err != nil {
				t.Fatal(err)
			}
		}},
		{"a logout that could not be kept", func(w *world, g auth.Grant) {
			w.store.failAfter(0)
			if err := w.Logout(t.Context(), proof(g), auth.ScopeSession); err == nil {
				t.Fatal("a logout that was not kept was answered")
			}
			w.store.repair()
		}},
		{"the store cannot say", func(w *world, _ auth.Grant) {
			w.restart()
			w.store.failAfter(0)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			g := w.signIn(alice, "phone")
			test.live(w, g)
			flight := w.board(g)
			for range 5 {
				w.sweep()
			}
			if got := flight.reason(); got != "" {
				t.Errorf("cut by %q", got)
			}
		})
	}
}

// An end that this process knows of and could not write is over for the store
// when that is back; the flight learns it from there.
func TestFlightIsCutWhenTheStoreIsBack(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	w.restart()
	if err := auth.ChangeUser(t.Context(), w.store, g.Identity.UserID, func(u *auth.User) { u.Ban = new(auth.Ban) }); err != nil {
		t.Fatal(err)
	}
	flight := w.board(g)
	w.store.failAfter(0)
	w.sweep()
	w.sweep()
	if got := flight.reason(); got != "" {
		t.Fatalf("cut by %q while nobody could say", got)
	}
	w.store.repair()
	w.sweep()
	if got := flight.reason(); got != auth.EndBanned {
		t.Errorf("cut by %q", got)
	}
}

// Whatever happens to the store in the middle of a logout: what is in flight
// ends if the session has ended, and goes on if it has not.
func TestFlightsSurviveTrouble(t *testing.T) {
	for _, scope := range []auth.Scope{auth.ScopeSession, auth.ScopeAll} {
		atEveryCall(t, func(w *troubled, ctx context.Context, g auth.Grant, _, _ string) error {
			return w.Logout(ctx, proof(g), scope)
		}, func(w *troubled, g auth.Grant, _, _ string, _ error) {
			flight := w.board(g)
			w.sweep()
			w.sweep()
			if cut, over := flight.reason() != "", w.request(g) != nil; cut != over {
				w.t.Errorf("cut: %v, the session is over: %v", cut, over)
			}
		})
	}
}

// While a logout waits for a store that will refuse it, nothing has ended yet.
func TestFlightsWaitForTheWrite(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	flight := w.board(g)
	store := &troubledStore{Store: w.store}
	w.Service.Store = store
	store.arm(1, trouble{first: func() error { // the swap, after its read
		w.store.failAfter(0)
		w.sweep()
		return errDisk
	}})
	wants(t, w.Logout(t.Context(), proof(g), auth.ScopeSession), auth.CodeStoreUnavailable)
	if !store.over() {
		t.Fatal("there was no swap")
	}
	if got := flight.reason(); got != "" {
		t.Errorf("cut by %q for a logout that was not kept", got)
	}
}

// A store that could not answer for a while takes nothing off the last words of
// an end that comes later.
func TestLastWordsAfterADoubt(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	w.restart()
	flight := w.board(g)
	w.store.failAfter(0)
	w.Sweep(t.Context())
	w.store.repair()
	w.sweep()
	w.clock.pass(time.Minute)
	wants(t, w.Logout(t.Context(), proof(g), auth.ScopeSession), "")
	w.Sweep(t.Context())
	if got := flight.reason(); got != "" {
		t.Errorf("cut at once: %q", got)
	}
}

// A person who types at the very moment when the session has run out is too
// late: the sweep has seen it over, and nothing revives it.
func TestActivityRevivesNothing(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	flight := w.board(g)
	w.clock.pass(w.Settings.IdleTimeout)
	w.Sweep(t.Context())
	w.Live.Active(g.Identity.SessionID, w.clock.Now())
	w.clock.pass(150 * time.Millisecond)
	w.Sweep(t.Context())
	if got := flight.reason(); got != auth.EndIdle {
		t.Errorf("cut by %q", got)
	}
	wants(t, w.request(g), auth.CodeSessionExpired)
}

// A clock that is set back gives a session its life again by no rule of ours,
// and a request in flight no more than another moment.
func TestFlightsWhenTheClockIsSetBack(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	flight := w.board(g)
	if err := w.Logout(t.Context(), proof(g), auth.ScopeSession); err != nil {
		t.Fatal(err)
	}
	w.Sweep(t.Context())
	w.clock.pass(-time.Hour)
	w.Sweep(t.Context())
	if got := flight.reason(); got != "" {
		t.Errorf("cut at once: %q", got)
	}
	w.clock.pass(150 * time.Millisecond)
	w.Sweep(t.Context())
	if got := flight.reason(); got != auth.EndLogout {
		t.Errorf("cut by %q", got)
	}
}

// What is in flight keeps its session in a table that is full: else every sweep
// would read it from the store again.
func TestFlightKeepsItsSessionInTheTable(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.MaxPerUser = 100 })
	w.Live = auth.NewLive(1) // 16 in each shard
	g := w.signIn(alice, "phone")
	id := g.Identity.SessionID
	w.board(g)
	w.Sweep(t.Context())
	if err := w.Live.Flush(t.Context(), w.store); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(time.Minute)
	w.Sweep(t.Context())
	w.clock.pass(-time.Second) // all others were used before the last sweep
	w.Live.Crowd(id, 100, w.clock.Now())
	calls := w.store.calls
	w.Sweep(t.Context())
	if n := w.store.calls - calls; n > 0 {
		t.Errorf("the sweep asked the store %d times", n)
	}
}

// Any order of boarding and leaving keeps exactly those on board who are.
func TestBoardAndLeave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live := auth.NewLive(1)
		var aboard []*passenger
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(aboard) == 0 || rapid.Bool().Draw(t, "board") {
				p := &passenger{}
				live.Board(&p.Flight, auth.SessionID{byte(rapid.IntRange(0, 1).Draw(t, "shard"))}, p)
				aboard = append(aboard, p)
				continue
			}
			i := rapid.IntRange(0, len(aboard)-1).Draw(t, "who")
			aboard[i].Leave()
			aboard[i].Leave() // once more changes nothing
			aboard = append(aboard[:i], aboard[i+1:]...)
		}
		if n := live.InFlight(); n != len(aboard) {
			t.Fatalf("%d in flight, want %d", n, len(aboard))
		}
		live.CutAll()
		for _, p := range aboard {
			if len(p.cut) != 1 || p.cut[0] != "" {
				t.Fatalf("cut %q, want once and without a reason", p.cut)
			}
			p.Leave()
		}
		if n := live.InFlight(); n != 0 {
			t.Fatalf("%d in flight after all have left", n)
		}
	})
}

// Requests come and go while sessions end and sweeps run.
func TestFlightsAtTheSameTime(t *testing.T) {
	w := newWorld(t)
	var grants []auth.Grant
	for i := range 8 {
		grants = append(grants, w.signIn(alice, fmt.Sprint("device ", i)))
	}
	var wg sync.WaitGroup
	for _, g := range grants {
		for range 2 {
			wg.Go(func() {
				for range 500 {
					p := w.board(g)
					w.Live.Active(g.Identity.SessionID, w.clock.Now())
					p.Leave()
				}
			})
		}
	}
	for _, g := range grants[:4] {
		w.Sweep(t.Context())
		if err := w.Logout(t.Context(), proof(g), auth.ScopeSession); err != nil {
			t.Error(err)
		}
		w.clock.pass(time.Second)
	}
	wg.Wait()
	if n := w.Live.InFlight(); n != 0 {
		t.Errorf("%d in flight after all have left", n)
	}
}

func TestPatrol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start := time.Now()
		w.Now = func() time.Time { return w.clock.Now().Add(time.Since(start)) }
		g := w.signIn(alice, "phone")
		flight := w.board(g)
		var rules atomic.Pointer[auth.Service]
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			auth.Patrol(ctx, rules.Load)
		}()
		if err := w.Logout(ctx, proof(g), auth.ScopeSession); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := flight.reason(); got != "" {
			t.Errorf("cut by %q under no rules", got)
		}
		rules.Store(w.Service)
		over := time.Now()
		for flight.reason() == "" && time.Since(over) < time.Minute {
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		if took := time.Since(over); took > 300*time.Millisecond {
			t.Errorf("cut after %v", took)
		}
		stop()
		<-ended
	})
}
