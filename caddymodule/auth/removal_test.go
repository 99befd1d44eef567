package auth_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestDelete(t *testing.T) {
	w := newWorld(t)
	o := w.As("test")
	g, stranger := w.signIn(alice, "phone"), w.signIn(bob, "phone")
	wants(t, o.Delete(t.Context(), g.Identity.UserID), "")
	wants(t, w.request(g), auth.CodeSessionRevoked)
	_, err := w.refresh(g.Ticket)
	wants(t, err, auth.CodeSessionRevoked)
	wants(t, w.request(stranger), "")
	w.restart()
	wants(t, w.request(g), auth.CodeSessionExpired) // nothing tells any more that it was one
	wants(t, w.request(stranger), "")
	_, err = o.User(t.Context(), g.Identity.UserID)
	wants(t, err, auth.CodeNotFound)
	_, err = o.UserOf(t.Context(), alice)
	wants(t, err, auth.CodeNotFound)
	_, err = o.Devices(t.Context(), g.Identity.UserID, "", 10)
	wants(t, err, auth.CodeNotFound)
	left, err := w.store.List(t.Context(), "device/1/", "", 10)
	wants(t, err, "")
	if len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	for _, act := range []func() error{
		func() error { return o.Delete(t.Context(), g.Identity.UserID) },
		func() error { _, err := o.Ban(t.Context(), g.Identity.UserID, "", time.Time{}); return err },
		func() error { return o.RevokeUser(t.Context(), g.Identity.UserID) },
		func() error { return o.UnlockUser(t.Context(), g.Identity.UserID) },
		func() error { return o.DeleteDevice(t.Context(), g.Identity.UserID, "phone") },
		func() error { return o.Delete(t.Context(), 4711) },
	} {
		wants(t, act(), auth.CodeNotFound)
	}
	page, err := o.Users(t.Context(), auth.UserQuery{Limit: 10})
	wants(t, err, "")
	if len(page.Users) != 1 || page.Users[0].ID != stranger.Identity.UserID {
		t.Errorf("listed: %+v", page.Users)
	}

	w.clock.pass(time.Minute)
	again := w.signIn(alice, "phone")
	if again.Identity.UserID == g.Identity.UserID || !again.NewUser {
		t.Errorf("the number's next user is %d", again.Identity.UserID)
	}
	_, err = o.Create(t.Context(), auth.User{ID: g.Identity.UserID, Phone: "+46701112233"})
	wants(t, err, "") // the id is free, a moment later
}

// Attack: somebody whose account is being deleted signs in at that moment, and
// the account comes back with the same id.
func TestDeleteDuringASignIn(t *testing.T) {
	remove := func(w *world) { wants(t, w.As("test").Delete(t.Context(), 1), "") }
	check := func(w *world, before, after auth.Grant, err error) {
		forgotten(w, before, nil)
		if err == nil && after.Identity.UserID != 1 {
			wants(t, w.request(after), "") // came so early that it found no user any more
		} else {
			forgotten(w, after, err)
		}
		wants(t, w.Live.Flush(t.Context(), w.Store), "")
		records, err := w.store.Get(t.Context(), "touch/"+before.Identity.SessionID.String(), "used/1", "device/1/phone", "device/1/tablet")
		wants(t, err, "")
		for i, r := range records {
			if r.Version != 0 {
				t.Errorf("record %d was written late: %s", i, r.Value)
			}
		}
		if _, err := w.As("test").User(t.Context(), 1); err == nil {
			t.Error("the account is back")
		}
	}
	t.Run("sign-in", func(t *testing.T) { during(t, remove, logsIn, check) })
	t.Run("refresh", func(t *testing.T) { during(t, remove, refreshes, check) })
}

// forgotten is over for the session of a deleted user, whose record may be gone.
func forgotten(w *world, g auth.Grant, err error) {
	w.t.Helper()
	if err != nil {
		return
	}
	if err := w.request(g); !errors.Is(err, auth.Refuse(auth.CodeSessionRevoked)) && !errors.Is(err, auth.Refuse(auth.CodeSessionExpired)) {
		w.t.Errorf("the session of a deleted user: %v", err)
	}
}

