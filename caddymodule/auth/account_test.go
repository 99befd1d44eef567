package auth_test

import (
	"context"
	"strings"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func rolesOf(w *world, g auth.Grant) string {
	w.t.Helper()
	id, err := w.Authenticate(w.t.Context(), proof(g), auth.Access)
	wants(w.t, err, "")
	return id.Type + " " + id.RolesText
}

func TestChangeHoldsFromTheNextRequest(t *testing.T) {
	w := newWorld(t)
	first, second := w.signIn(alice, "phone"), w.signIn(alice, "tablet")
	news, stop := w.Watch(first.Identity.SessionID)
	defer stop()
	kind, roles := "staff", []string{"admin", "support"}
	_, err := w.As("test").Change(t.Context(), first.Identity.UserID, auth.AccountChange{Type: &kind, Roles: &roles})
	wants(t, err, "")
	for _, g := range []auth.Grant{first, second, w.signIn(alice, "laptop")} {
		if got := rolesOf(w, g); got != "staff admin,support" {
			t.Errorf("got %q", got)
		}
	}
	if end, _, err := w.Standing(t.Context(), first.Identity.SessionID); end != "" || err != nil || !heard(news) {
		t.Errorf("whoever watches hears of no change, or of %q %v", end, err)
	}
	none := []string{}
	_, err = w.As("test").Change(t.Context(), first.Identity.UserID, auth.AccountChange{Roles: &none})
	wants(t, err, "")
	if got := rolesOf(w, first); got != "staff " {
		t.Errorf("got %q", got)
	}
	calls := w.store.calls
	for range 10 {
		rolesOf(w, first)
	}
	if w.store.calls != calls {
		t.Error("the table does not know the roles after the first request")
	}
}

func TestChangeDuringASignIn(t *testing.T) {
	change := func(w *world) {
		roles := []string{"admin"}
		_, err := w.As("test").Change(t.Context(), 1, auth.AccountChange{Roles: &roles})
		wants(t, err, "")
	}
	check := func(w *world, before, after auth.Grant, err error) {
		wants(t, err, "")
		for _, g := range []auth.Grant{before, after} {
			if got := rolesOf(w, g); got != "customer admin" {
				t.Errorf("got %q", got)
			}
		}
	}
	t.Run("sign-in", func(t *testing.T) { during(t, change, logsIn, check) })
	t.Run("refresh", func(t *testing.T) { during(t, change, refreshes, check) })
}

// afterwards does something once, right after a record was swapped.
type afterwards struct {
	auth.Store
	key string
	do  func()
}

func (s *afterwards) Swap(ctx context.Context, at auth.Version, w auth.Write) (auth.Version, error) {
	next, err := s.Store.Swap(ctx, at, w)
	if do := s.do; do != nil && w.Key == s.key && err == nil {
		s.do = nil
		do()
	}
	return next, err
}

// Attack: the directory gives a role at a sign-in, and a moment later an
// operator takes it away. What was written last in the store must be what the
// table says, on the other sessions too: a role that was taken away must not
// live on in memory.
func TestOfTwoChangesTheLastOneHolds(t *testing.T) {
	w := newWorld(t)
	w.Directory = directoryFunc(func() auth.Account {
		return auth.Account{UserID: 1, Type: "staff", Roles: []string{"admin"}}
	})
	first := w.signIn(alice, "phone")
	id, code := w.start(alice)
	w.Store = &afterwards{Store: w.store, key: "user/1", do: func() {
		none := []string{}
		_, err := w.As("test").Change(t.Context(), 1, auth.AccountChange{Roles: &none})
		wants(t, err, "")
		rolesOf(w, first) // which asks the store
	}}
	second, err := w.verify(id, code, "tablet")
	wants(t, err, "")
	for _, g := range []auth.Grant{first, second} {
		if got := rolesOf(w, g); got != "staff " {
			t.Errorf("got %q", got)
		}
	}
}

func TestChangeIsChecked(t *testing.T) {
	w := newWorld(t)
	w.signIn(alice, "phone")
	many := strings.Split(strings.Repeat("r", 33), "")
	for i := range many {
		many[i] += strings.Repeat("x", i)
	}
	for name, roles := range map[string][]string{
		"two roles in one": {"guest,admin"}, "an empty role": {""}, "a line break": {"a\n"}, "a role twice": {"a", "a"},
		"a role that is too long": {strings.Repeat("a", 65)}, "too many roles": many,
	} {
		_, err := w.As("test").Change(t.Context(), 1, auth.AccountChange{Roles: &roles})
		if wants(t, err, auth.CodeInvalidRequest); t.Failed() {
			t.Fatal(name)
		}
	}
	for _, kind := range []string{"", "a b", "ä"} {
		_, err := w.As("test").Change(t.Context(), 1, auth.AccountChange{Type: &kind})
		wants(t, err, auth.CodeInvalidRequest)
	}
	kind := "staff"
	_, err := w.As("test").Change(t.Context(), 2, auth.AccountChange{Type: &kind})
	wants(t, err, auth.CodeNotFound)
}
