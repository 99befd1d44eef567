package auth_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const (
	aDay    = 24 * time.Hour
	dormant = 90 * aDay
)

// dormantHook is the app's word on dormant accounts.
type dormantHook func(auth.Dormant) (bool, error)

func (h dormantHook) SameOwner(_ context.Context, d auth.Dormant) (bool, error) { return h(d) }

func saysSame(auth.Dormant) (bool, error)     { return true, nil }
func saysOther(auth.Dormant) (bool, error)    { return false, nil }
func refuses(auth.Dormant) (bool, error)      { return false, auth.Refuse(auth.CodeAccountDisabled) }
func cannotAnswer(auth.Dormant) (bool, error) { return true, errNetwork }

// dormancy is a world in which accounts become dormant. Without a hook an
// operator decides.
func dormancy(t testing.TB, hook dormantHook, change ...func(*auth.Settings)) *world {
	w := newWorld(t, change...)
	w.local().DormantAfter = dormant
	if hook != nil {
		w.local().Dormant = hook
	}
	return w
}

func (w *world) local() *auth.LocalDirectory { return w.Directory.(*auth.LocalDirectory) }

// longLived lets sessions live for longer than an account takes to be dormant.
func longLived(s *auth.Settings) { s.IdleTimeout, s.MaxLifetime = 400*aDay, 400*aDay }

// flush writes the touches, and forgets what is in memory.
func (w *world) flush() {
	w.t.Helper()
	wants(w.t, w.Live.Flush(w.t.Context(), w.store), "")
	w.restart()
}

func (w *world) user(id uint64) (u auth.User) {
	w.t.Helper()
	records, err := w.store.Get(w.t.Context(), fmt.Sprint("user/", id))
	if err != nil || records[0].Version == 0 {
		w.t.Fatalf("user %d: %v", id, err)
	}
	if err := auth.Decode(records[0].Value, &u); err != nil {
		w.t.Fatal(err)
	}
	return u
}

// comeBack brings a right code, with a browser's proof.
func (w *world) comeBack(phone, proof string) (auth.Grant, error) {
	w.t.Helper()
	id, code := w.start(phone)
	return w.Verify(w.t.Context(), auth.VerifyRequest{
		ChallengeID: id, Code: code, DeviceProof: proof, Device: auth.DeviceInput{ID: "new"}, Kind: auth.RefreshTicket,
	})
}

