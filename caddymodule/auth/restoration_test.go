package auth_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
)

func (w *world) archive() (all []auth.Write) {
	w.t.Helper()
	err := auth.Archive(context.Background(), w.store.Store, func(r auth.Write) error {
		all = append(all, r)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// elsewhere is a world whose store is made of a backup.
func elsewhere(t *testing.T, w *world, backup []auth.Write, since *auth.Aftermath) (*world, *auth.Restoration) {
	t.Helper()
	n := newWorld(t)
	n.clock.at = w.clock.Now()
	n.store.Store = memstore.New(n.clock.Now)
	r := auth.NewRestoration(n.store, since)
	for _, record := range backup {
		if err := r.Add(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n, r
}

func (w *world) alive(id auth.SessionID) bool {
	w.t.Helper()
	_, err := w.Authenticate(context.Background(), auth.Proof{SessionID: id}, auth.Access)
	return err == nil
}

func TestRestoredIsWhatWasThere(t *testing.T) {
	w := newWorld(t)
	a, b := w.signIn(alice, "phone"), w.signIn(bob, "laptop")
	w.start(alice) // a code on its way
	w.flush()
	backup := w.archive()
	for _, r := range backup {
		if kind, _, _ := strings.Cut(r.Key, "/"); kind == "challenge" || kind == "limit" {
			t.Errorf("the backup has %s", r.Key)
		}
	}
	n, r := elsewhere(t, w, backup, new(auth.Aftermath))
	if r.Ended != 0 {
		t.Errorf("%d sessions ended", r.Ended)
	}
	for _, kind := range []string{"user", "session", "touch", "device", "phone", "member"} {
		before, after := w.records(kind), strings.ReplaceAll(n.records(kind), `,"restored":true`, "")
		if before != after || before == "" {
			t.Errorf("%s: got %q, want %q", kind, after, before)
		}
	}
	if !n.alive(a.Identity.SessionID) || !n.alive(b.Identity.SessionID) {
		t.Error("a session is gone")
	}
	// A number leads to the same user, and ids go on.
	if g := n.signIn(alice, "tablet"); g.Identity.UserID != a.Identity.UserID {
		t.Errorf("alice is %d, was %d", g.Identity.UserID, a.Identity.UserID)
	}
	if g := n.signIn("+46709998877", "phone"); g.Identity.UserID != b.Identity.UserID+1 {
		t.Errorf("a new user is %d", g.Identity.UserID)
	}
}

// records are those of a kind, as text.
func (w *world) records(kind string) string {
	var b strings.Builder
	for _, r := range w.archive() {
		if strings.HasPrefix(r.Key, kind+"/") {
			b.WriteString(r.Key + "=" + string(r.Value) + " " + r.Expires.UTC().String() + "\n")
		}
	}
	return b.String()
}

// Attack: whoever was shut out gets in again with the copy of a store from before.
func TestNothingThatEndedLivesAgain(t *testing.T) {
	now := time.Date(2027, 1, 1, 13, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name   string
		events func(a, b auth.Grant) []auth.Event
		a, b   bool // live
		reason auth.EndReason
	}{
		{"nothing", func(a, b auth.Grant) []auth.Event { return nil }, true, true, ""},
		{"a session ended", func(a, b auth.Grant) []auth.Event {
			return []auth.Event{{Name: auth.EventSessionEnded, SessionID: a.Identity.SessionID, Cause: "logout"}}
		}, false, true, auth.EndLogout},
		{"for a reason that nobody knows", func(a, b auth.Grant) []auth.Event {
			return []auth.Event{{Name: auth.EventSessionEnded, SessionID: a.Identity.SessionID, Cause: "?"}}
		}, false, true, auth.EndRevoked},
		{"a token was reused", func(a, b auth.Grant) []auth.Event {
			return []auth.Event{{Name: auth.EventTokenReused, SessionID: a.Identity.SessionID}}
		}, false, true, auth.EndReused},
		{"an operator ended one", func(a, b auth.Grant) []auth.Event {
			return []auth.Event{{Name: auth.EventSessionsRevoked, Cause: "session", UserID: a.Identity.UserID, SessionID: a.Identity.SessionID}}
		}, false, true, auth.EndRevoked},
		{"an operator ended a user's", func(a, b auth.Grant) []auth.Event {
			return []auth.Event{{Name: auth.EventSessionsRevoked, Cause: "user", UserID: a.Identity.UserID}}
		}, false, true, auth.EndRevoked},
		{"an operator ended all", func(a, b auth.Grant) []auth.Event {
			return []auth.Event{{Name: auth.EventSessionsRevoked, Cause: "all"}}
		}, false, false, auth.EndRevoked},
		{"a device was forgotten", func(a, b auth.Grant) []auth.Event {
			return []auth.Event{{Name: auth.EventDeviceDeleted, UserID: a.Identity.UserID, DeviceID: "phone"}}
		}, false, true, auth.EndRevoked},
		{"a user was banned", func(a, b auth.Grant) []auth.Event {
			return []auth.Event{{Name: auth.EventUserBanned, UserID: a.Identity.UserID}}
		}, false, true, auth.EndBanned},
		{"and let in again", func(a, b auth.Grant) []auth.Event {
			return []auth.Event{{Name: auth.EventUserBanned, UserID: a.Identity.UserID}, {Name: auth.EventUserUnbanned, UserID: a.Identity.UserID}}
		}, false, true, auth.EndBanned},
		{"a user was deleted", func(a, b auth.Grant) []auth.Event {
			return []auth.Event{{Name: auth.EventUserDeleted, UserID: a.Identity.UserID}}
		}, false, true, ""},
	} {
		w := newWorld(t)
		a, b := w.signIn(alice, "phone"), w.signIn(bob, "laptop")
		w.flush()
		since := new(auth.Aftermath)
		for _, e := range row.events(a, b) {
			e.At = now
			since.Hear(e)
		}
		n, _ := elsewhere(t, w, w.archive(), since)
		if n.alive(a.Identity.SessionID) != row.a || n.alive(b.Identity.SessionID) != row.b {
			t.Errorf("%s: want alice's session %v, bob's %v", row.name, row.a, row.b)
		}
		if row.reason != "" && !strings.Contains(n.records("session"), `"end_reason":"`+string(row.reason)+`"`) {
			t.Errorf("%s: no session has ended with %s: %s", row.name, row.reason, n.records("session"))
		}
		if row.name == "a user was banned" {
			_, err := n.verifyNow(alice)
			wants(t, err, auth.CodeAccountDisabled)
		}
		if row.name == "a user was deleted" && strings.Contains(n.records("user")+n.records("device")+n.records("touch"), alice) {
			t.Error("a deleted user is back")
		}
	}
}

func (w *world) verifyNow(phone string) (auth.Grant, error) {
	id, code := w.start(phone)
	return w.verify(id, code, "new")
}

func TestWithoutAnAuditAllSessionsEnd(t *testing.T) {
	w := newWorld(t)
	a := w.signIn(alice, "phone")
	keys := auth.Write{Key: "keys/ES256", Value: []byte("\x01{}")}
	n, r := elsewhere(t, w, append(w.archive(), keys), auth.EndAll(w.clock.Now()))
	if n.alive(a.Identity.SessionID) || r.Ended != 1 || n.records("keys") != "" {
		t.Errorf("%d ended", r.Ended)
	}
}

// A client that went on after the backup has a later token than the backup knows.
// It is taken, once; what an owner and a thief both hold still shows.
func TestTokensOfAfterTheBackup(t *testing.T) {
	for _, kind := range []auth.TicketKind{auth.RefreshTicket, auth.CookieTicket} {
		w := newWorld(t)
		id, code := w.start(alice)
		g, err := w.Verify(t.Context(), auth.VerifyRequest{ChallengeID: id, Code: code, Kind: kind})
		wants(t, err, "")
		w.flush()
		backup, tickets := w.archive(), []string{g.Ticket}
		use := func(w *world, ticket string) (next string, err error) {
			if kind == auth.CookieTicket {
				_, next, _, err = w.AuthenticateCookie(t.Context(), ticket, auth.Activity, true)
				return next, err
			}
			g, err := w.Refresh(t.Context(), ticket, kind)
			return g.Ticket, err
		}
		for range 4 {
			w.clock.pass(time.Hour)
			next, err := use(w, tickets[len(tickets)-1])
			wants(t, err, "")
			tickets = append(tickets, next)
		}
		stolen, last := tickets[2], tickets[4]

		n, _ := elsewhere(t, w, backup, new(auth.Aftermath))
		next, err := use(n, last)
		if wants(t, err, ""); next == last || next == "" {
			t.Errorf("kind %v: the token was not rotated", kind)
		}
		n.clock.pass(time.Hour)
		_, err = use(n, next)
		wants(t, err, "")
		if _, err = use(n, stolen); err == nil || n.alive(g.Identity.SessionID) {
			t.Errorf("kind %v: a copy was not noticed: %v", kind, err)
		}

		n, _ = elsewhere(t, w, backup, new(auth.Aftermath))
		_, err = use(n, stolen) // the thief is faster
		wants(t, err, "")
		if _, err = use(n, last); err == nil {
			t.Errorf("kind %v: a token of a later generation was taken a second time", kind)
		}
	}
}

// Without a restore such a token is no good.
func TestTokensFromNowhere(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	ahead := w.Secrets.Ticket(auth.Ticket{Kind: auth.RefreshTicket, SessionID: g.Identity.SessionID, Generation: 7})
	_, err := w.refresh(ahead)
	wants(t, err, auth.CodeRefreshReused)
}

// Attack: tokens of a signing key that was revoked after the backup are good again.
func TestRevokedSigningKeysDoNotComeBack(t *testing.T) {
	for cause, want := range map[string]bool{"rotate": true, "schedule": true, "revoke": false, "": false} {
		w, since := newWorld(t), new(auth.Aftermath)
		since.Hear(auth.Event{Name: auth.EventKeysRotated, Cause: cause})
		since.Hear(auth.Event{Name: auth.EventKeysRotated, Cause: "schedule"})
		n, _ := elsewhere(t, w, []auth.Write{{Key: "keys/ES256", Value: []byte("\x01{}")}}, since)
		if got := n.records("keys") != ""; got != want {
			t.Errorf("%q: the keys are back: %v", cause, got)
		}
	}
}

// The app knows ids that were given after the backup as somebody's.
func TestIdsOfTheTimeAfterAreNotGivenAgain(t *testing.T) {
	w := newWorld(t)
	w.signIn(alice, "phone")
	since := new(auth.Aftermath)
	since.Hear(auth.Event{Name: auth.EventUserCreated, UserID: 41})
	n, _ := elsewhere(t, w, w.archive(), since)
	if g := n.signIn(bob, "phone"); g.Identity.UserID != 42 {
		t.Errorf("bob is %d, want 42", g.Identity.UserID)
	}
}

// Attack: an operator took a role away, or banned, or blocked, after the backup;
// the restore gives it back.
func TestWhatOperatorsDidAfterTheBackupHolds(t *testing.T) {
	w := newWorld(t)
	a, b := w.signIn(alice, "phone").Identity.UserID, w.signIn(bob, "phone").Identity.UserID
	op := w.As("anna")
	roles, until := []string{"admin"}, w.clock.Now().Add(48*time.Hour)
	_, err := op.Change(t.Context(), a, auth.AccountChange{Roles: &roles})
	wants(t, err, "")
	_, err = op.Ban(t.Context(), b, "spam", time.Time{})
	wants(t, err, "")
	wants(t, op.Block(t.Context(), auth.Block{Prefix: "+4670"}), "")
	w.flush()
	backup, since := w.archive(), new(auth.Aftermath)
	w.Tell = func(e auth.Event) { since.Hear(asTold(t, e)) }
	roles = []string{"customer"}
	for _, act := range []func() error{
		func() error { _, err := op.Change(t.Context(), a, auth.AccountChange{Roles: &roles}); return err },
		func() error { _, err := op.Ban(t.Context(), a, "fraud", until); return err },
		func() error { _, err := op.Reopen(t.Context(), a); return err },
		func() error { _, err := op.Unban(t.Context(), b); return err },
		func() error { return op.Block(t.Context(), auth.Block{Country: "NG"}) },
		func() error { return op.Unblock(t.Context(), auth.Block{Prefix: "+4670"}) },
	} {
		wants(t, act(), "")
	}
	n, _ := elsewhere(t, w, backup, since)
	for _, id := range []uint64{a, b} {
		got, want := n.user(id), w.user(id)
		if !slices.Equal(got.Roles, want.Roles) || (got.Ban == nil) != (want.Ban == nil) || !got.Reopened.Equal(want.Reopened) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if ban := n.user(a).Ban; ban == nil || ban.Reason != "fraud" || !ban.Until.Equal(until) {
		t.Errorf("banned as %+v", ban)
	}
	if got, err := n.As("anna").Blocks(t.Context()); err != nil || len(got) != 1 || got[0].Country != "NG" {
		t.Errorf("blocked are %+v, %v", got, err)
	}
	if left := since.Left(); len(left) != 0 {
		t.Errorf("left is %q", left)
	}
}

// asTold is an event as it comes out of the audit: its values are JSON.
func asTold(t *testing.T, e auth.Event) auth.Event {
	t.Helper()
	for _, v := range []*any{&e.Before, &e.After} {
		text, err := json.Marshal(*v)
		if err == nil {
			err = json.Unmarshal(text, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// Attack: a number was given up after the backup, and is a stranger's now, who
// asks for a code.
func TestANumberGivenUpAfterTheBackupOpensNothing(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	w.flush()
	since := new(auth.Aftermath)
	since.Hear(auth.Event{Name: auth.EventPhoneChanged, UserID: g.Identity.UserID})
	n, _ := elsewhere(t, w, w.archive(), since)
	if !n.alive(g.Identity.SessionID) {
		t.Error("the owner is signed out")
	}
	if stranger := n.signIn(alice, "phone"); stranger.Identity.UserID == g.Identity.UserID {
		t.Error("a stranger is in the account")
	}
	if left := since.Left(); len(left) != 1 || !strings.Contains(left[0], "took another number") {
		t.Errorf("left is %q", left)
	}
	// What it says to do.
	op := n.As("anna")
	wants(t, op.Delete(t.Context(), g.Identity.UserID), "")
	n.clock.pass(time.Minute)
	_, err := op.Create(t.Context(), auth.User{ID: g.Identity.UserID, Phone: bob})
	wants(t, err, "")
	if back := n.signIn(bob, "phone"); back.Identity.UserID != g.Identity.UserID {
		t.Errorf("the person is user %d", back.Identity.UserID)
	}
	if stranger := n.signIn(alice, "phone"); stranger.Identity.UserID == g.Identity.UserID {
		t.Error("a stranger is in the account")
	}
}

// An audit that does not say how an account was left: a ban holds, for good.
func TestWhatIsLeftToDo(t *testing.T) {
	w := newWorld(t)
	a, b := w.signIn(alice, "phone").Identity.UserID, w.signIn(bob, "phone").Identity.UserID
	since := new(auth.Aftermath)
	for _, e := range []auth.Event{
		{Name: auth.EventUserChanged, UserID: a}, {Name: auth.EventUserBanned, UserID: b, At: w.clock.Now(), After: "?"},
		{Name: auth.EventPhoneChanged, UserID: 4}, {Name: auth.EventUserDeleted, UserID: 4}, {Name: auth.EventBlockAdded},
	} {
		since.Hear(e)
	}
	n, _ := elsewhere(t, w, w.archive(), since)
	if u := n.user(b); !u.BannedAt(n.clock.Now().Add(1000*time.Hour)) || len(u.Roles) == 0 || n.user(a).Ban != nil || len(n.user(a).Roles) == 0 {
		t.Errorf("got %+v and %+v", n.user(a), u)
	}
	if left := since.Left(); len(left) != 3 || !strings.Contains(left[0], "user 1") || !strings.Contains(left[1], "user 2") || !strings.Contains(left[2], "which block") {
		t.Errorf("got %q", left)
	}
}

func TestDamagedRecordsAreNotRestored(t *testing.T) {
	for _, key := range []string{"user/1", "session/x", "phone/x", "counter/user", "device/x/y"} {
		r := auth.NewRestoration(memstore.New(time.Now), new(auth.Aftermath))
		if err := r.Add(t.Context(), auth.Write{Key: key, Value: []byte("\x09nonsense")}); err == nil {
			t.Errorf("%s was taken", key)
		}
	}
}
