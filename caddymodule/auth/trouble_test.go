package auth_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// troubledStore does something at its n-th call from now, once.
type troubledStore struct {
	auth.Store
	mu     sync.Mutex
	before int
	what   trouble
}

// trouble happens around one call; lost calls come back as failed but are
// carried out.
type trouble struct {
	first func() error
	lost  bool
}

func (s *troubledStore) arm(n int, what trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.what = n+1, what
}

func (s *troubledStore) turn() (t trouble, now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before--
	return s.what, s.before == 0
}

// over reports whether the trouble has come, and keeps it from coming later.
func (s *troubledStore) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	came := s.before <= 0
	s.before = 0
	return came
}

func (s *troubledStore) call(carryOut func() error) error {
	t, now := s.turn()
	if !now {
		return carryOut()
	}
	if t.first != nil {
		if err := t.first(); err != nil {
			return err
		}
	}
	err := carryOut()
	if t.lost {
		return errDisk
	}
	return err
}

func (s *troubledStore) Get(ctx context.Context, keys ...string) (r []auth.Record, err error) {
	err = s.call(func() error { r, err = s.Store.Get(ctx, keys...); return err })
	return r, err
}

func (s *troubledStore) Swap(ctx context.Context, v auth.Version, w auth.Write) (next auth.Version, err error) {
	err = s.call(func() error { next, err = s.Store.Swap(ctx, v, w); return err })
	return next, err
}

func (s *troubledStore) Sync(ctx context.Context) error {
	return s.call(func() error { return s.Store.Sync(ctx) })
}

// paused does something without the trouble, and without counting its calls.
func (w *troubled) paused(do func()) {
	store := w.Service.Store
	w.Service.Store, w.Directory.(*auth.LocalDirectory).Store = w.store, w.store
	do()
	w.Service.Store, w.Directory.(*auth.LocalDirectory).Store = store, store
}

// troubles are what can happen at any call of the store.
func troubles(leave context.CancelFunc) map[string]trouble {
	return map[string]trouble{
		"the client leaves":    {first: func() error { leave(); return nil }},
		"the call fails":       {first: func() error { return errDisk }},
		"the answer gets lost": {lost: true},
	}
}

// troubled is a world in which something goes wrong.
type troubled struct {
	*world
	faulty bool // with the store, and not with the client
}

// atEveryCall carries an operation out with each trouble at each call of the
// store, and hands what came of it to check.
func atEveryCall(t *testing.T, operation func(w *troubled, ctx context.Context, g auth.Grant, id, code string) error, check func(w *troubled, g auth.Grant, id, code string, err error)) {
	for name := range troubles(nil) {
		t.Run(name, func(t *testing.T) {
			for n := range 100 {
				w := &troubled{world: newWorld(t, func(s *auth.Settings) {
					three := []auth.Limit{{N: 3, Window: time.Hour}}
					s.Limits = auth.Limits{PhoneFailures: three, PhoneSends: three}
				}), faulty: name != "the client leaves"}
				store := &troubledStore{Store: w.store}
				w.Service.Store = store
				w.Directory.(*auth.LocalDirectory).Store = store
				g := w.signIn(alice, "phone")
				id, code := w.start(alice)
				ctx, leave := context.WithCancel(t.Context())
				store.arm(n, troubles(leave)[name])
				err := operation(w, ctx, g, id, code)
				came := store.over()
				leave()
				if !w.faulty || !came {
					wants(t, err, "")
				}
				check(w, g, id, code, err)
				if t.Failed() {
					t.Fatalf("with the trouble at call %d", n)
				}
				if !came {
					return
				}
			}
			t.Error("never without the trouble")
		})
	}
}

// liveSessions counts what the user would see, in memory and after a restart.
func liveSessions(w *world, g auth.Grant) int {
	w.t.Helper()
	infos, err := w.Sessions(w.t.Context(), proof(g))
	wants(w.t, err, "")
	wants(w.t, w.Live.Flush(w.t.Context(), w.store), "")
	w.restart()
	again, err := w.Sessions(w.t.Context(), proof(g))
	wants(w.t, err, "")
	if len(again) != len(infos) {
		w.t.Errorf("%d sessions, after a restart %d", len(infos), len(again))
	}
	return len(infos)
}