// Attack: a number that its phone company has handed on, and whose new owner
// asks for a code.
func TestDormantAccountsAreNotOpenedByACodeAlone(t *testing.T) {
	proofs := map[string]string{}
	for _, row := range []struct {
		name  string
		story func(w *world, g auth.Grant) // after Alice has signed in
		proof string
		want  auth.Code
	}{
		{"unused for as long as that", func(w *world, _ auth.Grant) { w.clock.pass(dormant) }, "", auth.CodeAccountDisabled},
		{"a moment less", func(w *world, _ auth.Grant) { w.clock.pass(dormant - time.Millisecond) }, "", ""},
		{"unused for ten years", func(w *world, _ auth.Grant) { w.clock.pass(3650 * aDay) }, "", auth.CodeAccountDisabled},
		{"signed in again in between", func(w *world, _ auth.Grant) { w.clock.pass(60 * aDay); w.signIn(alice, "p"); w.clock.pass(60 * aDay) }, "", ""},
		{"a request in between", func(w *world, g auth.Grant) {
			w.clock.pass(6 * aDay)
			wants(w.t, w.request(g), "")
			w.clock.pass(dormant - aDay)
		}, "", ""},
		{"a refresh in between", func(w *world, g auth.Grant) {
			w.clock.pass(6 * aDay)
			_, err := w.refresh(g.Ticket)
			wants(w.t, err, "")
			w.clock.pass(dormant - aDay)
		}, "", ""},
		{"used by a session that was ended since", func(w *world, g auth.Grant) {
			w.clock.pass(6 * aDay)
			wants(w.t, w.request(g), "")
			wants(w.t, w.Logout(w.t.Context(), proof(g), auth.ScopeAll), "")
			w.clock.pass(dormant - aDay)
		}, "", ""},
		{"used by a session whose records are gone", func(w *world, g auth.Grant) {
			for range 4 {
				w.clock.pass(6 * aDay)
				wants(w.t, w.request(g), "")
				w.flush()
			}
			w.clock.pass(dormant - aDay)
		}, "", ""},
		{"and that session was unused too long too", func(w *world, g auth.Grant) {
			w.clock.pass(6 * aDay)
			wants(w.t, w.request(g), "")
			w.flush()
			w.clock.pass(dormant)
		}, "", auth.CodeAccountDisabled},
		{"an operator has reopened it", func(w *world, g auth.Grant) {
			w.clock.pass(2 * dormant)
			wants(w.t, w.Reopen(w.t.Context(), g.Identity.UserID), "")
			w.clock.pass(dormant - aDay)
		}, "", ""},
		{"and nobody came", func(w *world, g auth.Grant) {
			w.clock.pass(2 * dormant)
			wants(w.t, w.Reopen(w.t.Context(), g.Identity.UserID), "")
			w.clock.pass(dormant)
		}, "", auth.CodeAccountDisabled},
		{"a browser that signed in to it before", func(w *world, _ auth.Grant) { w.clock.pass(dormant) }, "own", ""},
		{"a browser of another number", func(w *world, _ auth.Grant) { w.clock.pass(dormant) }, "other", auth.CodeAccountDisabled},
		{"a browser that is not known any more", func(w *world, _ auth.Grant) { w.clock.pass(auth.DeviceProofLife) }, "own", auth.CodeAccountDisabled},
		{"a browser that the number knew before this account had it", func(w *world, g auth.Grant) {
			w.clock.pass(dormant)
			wants(w.t, auth.ChangeUser(w.t.Context(), w.store, g.Identity.UserID, func(u *auth.User) {
				u.CreatedAt, u.SignedIn = w.clock.Now().Add(-dormant+aDay), time.Time{}
			}), "")
			w.clock.pass(dormant)
		}, "own", auth.CodeAccountDisabled},
		{"switched off", func(w *world, _ auth.Grant) { w.local().DormantAfter = 0; w.clock.pass(3650 * aDay) }, "", ""},
	} {
		for _, restart := range []bool{false, true} {
			w := dormancy(t, nil)
			var log strings.Builder
			w.Log = slog.New(slog.NewTextHandler(&log, nil))
			g := w.signIn(alice, "phone")
			proofs["own"], proofs["other"] = g.DeviceProof, w.signIn(bob, "phone").DeviceProof
			row.story(w, g)
			wants(t, w.Live.Flush(t.Context(), w.store), "")
			if restart {
				w.restart()
			}
			back, err := w.comeBack(alice, proofs[row.proof])
			if wants(t, err, row.want); t.Failed() {
				t.Fatalf("%s, restart=%v", row.name, restart)
			}
			if err == nil && back.Identity.UserID != g.Identity.UserID {
				t.Errorf("%s: user %d, want %d", row.name, back.Identity.UserID, g.Identity.UserID)
			}
			told := strings.Contains(log.String(), "an operator must") && strings.Contains(log.String(), "auth_user_id=1 phone=…67")
			if told != (err != nil) || strings.Contains(log.String(), alice[1:]) {
				t.Errorf("%s: the log says %q", row.name, log.String())
			}
		}
	}
}

// Who was made by an operator and never signed in is as old as the account.
func TestAccountsThatNobodyHasUsed(t *testing.T) {
	w := dormancy(t, nil)
	_, err := w.Directory.Resolve(t.Context(), alice, "")
	wants(t, err, "")
	w.clock.pass(dormant - aDay)
	w.signIn(alice, "")
	_, err = w.Directory.Resolve(t.Context(), bob, "")
	wants(t, err, "")
	w.clock.pass(dormant)
	_, err = w.comeBack(bob, "")
	wants(t, err, auth.CodeAccountDisabled)
}

