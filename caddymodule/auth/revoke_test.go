package auth_test

import (
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/badgerstore"
	"github.com/sidegate/sidegate/caddymodule/internal/vault"
)

func TestSessionsOfAUser(t *testing.T) {
	w := newWorld(t)
	o := w.As("test")
	g := w.signIn(alice, "phone")
	w.clock.pass(time.Minute)
	second := w.signIn(alice, "tablet")
	stranger := w.signIn(bob, "phone")
	wants(t, o.Revoke(t.Context(), g.Identity.SessionID), "")
	sessions, err := o.Sessions(t.Context(), g.Identity.UserID)
	wants(t, err, "")
	if len(sessions) != 2 || sessions[0].DeviceID != "tablet" || !sessions[0].IsActive || sessions[1].EndReason != auth.EndRevoked {
		t.Errorf("got %+v", sessions)
	}
	wants(t, w.request(g), auth.CodeSessionRevoked)
	wants(t, w.request(second), "")
	info, err := o.Session(t.Context(), g.Identity.SessionID)
	wants(t, err, "")
	if info.IsActive || info.UserID != g.Identity.UserID {
		t.Errorf("got %+v", info)
	}
	wants(t, o.RevokeUser(t.Context(), g.Identity.UserID), "")
	wants(t, w.request(second), auth.CodeSessionRevoked)
	wants(t, w.request(stranger), "")

	_, err = o.Sessions(t.Context(), 4711)
	wants(t, err, auth.CodeNotFound)
	wants(t, o.RevokeUser(t.Context(), 4711), auth.CodeNotFound)
	wants(t, o.Revoke(t.Context(), auth.NewSessionID()), auth.CodeNotFound)
	wants(t, o.Revoke(t.Context(), auth.SessionID{}), auth.CodeNotFound)
}

func TestDevicesOfAUser(t *testing.T) {
	w := newWorld(t)
	o := w.As("test")
	g := w.signIn(alice, "a/b")
	other := w.signIn(alice, "..")
	devices, err := o.Devices(t.Context(), 1, "", 1)
	wants(t, err, "")
	rest, err := o.Devices(t.Context(), 1, devices[0].ID, 10)
	wants(t, err, "")
	if len(devices) != 1 || len(rest) != 1 || devices[0].ID == rest[0].ID {
		t.Fatalf("got %+v and %+v", devices, rest)
	}
	wants(t, o.DeleteDevice(t.Context(), 1, "a/b"), "")
	wants(t, w.request(g), auth.CodeSessionRevoked)
	wants(t, w.request(other), "")
	wants(t, o.DeleteDevice(t.Context(), 1, "a/b"), auth.CodeNotFound)
	if devices, _ = o.Devices(t.Context(), 1, "", 10); len(devices) != 1 || devices[0].ID != ".." {
		t.Errorf("left: %+v", devices)
	}
}

func TestRevokeAll(t *testing.T) {
	w := newWorld(t)
	o := w.As("test")
	g, cold := w.signIn(alice, "phone"), w.signIn(bob, "phone")
	news, stop := w.Watch(g.Identity.SessionID)
	defer stop()
	calls := w.store.calls
	wants(t, o.RevokeAll(t.Context()), "")
	if did := w.store.calls - calls; did > 2 {
		t.Errorf("%d calls of the store: it must not depend on how many sessions there are", did)
	}
	if !heard(news) {
		t.Error("whoever watches hears of nothing")
	}
	if end, _, err := w.Standing(t.Context(), g.Identity.SessionID); end != auth.EndRevoked || err != nil {
		t.Errorf("it stands at %q, %v", end, err)
	}
	calls = w.store.calls
	wants(t, w.request(g), auth.CodeSessionRevoked)
	if w.store.calls != calls {
		t.Error("to refuse a session of an earlier era takes no store")
	}
	_, err := w.refresh(g.Ticket)
	wants(t, err, auth.CodeSessionRevoked)
	if info := w.info(g); info.IsActive || info.EndReason != auth.EndRevoked {
		t.Errorf("the owner sees %+v", info)
	}
	again := w.signIn(alice, "tablet")
	wants(t, w.request(again), "")
	sessions, err := w.Sessions(t.Context(), proof(again))
	wants(t, err, "")
	if len(sessions) != 1 {
		t.Errorf("the user sees %d sessions", len(sessions))
	}

	w.restart()
	w.hear()
	wants(t, w.request(again), "")
	wants(t, w.request(g), auth.CodeSessionRevoked)
	wants(t, w.request(cold), auth.CodeSessionRevoked)
	w.clock.pass(-24 * time.Hour) // a clock that is set back revives nothing
	wants(t, w.request(cold), auth.CodeSessionRevoked)
}