// A sign-in is done whole or not at all: after any fault of ours the same code
// signs in once, and no session is left that nobody has.
func TestSignInSurvivesTrouble(t *testing.T) {
	var got auth.Grant
	atEveryCall(t, func(w *troubled, ctx context.Context, _ auth.Grant, id, code string) (err error) {
		got, err = w.Verify(ctx, auth.VerifyRequest{ChallengeID: id, Code: code, Device: auth.DeviceInput{ID: "new"}, Kind: auth.RefreshTicket})
		return err
	}, func(w *troubled, _ auth.Grant, id, code string, err error) {
		if err != nil {
			wants(w.t, err, auth.CodeStoreUnavailable)
			if got, err = w.verify(id, code, "newer"); err != nil {
				w.t.Fatalf("the same code again: %v", err)
			}
		}
		if n := liveSessions(w.world, got); n != 2 {
			w.t.Errorf("%d live sessions, want 2", n)
		}
		_, err = w.verify(id, code, "new")
		wants(w.t, err, auth.CodeOTPExpired)
		if w.faulty {
			return // then an event may have been counted: rather one too many
		}
		// Right codes were no failures: the number still has its three.
		id, _ = w.start(alice)
		for range 3 {
			_, err = w.verify(id, "wrong", "")
			wants(w.t, err, auth.CodeOTPInvalid)
		}
	})
}

// The user of a sign-in that failed half way is as new at the next one.
func TestNewUserIsToldAfterTrouble(t *testing.T) {
	for n := range 100 {
		w := newWorld(t)
		store := &troubledStore{Store: w.store}
		w.Service.Store = store
		w.Directory.(*auth.LocalDirectory).Store = store
		id, code := w.start(bob)
		store.arm(n, trouble{first: func() error { return errDisk }})
		g, err := w.verify(id, code, "phone")
		if !store.over() {
			return
		}
		if err != nil {
			g, err = w.verify(id, code, "phone")
			wants(t, err, "")
		}
		if !g.NewUser {
			t.Fatalf("after a fault at call %d: not new", n)
		}
	}
	t.Error("never without a fault")
}

// The browser's ten requests of one page, all with the cookie that is due.
func TestParallelRequestsShareOneCookie(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.RefreshGrace = 0 })
	id, code := w.start(alice)
	g, err := w.Verify(t.Context(), auth.VerifyRequest{ChallengeID: id, Code: code, Kind: auth.CookieTicket})
	wants(t, err, "")
	value := g.Ticket
	for range 20 {
		w.clock.pass(w.Settings.AccessTTL)
		rotated := make([]string, 10)
		inParallel(10, func(i int) {
			_, next, _, err := w.AuthenticateCookie(t.Context(), value, auth.Activity, true)
			if err != nil {
				t.Error(err)
			}
			rotated[i] = next
		})
		for _, next := range rotated {
			if next != rotated[0] || next == value || next == "" {
				t.Fatalf("got the cookies %v", rotated)
			}
		}
		value = rotated[0]
		if _, _, _, err := w.AuthenticateCookie(t.Context(), value, auth.Activity, true); err != nil {
			t.Fatal(err)
		}
	}
}

// toldAlike holds memory and store to one verdict on a session, and to its end
// if err says that it was ended.
func (w *troubled) toldAlike(g auth.Grant, err error) {
	w.t.Helper()
	before := w.request(g)
	wants(w.t, w.Live.Flush(w.t.Context(), w.store), "")
	w.restart()
	if after := w.request(g); (before == nil) != (after == nil) {
		w.t.Errorf("in memory: %v; in the store: %v", before, after)
	}
	if err == nil {
		wants(w.t, before, auth.CodeSessionRevoked)
	}
}

// A logout that could not be written, or whose answer was lost, is told alike
// by memory and store; and the next one does it.
func TestLogoutSurvivesTrouble(t *testing.T) {
	for _, scope := range []auth.Scope{auth.ScopeSession, auth.ScopeAll} {
		t.Run(string(scope), func(t *testing.T) {
			atEveryCall(t, func(w *troubled, ctx context.Context, g auth.Grant, _, _ string) error {
				return w.Logout(ctx, proof(g), scope)
			}, func(w *troubled, g auth.Grant, _, _ string, err error) {
				w.toldAlike(g, err)
				wants(w.t, w.Logout(w.t.Context(), proof(g), scope), "")
				wants(w.t, w.request(g), auth.CodeSessionRevoked)
			})
		})
	}
}

// A sign-in that ends the session before it on the device does so in memory and
// in the store, or in neither.
func TestReplacementSurvivesTrouble(t *testing.T) {
	atEveryCall(t, func(w *troubled, ctx context.Context, _ auth.Grant, id, code string) error {
		_, err := w.Verify(ctx, auth.VerifyRequest{ChallengeID: id, Code: code, Device: auth.DeviceInput{ID: "phone"}, Kind: auth.RefreshTicket})
		return err
	}, func(w *troubled, g auth.Grant, _, _ string, err error) {
		w.toldAlike(g, err)
	})
}

