package auth_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// staleStore answers every question with what it was given.
type staleStore struct {
	auth.Store
	records []auth.Record
}

func (s staleStore) Get(context.Context, ...string) ([]auth.Record, error) { return s.records, nil }

func TestUsersInPages(t *testing.T) {
	w := newWorld(t)
	o := w.As("test")
	const users = 1203
	for i := range users {
		u := auth.User{ID: uint64(i + 1), Phone: fmt.Sprint("+4670", i), Roles: []string{"customer"}}
		if i%400 == 0 {
			u.Roles = append(u.Roles, "admin")
			u.Ban = &auth.Ban{Until: w.clock.Now().Add(time.Duration(i) * time.Millisecond)}
		}
		value, _ := auth.Encode(u)
		wants(t, w.store.Put(t.Context(), []auth.Write{{Key: fmt.Sprint("user/", u.ID), Value: value}}), "")
	}
	for _, row := range []struct {
		name  string
		query auth.UserQuery
		want  int
	}{
		{"all", auth.UserQuery{Limit: 1000}, users},
		{"small pages", auth.UserQuery{Limit: 7}, users},
		{"of a role", auth.UserQuery{Limit: 2, Role: "admin"}, 4},
		{"of no role", auth.UserQuery{Limit: 2, Role: "adm"}, 0},
		{"banned, and not any more", auth.UserQuery{Limit: 10, Banned: true}, 3},
	} {
		seen := map[uint64]bool{}
		for q := row.query; ; {
			page, err := o.Users(t.Context(), q)
			if wants(t, err, ""); err != nil || len(page.Users) > q.Limit {
				t.Fatalf("%s: %d users, %v", row.name, len(page.Users), err)
			}
			for _, u := range page.Users {
				seen[u.ID] = true
			}
			if q.After = page.Next; q.After == 0 {
				break
			}
		}
		if len(seen) != row.want {
			t.Errorf("%s: %d users, want %d", row.name, len(seen), row.want)
		}
	}
	if n, exact, err := o.CountUsers(t.Context()); n != users || !exact || err != nil {
		t.Errorf("counted %d, %v, %v", n, exact, err)
	}
}

func TestStoresThatCannotBeWalked(t *testing.T) {
	w := newWorld(t)
	w.signIn(alice, "phone")
	w.Store = struct{ auth.Store }{w.store}
	o := w.As("test")
	_, err := o.Users(t.Context(), auth.UserQuery{Limit: 1})
	wants(t, err, auth.CodeStoreUnavailable)
	_, err = o.Ban(t.Context(), 1, "", time.Time{}) // what is urgent needs no walk
	wants(t, err, "")
	wants(t, o.RevokeAll(t.Context()), "")
}

func TestLimitStates(t *testing.T) {
	hour := time.Hour
	w := newWorld(t, func(s *auth.Settings) {
		s.Limits.GlobalSends = []auth.Limit{{N: 100, Window: hour}}
		s.Limits.GlobalFailures = []auth.Limit{{N: 50, Window: hour}}
		s.Limits.GlobalUnverified = []auth.Limit{{N: 20, Window: hour}}
	})
	w.signIn(alice, "phone")
	id, code := w.start(bob)
	_, err := w.verify(id, differs(code), "d")
	wants(t, err, auth.CodeOTPInvalid)
	states, err := w.As("test").LimitStates(t.Context())
	wants(t, err, "")
	want := []auth.LimitState{{"global_sends", 100, hour, 2}, {"global_failures", 50, hour, 1}, {"global_unverified", 20, hour, 1}}
	if fmt.Sprint(states) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", states, want)
	}
	if n := w.As("test").LiveSessions(); n != 1 {
		t.Errorf("%d live sessions", n)
	}
}