// A deletion that stopped half-way lets nobody in, and goes on when it is asked
// again.
func TestDeleteGoesOn(t *testing.T) {
	for n := range 100 {
		w := newWorld(t)
		g := w.signIn(alice, "phone")
		w.store.failAfter(n)
		err := w.As("test").Delete(t.Context(), 1)
		if !w.store.repair() {
			wants(t, err, "")
			return
		}
		wants(t, err, auth.CodeStoreUnavailable)
		if w.request(g) != nil { // it has begun
			w.clock.pass(time.Minute)
			id, code := w.start(alice)
			if again, err := w.verify(id, code, "phone"); err == nil && again.Identity.UserID == 1 {
				t.Fatalf("call %d: into an account that is half gone", n)
			}
		}
		err = w.As("test").Delete(t.Context(), 1)
		ignore(&err, auth.CodeNotFound)
		wants(t, err, "")
		if _, err := w.As("test").User(t.Context(), 1); err == nil {
			t.Fatalf("call %d: it is still there", n)
		}
	}
	t.Error("it never ends")
}

// Attack: an id is free again while a sign-in of its former owner is under way,
// which then ends up in the account of whoever got the id.
func TestIDOfADeletedUserStaysTakenForAMoment(t *testing.T) {
	w := newWorld(t)
	w.signIn(alice, "phone")
	wants(t, w.As("test").Delete(t.Context(), 1), "")
	w.clock.pass(time.Minute - time.Millisecond)
	_, err := w.As("test").Create(t.Context(), auth.User{ID: 1, Phone: bob})
	wants(t, err, auth.CodeUserExists)
	w.clock.pass(time.Millisecond)
	_, err = w.As("test").Create(t.Context(), auth.User{ID: 1, Phone: bob})
	wants(t, err, "")
}

func TestDeleteOfAUserWithManyDevices(t *testing.T) {
	w := newWorld(t)
	for range 1200 {
		in := auth.Device{ID: auth.NewSessionID().String(), UserID: 1}
		value, _ := auth.Encode(in)
		wants(t, w.store.Put(t.Context(), []auth.Write{{Key: "device/1/" + in.ID, Value: value}}), "")
	}
	w.signIn(alice, "phone")
	other := w.signIn("+46701112233", "phone")
	wants(t, w.As("test").Delete(t.Context(), 1), "")
	left, err := w.store.List(t.Context(), "device/", "", 10)
	if wants(t, err, ""); len(left) != 1 {
		t.Errorf("%d devices are left", len(left))
	}
	wants(t, w.request(other), "")
}

// What else hangs on a user: when it was there last, and a number that it is
// about to leave.
func TestDeleteOfAUserWhoIsMoving(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	wants(t, w.Live.Flush(t.Context(), w.store), "")
	_, err := w.Directory.(auth.Mover).Move(t.Context(), 1, bob)
	wants(t, err, "")
	wants(t, w.As("test").Delete(t.Context(), 1), "")
	_, err = w.Directory.(auth.Mover).Move(t.Context(), 1, alice)
	wants(t, err, auth.CodeSessionRevoked)
	for _, prefix := range []string{"phone/", "used/", "device/", "member/"} {
		left, err := w.store.List(t.Context(), prefix, "", 10)
		wants(t, err, "")
		for _, r := range left {
			t.Errorf("left: %s", r.Key)
		}
	}
	over(w, g, nil)
	w.clock.pass(time.Minute)
	for _, phone := range []string{alice, bob} {
		if g := w.signIn(phone, "phone"); g.Identity.UserID == 1 {
			t.Errorf("%s leads to the deleted user", phone)
		}
	}
}

// plainStore is as little of a store as there may be.
type plainStore struct{ auth.Store }

// walkingStore can be walked as well.
type walkingStore struct {
	auth.Store
	auth.Lister
}

// erasingStore can erase, and not be walked.
type erasingStore struct {
	auth.Store
	auth.Eraser
}

// What cannot be walked must be erased, and what cannot be erased must be walked:
// a deletion never says that it is done while devices are left.
func TestDeleteNeedsAWayToEverything(t *testing.T) {
	for name, c := range map[string]struct {
		store func(w *world) auth.Store
		code  auth.Code
	}{
		"a store that can neither":    {func(w *world) auth.Store { return plainStore{w.store} }, auth.CodeStoreUnavailable},
		"one that can only be walked": {func(w *world) auth.Store { return walkingStore{w.store, w.store} }, ""},
		"one that can only erase":     {func(w *world) auth.Store { return erasingStore{w.store, w.store} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Store = c.store(w)
			g := w.signIn(alice, "phone")
			wants(t, w.As("test").Delete(t.Context(), g.Identity.UserID), c.code)
			if w.request(g) == nil {
				t.Error("the session lives")
			}
			if left, err := w.store.Get(t.Context(), "device/1/phone"); err != nil || c.code == "" && left[0].Version != 0 {
				t.Errorf("the device is left: %v", err)
			}
		})
	}
}