// A session in doubt is neither let through nor signed out while the store is
// away.
func TestDoubtIsNoVerdict(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	w.store.failAfter(0)
	wants(t, w.Logout(t.Context(), proof(g), auth.ScopeSession), auth.CodeStoreUnavailable)
	wants(t, w.request(g), auth.CodeStoreUnavailable)
	w.store.repair()
	wants(t, w.request(g), "")
}

func TestRefreshSurvivesTrouble(t *testing.T) {
	var got auth.Grant
	atEveryCall(t, func(w *troubled, ctx context.Context, g auth.Grant, _, _ string) (err error) {
		got, err = w.Refresh(ctx, g.Ticket, auth.RefreshTicket)
		return err
	}, func(w *troubled, g auth.Grant, _, _ string, err error) {
		if err != nil {
			wants(w.t, err, auth.CodeStoreUnavailable)
			got, err = w.refresh(g.Ticket)
			wants(w.t, err, "")
		}
		if got.Generation != 2 {
			w.t.Errorf("generation %d, want 2", got.Generation)
		}
		wants(w.t, w.request(got), "")
	})
}

func TestSendSurvivesTrouble(t *testing.T) {
	atEveryCall(t, func(w *troubled, ctx context.Context, _ auth.Grant, _, _ string) error {
		_, err := w.Start(ctx, auth.StartRequest{Phone: alice})
		return err
	}, func(w *troubled, _ auth.Grant, _, _ string, err error) {
		// Three sends an hour, two were before: this one counts once.
		if err == nil {
			_, err = w.Start(w.t.Context(), auth.StartRequest{Phone: alice})
			wants(w.t, err, auth.CodeRateLimited)
		}
	})
}

// Attack: right codes in parallel, or repeated, to lock the number's owner out.
func TestParallelRightCodesAreNoFailures(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneFailures = []auth.Limit{{N: 5, Window: time.Hour}} })
	id, code := w.start(alice)
	inParallel(5, func(int) { _, _ = w.verify(id, code, "phone") })
	id, _ = w.start(alice)
	for i := range 5 {
		_, err := w.verify(id, "wrong", "")
		want := auth.CodeOTPInvalid
		if i == 4 {
			want = auth.CodeOTPAttemptsExhausted
		}
		wants(t, err, want)
	}
}

// A number that is locked costs the challenge no tries: nothing was compared.
func TestLockedNumberSpendsNoTry(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneFailures = []auth.Limit{{N: 1, Window: time.Minute}} })
	id, code := w.start(alice)
	_, err := w.verify(id, "wrong", "")
	wants(t, err, auth.CodeOTPInvalid)
	for range 9 {
		_, err = w.verify(id, code, "")
		wants(t, err, auth.CodeTooManyFailures)
	}
	w.clock.pass(time.Minute)
	_, err = w.verify(id, code, "")
	wants(t, err, "")
}

// Attack: a resend at the instant a challenge ends, to make it anew with the
// same code and fresh tries.
func TestResendAtTheEndRevivesNothing(t *testing.T) {
	w := newWorld(t)
	id, code := w.start(alice)
	w.clock.pass(5*time.Minute - time.Second)
	store := &troubledStore{Store: w.store}
	w.Service.Store = store
	store.arm(1, trouble{first: func() error { w.clock.pass(time.Second); return nil }})
	p, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, ChallengeID: id})
	wants(t, err, "")
	if !store.over() || p.ChallengeID == id || w.outbox.code(alice) == code {
		t.Errorf("challenge %s with code %s came back", id, code)
	}
}

// A delivery that fails late takes its own event out, and none that came since.
func TestLateFailureGivesItsOwnSendBack(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneSends = []auth.Limit{{N: 1, Window: time.Minute}} })
	var failures []func(error)
	w.Outbox = outboxFunc(func(_ auth.Message, done func(error)) error {
		failures = append(failures, done)
		return nil
	})
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, "")
	w.clock.pass(time.Minute)
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, "")
	failures[0](errNetwork)
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, auth.CodeRateLimited)
	failures[1](errNetwork)
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, "")
}

type outboxFunc func(auth.Message, func(error)) error

func (f outboxFunc) Enqueue(m auth.Message, done func(error)) error { return f(m, done) }

