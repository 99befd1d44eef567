package auth_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestCreate(t *testing.T) {
	const carol = "+46701112233"
	w := newWorld(t)
	o := w.As("test")
	made, err := o.Create(t.Context(), auth.User{ID: 4711, Phone: alice, Type: "staff", Roles: []string{"admin"}})
	wants(t, err, "")
	if made.ID != 4711 || made.Type != "staff" || made.CreatedAt.IsZero() {
		t.Errorf("got %+v", made)
	}
	g := w.signIn(alice, "phone")
	if g.Identity.UserID != 4711 || g.Identity.RolesText != "admin" || !g.NewUser {
		t.Errorf("signed in as %+v", g.Identity)
	}
	plain, err := o.Create(t.Context(), auth.User{Phone: bob})
	wants(t, err, "")
	if plain.ID != 4712 || plain.Type != "customer" || !slices.Equal(plain.Roles, []string{"customer"}) {
		t.Errorf("without an id or roles of one's own: %+v", plain)
	}
	if g := w.signIn(carol, "phone"); g.Identity.UserID != 4713 {
		t.Errorf("the next new user is %d", g.Identity.UserID)
	}
	for _, row := range []struct {
		name string
		user auth.User
		want auth.Code
	}{
		{"an id that is taken", auth.User{ID: 4711, Phone: "+46709998877"}, auth.CodeUserExists},
		{"an id that nobody has signed in with", auth.User{ID: 4712, Phone: "+46709998877"}, auth.CodeUserExists},
		{"a number that is taken", auth.User{ID: 9, Phone: alice}, auth.CodePhoneTaken},
		{"a number that is taken, without an id", auth.User{Phone: alice}, auth.CodePhoneTaken},
		{"the same user again", auth.User{ID: 4711, Phone: alice}, auth.CodeUserExists},
		{"an id that others could not count up from", auth.User{ID: 1<<52 + 1, Phone: "+46709998877"}, auth.CodeInvalidRequest},
		{"two roles in one", auth.User{Phone: "+46709998877", Roles: []string{"a,b"}}, auth.CodeInvalidRequest},
	} {
		if _, err := o.Create(t.Context(), row.user); err == nil || auth.AsError(err).Code != row.want {
			t.Errorf("%s: got %v", row.name, err)
		}
	}
	if _, err := o.UserOf(t.Context(), "+46709998877"); err == nil {
		t.Error("a refused user has the number")
	}
	w.Directory = directoryFunc(func() auth.Account { return auth.Account{UserID: 1, Type: "a"} })
	_, err = o.Create(t.Context(), auth.User{Phone: "+46709998877"})
	wants(t, err, auth.CodeInvalidRequest)
	_, err = o.UserOf(t.Context(), alice)
	wants(t, err, auth.CodeInvalidRequest)
}

// Attack: a stranger signs up at the moment an operator makes a user, is drawn
// the very id, and gets into the account.
func TestCreateDuringASignUp(t *testing.T) {
	for n := range 100 {
		w := newWorld(t)
		store := &troubledStore{Store: w.store}
		w.Store, w.Directory.(*auth.LocalDirectory).Store = store, store
		id, code := w.start(bob)
		store.arm(n, trouble{first: func() error {
			_, err := w.As("test").Create(t.Context(), auth.User{ID: 1, Phone: alice, Roles: []string{"admin"}})
			ignore(&err, auth.CodeUserExists) // bob was faster
			return err
		}})
		g, err := w.verify(id, code, "phone")
		came := store.over()
		if err != nil {
			wants(t, err, auth.CodeStoreUnavailable)
			g, err = w.verify(id, code, "phone") // the code is still good
			wants(t, err, "")
		}
		if g.Identity.RolesText != "customer" {
			t.Fatalf("call %d: bob is %+v", n, g.Identity)
		}
		if of, err := w.As("test").UserOf(t.Context(), alice); err == nil && of.ID == g.Identity.UserID {
			t.Fatalf("call %d: alice and bob are one", n)
		}
		if !came {
			return
		}
	}
	t.Error("it never ends")
}

// The number signs up by itself while an operator makes its user.
func TestSignUpDuringACreate(t *testing.T) {
	for n := range 100 {
		w := newWorld(t)
		store := &troubledStore{Store: w.store}
		w.Store, w.Directory.(*auth.LocalDirectory).Store = store, store
		var g auth.Grant
		store.arm(n, trouble{first: func() error { g = w.signIn(alice, "phone"); return nil }})
		made, err := w.As("test").Create(t.Context(), auth.User{ID: 77, Phone: alice})
		came := store.over()
		if !came {
			g = w.signIn(alice, "phone")
		}
		of, ofErr := w.As("test").UserOf(t.Context(), alice)
		wants(t, ofErr, "")
		if of.ID != g.Identity.UserID || err == nil && made.ID != of.ID {
			t.Fatalf("call %d: signed in as %d, made %d (%v), the number is %d's", n, g.Identity.UserID, made.ID, err, of.ID)
		}
		if _, left := w.As("test").User(t.Context(), 77); err != nil && left == nil {
			t.Fatalf("call %d: what was refused is left: %v", n, err)
		}
		if !came {
			return
		}
	}
	t.Error("it never ends")
}

func TestManyCreatesMakeOneUser(t *testing.T) {
	w := newWorld(t)
	var made sync.Map
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			u, err := w.As("test").Create(t.Context(), auth.User{ID: uint64(1 + i%4), Phone: alice})
			if err == nil {
				made.Store(u.ID, true)
			} else if code := auth.AsError(err).Code; code != auth.CodeUserExists && code != auth.CodePhoneTaken {
				t.Error(err)
			}
		})
	}
	all.Wait()
	of, err := w.As("test").UserOf(t.Context(), alice)
	wants(t, err, "")
	made.Range(func(id, _ any) bool {
		if id != of.ID {
			t.Errorf("made %v, and the number is %d's", id, of.ID)
		}
		return true
	})
	page, err := w.As("test").Users(t.Context(), auth.UserQuery{Limit: 10})
	wants(t, err, "")
	if len(page.Users) != 1 {
		t.Errorf("there are %d users", len(page.Users))
	}
}

// What a crash has left between the user's record and the number's, the same
// call finishes.
func TestCreateGoesOn(t *testing.T) {
	for n := range 30 {
		w := newWorld(t)
		w.store.failAfter(n)
		_, err := w.As("test").Create(t.Context(), auth.User{ID: 9, Phone: alice})
		failed := w.store.repair()
		if failed {
			wants(t, err, auth.CodeStoreUnavailable)
			made, err := w.As("test").Create(t.Context(), auth.User{ID: 9, Phone: alice, Type: "staff"})
			wants(t, err, "")
			if made.Type != "staff" {
				t.Errorf("call %d: made %+v", n, made)
			}
		}
		if g := w.signIn(alice, "phone"); g.Identity.UserID != 9 {
			t.Errorf("call %d: signed in as %d", n, g.Identity.UserID)
		}
		if !failed {
			return
		}
	}
	t.Error("it never ends")
}