// A refusal uses the code up, and changes nothing else.
func TestRefusedDormantAccountStaysAsItIs(t *testing.T) {
	for name, hook := range map[string]dormantHook{"an operator decides": nil, "the hook refuses": refuses} {
		w := dormancy(t, hook, longLived)
		g := w.signIn(alice, "phone")
		before := w.user(g.Identity.UserID)
		w.clock.pass(dormant)
		id, code := w.start(alice)
		for _, want := range []auth.Code{auth.CodeAccountDisabled, auth.CodeOTPExpired} {
			_, err := w.verify(id, code, "new")
			if wants(t, err, want); t.Failed() {
				t.Fatal(name)
			}
		}
		if after := w.user(g.Identity.UserID); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("%s: %+v became %+v", name, before, after)
		}
		wants(t, w.request(g), "")
		w.signIn(alice, "") // used just now
	}
}

func TestHookOpensADormantAccount(t *testing.T) {
	var asked []auth.Dormant
	w := dormancy(t, func(d auth.Dormant) (bool, error) { asked = append(asked, d); return true, nil }, longLived)
	g := w.signIn(alice, "phone")
	w.clock.pass(aDay)
	wants(t, w.request(g), "")
	used := w.clock.Now()
	w.clock.pass(dormant)
	id, code := w.start(alice)
	back, err := w.verify(id, code, "new")
	if wants(t, err, ""); back.Identity.UserID != g.Identity.UserID || back.NewUser {
		t.Errorf("got %+v", back)
	}
	want := auth.Dormant{UserID: g.Identity.UserID, Phone: alice, LastUsedAt: used, ChallengeID: id}
	if len(asked) != 1 || asked[0] != want {
		t.Errorf("asked %+v, want %+v", asked, want)
	}
	wants(t, w.request(g), "")
	w.signIn(alice, "new")
	if len(asked) != 1 {
		t.Error("asked again")
	}
}

func TestHookGivesTheNumberToANewAccount(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := dormancy(t, saysOther, longLived)
		var log strings.Builder
		w.Log = slog.New(slog.NewTextHandler(&log, nil))
		g, ended := w.signIn(alice, "phone"), w.signIn(alice, "tablet")
		w.clock.pass(dormant)
		wants(t, w.Logout(t.Context(), proof(ended), auth.ScopeSession), "")
		if restart {
			w.flush()
		}
		back, err := w.comeBack(alice, "")
		if wants(t, err, ""); back.Identity.UserID == g.Identity.UserID || !back.NewUser {
			t.Fatalf("got %+v", back)
		}
		for range 2 {
			wants(t, w.request(g), auth.CodeSessionRevoked)
			if info := w.info(g); info.EndReason != auth.EndRevoked {
				t.Errorf("ended as %q", info.EndReason)
			}
			if info := w.info(ended); info.EndReason != auth.EndLogout {
				t.Errorf("the session of before ended as %q", info.EndReason)
			}
			w.flush()
		}
		if old := w.user(g.Identity.UserID); old.Phone != alice || !old.Detached.Equal(w.clock.Now()) {
			t.Errorf("the old account: %+v", old)
		}
		if again := w.signIn(alice, "x"); again.Identity.UserID != back.Identity.UserID || again.NewUser {
			t.Errorf("the next time: %+v", again)
		}
		// The old browser has a budget of its own still, and no way back.
		if again, err := w.comeBack(alice, g.DeviceProof); err != nil || again.Identity.UserID != back.Identity.UserID {
			t.Errorf("with the old browser: %+v, %v", again, err)
		}
		wants(t, w.Reopen(t.Context(), g.Identity.UserID), auth.CodeInvalidRequest)
		if text := log.String(); !strings.Contains(text, "goes to a new one") || strings.Contains(text, alice[1:]) {
			t.Errorf("the log says %q", text)
		}
	}
}