// Sessions of an earlier era take no place from those of this one.
func TestRevokedSessionsMakeRoom(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.MaxPerUser = 2 })
	w.signIn(alice, "a")
	w.signIn(alice, "b")
	wants(t, w.As("test").RevokeAll(t.Context()), "")
	c := w.signIn(alice, "c")
	w.clock.pass(time.Second)
	d := w.signIn(alice, "d")
	wants(t, w.request(c), "")
	wants(t, w.request(d), "")
}

// Another node hears of it through the store.
func TestOtherNodesHear(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	here := w.Live
	w.restart()
	w.hear()
	wants(t, w.request(g), "")
	there := w.Live
	w.Live = here
	wants(t, w.As("test").RevokeAll(t.Context()), "")
	wants(t, w.As("test").Block(t.Context(), auth.Block{Country: "SE"}), "")
	w.Live = there
	w.hear()
	wants(t, w.request(g), auth.CodeSessionRevoked)
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, Country: "SE"})
	wants(t, err, auth.CodePhoneNotSupported)
	w.store.failAfter(0)
	if err := w.Live.Hear(t.Context(), w.store); err == nil {
		t.Error("to hear nothing is no fault")
	}
	w.store.repair()
}

func TestRevokeAllDuringASignIn(t *testing.T) {
	all := func(w *world) { wants(t, w.As("test").RevokeAll(t.Context()), "") }
	check := func(w *world, before, _ auth.Grant, _ error) { over(w, before, nil) }
	t.Run("sign-in", func(t *testing.T) { during(t, all, logsIn, check) })
	t.Run("refresh", func(t *testing.T) {
		during(t, all, refreshes, func(w *world, before, after auth.Grant, err error) {
			over(w, before, nil)
			over(w, after, err)
		})
	})
}

// On the store of a server: what was answered before the step is over, what
// begins after it lives, and nobody gets a fault.
func TestRevokeAllDuringManySignIns(t *testing.T) {
	w := newWorld(t)
	seal, err := vault.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	store, err := badgerstore.Open(badgerstore.Options{Path: t.TempDir(), Seal: seal, Log: w.Log})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	w.Store, w.Directory.(*auth.LocalDirectory).Store, w.Now = store, store, time.Now
	w.Directory.(*auth.LocalDirectory).Now = time.Now
	var before []auth.Grant
	for i := range 8 {
		before = append(before, w.signIn(phoneNo(i), "phone"))
	}
	var logins sync.WaitGroup
	during := make(chan auth.Grant, 64)
	for i := range 16 {
		logins.Go(func() { during <- w.signIn(phoneNo(100+i), "phone") })
	}
	wants(t, w.As("test").RevokeAll(t.Context()), "")
	after := w.signIn(phoneNo(50), "phone")
	logins.Wait()
	close(during)
	for _, g := range before {
		wants(t, w.request(g), auth.CodeSessionRevoked)
	}
	wants(t, w.request(after), "")
	live := w.Live
	for g := range during {
		w.Live = live
		warm := w.request(g)
		w.restart()
		wants(t, w.Live.Hear(t.Context(), store), "")
		if cold := w.request(g); (warm == nil) != (cold == nil) {
			t.Errorf("in memory %v, in the store %v", warm, cold)
		}
	}
}

func phoneNo(i int) string {
	return "+4670" + string(rune('1'+i/100)) + "0000" + string(rune('0'+i/10%10)) + string(rune('0'+i%10))
}