// A server whose clock was a year ahead must not lock everybody out for a year.
func TestLimitOutlivesNoWrongClock(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.GlobalSends = []auth.Limit{{N: 2, Window: time.Hour}} })
	w.clock.pass(365 * 24 * time.Hour)
	w.start(alice)
	w.start(alice)
	w.clock.pass(-365 * 24 * time.Hour)
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: bob})
	wants(t, err, auth.CodeRateLimited)
	if got := auth.AsError(err).RetryAfter; got != time.Hour {
		t.Errorf("retry after %v, want an hour", got)
	}
}

// A sign-in gives the whole times, though the clock goes on while it is made.
func TestFreshSignInHasTheWholeTimes(t *testing.T) {
	w := newWorld(t)
	w.Service.Now = func() time.Time { w.clock.pass(3 * time.Millisecond); return w.clock.Now() }
	for _, kind := range []auth.TicketKind{auth.RefreshTicket, auth.CookieTicket} {
		id, code := w.start(alice)
		g, err := w.Verify(t.Context(), auth.VerifyRequest{ChallengeID: id, Code: code, Kind: kind})
		wants(t, err, "")
		want := w.Settings.IdleTimeout
		if kind == auth.CookieTicket {
			want = w.Settings.MaxLifetime
		}
		if g.TicketTTL != want || g.AccessTTL != w.Settings.AccessTTL || !g.Now.Equal(g.Identity.AuthTime) {
			t.Errorf("got %v and %v, want %v and %v", g.TicketTTL, g.AccessTTL, want, w.Settings.AccessTTL)
		}
	}
}

// A later sign-in clears the seats of sessions that have run out; they keep
// the reason for which they ended.
func TestRunOutSessionKeepsItsReason(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	w.clock.pass(8 * 24 * time.Hour)
	for i := range 2 {
		w.restart()
		w.signIn(alice, fmt.Sprint(i))
	}
	w.restart()
	if info := w.info(g); info.EndReason != auth.EndIdle {
		t.Errorf("ended as %q, want idle", info.EndReason)
	}
}

// The generation after the last one would be the first again.
func TestGenerationsDoNotWrap(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	const last = 1<<32 - 1
	wants(t, auth.ChangeSession(t.Context(), w.store, g.Identity.SessionID, func(v *auth.Session) { v.Generation = last }), "")
	w.restart()
	_, err := w.refresh(w.Secrets.Ticket(auth.Ticket{Kind: auth.RefreshTicket, SessionID: g.Identity.SessionID, Generation: last}))
	wants(t, err, auth.CodeSessionExpired)
}

// Attack: roles that the directory has taken away live on in another session.
func TestRolesChangeForAllSessionsOfAUser(t *testing.T) {
	w := newWorld(t)
	directory := &rolesDirectory{roles: []string{"admin"}}
	w.Directory = directory
	old := w.signIn(alice, "old")
	directory.roles = []string{"guest"}
	w.signIn(alice, "new")
	id, err := w.Authenticate(t.Context(), proof(old), auth.Access)
	if wants(t, err, ""); id.RolesText != "guest" {
		t.Errorf("the other session has the roles %s, want guest", id.RolesText)
	}
}

type rolesDirectory struct{ roles []string }

func (d *rolesDirectory) Resolve(context.Context, string, string) (auth.Account, error) {
	return auth.Account{UserID: 7, Type: "staff", Roles: d.roles}, nil
}

// Nothing that signs in, and no full number, stands in a log, whatever fails.
func TestLogsHoldNoSecret(t *testing.T) {
	var log strings.Builder
	var secrets []string
	for n := range 60 {
		w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneSends = []auth.Limit{{N: 3, Window: time.Hour}} })
		w.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		w.outbox.failure = errNetwork
		id, code := w.start(alice)
		w.outbox.failure = nil
		w.store.failAfter(n)
		g, err := w.verify(id, code, "phone")
		w.store.repair()
		if err != nil {
			w.Log.Error("answered", "error", err)
			if g, err = w.verify(id, code, "phone"); err != nil {
				w.Log.Error("answered", "error", err)
				continue
			}
		}
		w.store.failAfter(n % 5)
		for _, err := range []error{w.request(g), w.Logout(t.Context(), proof(g), auth.ScopeAll)} {
			w.Log.Error("answered", "error", err)
		}
		_, err = w.refresh(g.Ticket)
		w.Log.Error("answered", "error", err)
		secrets = append(secrets, code, g.Ticket)
	}
	for _, secret := range append(secrets, alice, alice[1:]) {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
	if !strings.Contains(log.String(), "code not delivered") || len(secrets) == 0 {
		t.Error("the log holds nothing")
	}
}