func TestHookThatCannotAnswerKeepsTheCodeGood(t *testing.T) {
	w := dormancy(t, cannotAnswer, longLived, func(s *auth.Settings) { s.Limits.PhoneFailures = []auth.Limit{{N: 1, Window: time.Hour}} })
	g := w.signIn(alice, "phone")
	w.clock.pass(dormant)
	id, code := w.start(alice)
	for range 7 {
		_, err := w.verify(id, code, "new")
		wants(t, err, auth.CodeStoreUnavailable)
	}
	wants(t, w.request(g), "")
	w.clock.pass(dormant) // that was a use
	id, code = w.start(alice)
	_, err := w.verify(id, code, "new")
	wants(t, err, auth.CodeStoreUnavailable)
	w.local().Dormant = dormantHook(saysSame)
	_, err = w.verify(id, code, "new")
	wants(t, err, "")
}

// Where nobody can register, a number is not taken from one account to be
// nobody's.
func TestClosedRegistrationDetachesNothing(t *testing.T) {
	w := dormancy(t, saysOther, longLived)
	g := w.signIn(alice, "phone")
	w.clock.pass(dormant)
	w.local().Registration = false
	_, err := w.comeBack(alice, "")
	wants(t, err, auth.CodeAccountDisabled)
	if u := w.user(g.Identity.UserID); !u.Detached.IsZero() {
		t.Errorf("got %+v", u)
	}
	wants(t, w.request(g), "")
}

// A ban is not escaped by waiting, and a review number is nobody's.
func TestWhoIsNeverDormant(t *testing.T) {
	w := dormancy(t, func(d auth.Dormant) (bool, error) { t.Errorf("asked about %+v", d); return false, nil }, withReviewer)
	g := w.signIn(alice, "phone")
	wants(t, w.review(), "")
	wants(t, auth.ChangeUser(t.Context(), w.store, g.Identity.UserID, func(u *auth.User) { u.Ban = new(auth.Ban) }), "")
	w.clock.pass(dormant)
	_, err := w.comeBack(alice, "")
	wants(t, err, auth.CodeAccountDisabled)
	wants(t, w.review(), "")
}

// Whatever fails on the way of a number to its new account, the same code
// finishes it: one new user, and no session of the old one.
func TestHandingOnSurvivesTrouble(t *testing.T) {
	for name := range troubles(nil) {
		for n := range 200 {
			w := dormancy(t, saysOther, longLived)
			store := &troubledStore{Store: w.store}
			w.Service.Store, w.local().Store = store, store
			g := w.signIn(alice, "phone")
			w.clock.pass(dormant)
			id, code := w.start(alice)
			ctx, leave := context.WithCancel(t.Context())
			store.arm(n, troubles(leave)[name])
			back, err := w.Verify(ctx, auth.VerifyRequest{ChallengeID: id, Code: code, Kind: auth.RefreshTicket})
			came := store.over()
			leave()
			if err != nil {
				wants(t, err, auth.CodeStoreUnavailable)
				if n%2 == 0 { // as after a crash
					w.restart()
				}
				back, err = w.verify(id, code, "new")
				wants(t, err, "")
			}
			wants(t, w.request(g), auth.CodeSessionRevoked)
			lost := name == "the answer gets lost" // then a first sign-in may have been before
			if back.Identity.UserID == g.Identity.UserID || !back.NewUser && !lost {
				t.Errorf("got %+v", back)
			}
			if sessions := liveSessions(w, back); sessions != 1 {
				t.Errorf("%d sessions of the new account", sessions)
			}
			if again := w.signIn(alice, "again"); again.Identity.UserID != back.Identity.UserID {
				t.Errorf("then user %d, now %d", back.Identity.UserID, again.Identity.UserID)
			}
			if t.Failed() {
				t.Fatalf("%s at call %d", name, n)
			}
			if !came {
				break
			}
		}
	}
}

// However many right codes come at once, and whatever the hook says to each,
// the number ends at one account, and nobody is left in the other.
func TestParallelCodesForADormantAccount(t *testing.T) {
	for name, hook := range map[string]func(n int32) bool{
		"the hook says: another's": func(int32) bool { return false },
		"the hook says both":       func(n int32) bool { return n%2 == 0 },
	} {
		for range 20 {
			var calls atomic.Int32
			w := dormancy(t, func(auth.Dormant) (bool, error) { return hook(calls.Add(1)), nil }, longLived, func(s *auth.Settings) { s.MaxPerUser = 100 })
			old := w.signIn(alice, "phone")
			w.clock.pass(dormant)
			ids, grants := make([]string, 16), make([]auth.Grant, 16)
			for i := range ids {
				ids[i], _ = w.start(alice)
			}
			inParallel(16, func(i int) {
				for { // as a client does after a 503
					g, err := w.verify(ids[i], w.Secrets.Code(ids[i], 6), fmt.Sprint(i))
					if auth.AsError(err).Code == auth.CodeStoreUnavailable && err != nil {
						continue
					}
					if grants[i] = g; err != nil {
						t.Error(err)
					}
					return
				}
			})
			owner := w.signIn(alice, "last").Identity.UserID
			for _, g := range append(grants, old) {
				want := auth.Code("")
				if g.Identity.UserID != owner {
					want = auth.CodeSessionRevoked
				}
				wants(t, w.request(g), want)
				w.flush()
				wants(t, w.request(g), want)
			}
			if detached := !w.user(old.Identity.UserID).Detached.IsZero(); detached != (owner != old.Identity.UserID) {
				t.Errorf("%s: detached: %v, and the number is user %d's", name, detached, owner)
			}
			if t.Failed() {
				return
			}
		}
	}
}

// An account that was opened while the hook thought is not taken from whoever
// opened it, and one that was taken meanwhile is not opened.
func TestDecisionsThatCrossEachOther(t *testing.T) {
	for _, first := range []bool{true, false} {
		var w *world
		var inner auth.Grant
		crossed := false
		w = dormancy(t, func(auth.Dormant) (bool, error) {
			if crossed {
				return !first, nil
			}
			crossed = true
			inner = w.signIn(alice, "inner")
			return first, nil
		}, longLived)
		old := w.signIn(alice, "phone")
		w.clock.pass(dormant)
		id, code := w.start(alice)
		_, err := w.verify(id, code, "outer")
		wants(t, err, auth.CodeStoreUnavailable)
		wants(t, w.request(inner), "")
		outer, err := w.verify(id, code, "outer")
		if wants(t, err, ""); outer.Identity.UserID != inner.Identity.UserID {
			t.Errorf("user %d, and the other one %d", outer.Identity.UserID, inner.Identity.UserID)
		}
		if opened := !first; opened != (inner.Identity.UserID == old.Identity.UserID) {
			t.Errorf("opened: %v, and user %d became %d", opened, old.Identity.UserID, inner.Identity.UserID)
		}
	}
}

// Two codes for which the hook says the same are one decision.
func TestTheFirstDecisionStays(t *testing.T) {
	var w *world
	var inner auth.Grant
	var at time.Time
	crossed := false
	w = dormancy(t, func(auth.Dormant) (bool, error) {
		if !crossed {
			crossed = true
			inner, at = w.signIn(alice, "inner"), w.clock.Now()
			w.clock.pass(time.Second)
		}
		return false, nil
	})
	old := w.signIn(alice, "phone")
	w.clock.pass(dormant)
	outer := w.signIn(alice, "outer")
	if outer.Identity.UserID != inner.Identity.UserID || !w.user(old.Identity.UserID).Detached.Equal(at) {
		t.Errorf("users %d and %d; %+v", outer.Identity.UserID, inner.Identity.UserID, w.user(old.Identity.UserID))
	}
}

// The number went on while its next sign-in was between the account and its
// seat: that one begins anew.
func TestAccountIsDetachedUnderASignIn(t *testing.T) {
	for n := range 30 {
		w := dormancy(t, saysSame, longLived)
		store := &troubledStore{Store: w.store}
		w.Service.Store = store
		g := w.signIn(alice, "phone")
		id, code := w.start(alice)
		store.arm(n, trouble{first: func() error {
			return auth.ChangeUser(t.Context(), w.store, g.Identity.UserID, func(u *auth.User) { u.Detached, u.Sessions = w.clock.Now(), nil })
		}})
		back, err := w.verify(id, code, "new")
		if !store.over() {
			return
		}
		if err != nil {
			wants(t, err, auth.CodeStoreUnavailable)
			back, err = w.verify(id, code, "new")
			wants(t, err, "")
		}
		if detached := w.user(g.Identity.UserID).Detached; back.Identity.UserID == g.Identity.UserID && !detached.IsZero() && len(w.user(g.Identity.UserID).Sessions) > 0 {
			t.Errorf("at call %d: signed in to a detached account", n)
		}
	}
	t.Error("never without")
}

// An app that keeps its own users decides about their numbers itself.
func TestOtherDirectoriesKnowNoDormancy(t *testing.T) {
	w := newWorld(t)
	directory := &rolesDirectory{roles: []string{"a"}}
	w.Directory = directory
	g := w.signIn(alice, "phone")
	wants(t, auth.ChangeUser(t.Context(), w.store, g.Identity.UserID, func(u *auth.User) { u.Detached = w.clock.Now() }), "")
	w.clock.pass(3650 * aDay)
	w.signIn(alice, "phone")
}

func TestReopen(t *testing.T) {
	w := dormancy(t, nil)
	wants(t, w.Reopen(t.Context(), 4711), auth.CodeNotFound)
	g := w.signIn(alice, "phone")
	w.clock.pass(dormant)
	for n := range 10 {
		w.store.failAfter(n)
		err := w.Reopen(t.Context(), g.Identity.UserID)
		if !w.store.repair() {
			wants(t, err, "")
			w.signIn(alice, "phone")
			return
		}
		wants(t, err, auth.CodeStoreUnavailable)
	}
	t.Error("never succeeded")
}

// The day's use is written once a day, however many sessions and requests
// there are, and again when it could not be written.
func TestUseIsNotedOnceADay(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	w.signIn(alice, "tablet")
	noted := func() (n int) {
		counting := &puts{Store: w.store, kind: "used/"}
		wants(t, w.Live.Flush(t.Context(), counting), "")
		return counting.n
	}
	if n := noted(); n != 1 {
		t.Errorf("%d notes of one user", n)
	}
	for range 3 {
		w.clock.pass(time.Hour)
		wants(t, w.request(g), "")
		if n := noted(); n != 0 {
			t.Errorf("%d notes more on the same day", n)
		}
	}
	w.clock.pass(aDay)
	wants(t, w.request(g), "")
	w.store.failAfter(0)
	if err := w.Live.Flush(t.Context(), w.store); err == nil {
		t.Error("a failed flush says nothing")
	}
	w.store.repair()
	if n := noted(); n != 1 {
		t.Errorf("%d notes after a failed one", n)
	}
}

// puts counts the writes of one kind.
type puts struct {
	auth.Store
	kind string
	n    int
}

func (p *puts) Put(ctx context.Context, writes []auth.Write) error {
	for _, w := range writes {
		if strings.HasPrefix(w.Key, p.kind) {
			p.n++
		}
	}
	return p.Store.Put(ctx, writes)
}

// Reopen is what an operator does.
func (w *world) Reopen(ctx context.Context, id uint64) error {
	_, err := w.As("test").Reopen(ctx, id)
	return err
}
