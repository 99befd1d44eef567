package auth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func newcomers(users ...auth.User) (lines []auth.Newcomer) {
	for i, u := range users {
		lines = append(lines, auth.Newcomer{Line: i + 1, User: u})
	}
	return lines
}

// bring imports lines and gives the conflicts as "line code".
func (w *world) bring(dry bool, lines []auth.Newcomer) (i *auth.Import, conflicts []string) {
	w.t.Helper()
	i, err := w.As("anna").Import(dry)
	if err != nil {
		w.t.Fatal(err)
	}
	for part := range slices.Chunk(lines, 3) {
		found, err := i.Add(context.Background(), part)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, c := range found {
			conflicts = append(conflicts, fmt.Sprintf("%d %s", c.Line, c.Code))
		}
	}
	slices.Sort(conflicts)
	return i, conflicts
}

func number(i int) string { return fmt.Sprintf("+467017%05d", i) }

// Planted conflicts: all of them, and nothing else.
func TestImportFindsConflicts(t *testing.T) {
	w := newWorld(t)
	known := w.signIn(alice, "phone").Identity.UserID // 1
	w.signIn(bob, "phone")                            // 2
	future := w.clock.Now().Add(time.Second)
	lines := newcomers(
		auth.User{ID: 10, Phone: number(1)},
		auth.User{ID: known, Phone: alice}, // as it is
		auth.User{ID: 11, Phone: bob},      // another id has the number
		auth.User{ID: 2, Phone: number(2)}, // another number has the id
		auth.User{ID: 12, Phone: number(1)},
		auth.User{ID: 10, Phone: number(3)},
		auth.User{ID: 1 << 53, Phone: number(4)},
		auth.User{ID: 1 << 52, Phone: number(5)},
		auth.User{ID: 13, Phone: number(6), Roles: []string{"a,b"}},
		auth.User{ID: 14, Phone: number(7), Type: "né"},
		auth.User{ID: 15, Phone: number(8), CreatedAt: future},
		auth.User{Phone: number(9)},
		auth.User{ID: 16, Phone: number(10), Roles: []string{"vip"}, Type: "staff", CreatedAt: w.clock.Now().Add(-time.Hour)},
		auth.User{ID: 10, Phone: number(1)}, // two at once
	)
	want := []string{
		"10 role_invalid", "11 date_invalid", "12 id_invalid", "14 id_repeated", "14 phone_repeated", "3 phone_taken", "4 user_exists",
		"5 phone_repeated", "6 id_repeated", "7 id_invalid", "8 id_invalid", "9 role_invalid",
	}
	for _, dry := range []bool{true, true, false, false, true} {
		i, got := w.bring(dry, lines)
		if !slices.Equal(got, want) || i.Lines != 14 || i.Created+i.Unchanged != 3 {
			t.Errorf("dry %v: got %v, want %v; %d new, %d known", dry, got, want, i.Created, i.Unchanged)
		}
	}
	if u := w.user(16); u.Type != "staff" || !slices.Equal(u.Roles, []string{"vip"}) || !u.CreatedAt.Equal(w.clock.Now().Add(-time.Hour)) {
		t.Errorf("imported as %+v", u)
	}
	if u := w.user(10); u.Type != w.local().UserType || !slices.Equal(u.Roles, w.local().Roles) || !u.CreatedAt.Equal(w.clock.Now()) {
		t.Errorf("imported as %+v", u)
	}
	if g := w.signIn(number(1), "phone"); g.Identity.UserID != 10 {
		t.Errorf("the number leads to %d", g.Identity.UserID)
	}
	if g := w.signIn(number(99), "phone"); g.Identity.UserID != 17 {
		t.Errorf("the next user is %d, want one above the highest", g.Identity.UserID)
	}
}

func TestDryImportWritesNothing(t *testing.T) {
	w := newWorld(t)
	before := len(w.archive())
	if i, conflicts := w.bring(true, newcomers(auth.User{ID: 5, Phone: alice})); i.Created != 1 || conflicts != nil || len(w.archive()) != before {
		t.Errorf("%+v %v", i, conflicts)
	}
}

func TestImportWithoutIDs(t *testing.T) {
	w := newWorld(t)
	w.signIn(alice, "phone")
	lines := newcomers(auth.User{Phone: number(1)}, auth.User{Phone: alice}, auth.User{Phone: number(2), Ban: &auth.Ban{}})
	if i, conflicts := w.bring(false, lines); i.Created != 2 || i.Unchanged != 1 || conflicts != nil || i.Highest != 3 {
		t.Errorf("%+v %v", i, conflicts)
	}
	if w.user(2).Phone != number(1) || w.user(3).Phone != number(2) {
		t.Error("the ids are not in the order of the lines")
	}
	_, err := w.verifyNow(number(2))
	wants(t, err, auth.CodeAccountDisabled)
	if i, _ := w.bring(false, lines); i.Created != 0 || i.Unchanged != 3 {
		t.Errorf("again: %+v", i)
	}
}

// Killed after any write, and run again: the same users in the end.
func TestKilledImportResumes(t *testing.T) {
	var users []auth.User
	for i := range 10 {
		users = append(users, auth.User{ID: uint64(100 + i), Phone: number(i)})
	}
	whole := newWorld(t)
	whole.bring(false, newcomers(users...))
	want := whole.records("user") + whole.records("phone") + whole.records("counter")
	for killed := 0; ; killed++ {
		w := newWorld(t)
		w.store.failAfter(killed)
		i, err := w.As("anna").Import(false)
		if err != nil {
			t.Fatal(err)
		}
		_, err = i.Add(t.Context(), newcomers(users...))
		if !w.store.repair() {
			wants(t, err, "")
			return // it makes no more calls
		}
		if err == nil {
			t.Errorf("killed after %d calls: no error", killed)
		}
		if _, conflicts := w.bring(false, newcomers(users...)); conflicts != nil {
			t.Errorf("killed after %d calls: %v", killed, conflicts)
		}
		if got := w.records("user") + w.records("phone") + w.records("counter"); got != want {
			t.Errorf("killed after %d calls: got %s, want %s", killed, got, want)
		}
	}
}

// Attack: somebody signs in with a number in the moment in which it is imported.
func TestImportAmidSignIns(t *testing.T) {
	w := newWorld(t)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			// The same code is good again when the number moves in this very moment.
			if _, err := w.verifyNow(number(i)); err != nil && !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("signing in: %v", err)
			}
		})
	}
	var lines []auth.Newcomer
	for i := range 40 {
		lines = append(lines, auth.Newcomer{Line: i + 1, User: auth.User{ID: uint64(i + 1), Phone: number(i)}})
	}
	_, _ = w.bring(false, lines)
	all.Wait()
	seen := map[uint64]string{}
	for i := range 40 {
		g := w.signIn(number(i), "again")
		if other, twice := seen[g.Identity.UserID]; twice {
			t.Errorf("%s and %s are one user", other, number(i))
		}
		seen[g.Identity.UserID] = number(i)
		if w.user(g.Identity.UserID).Phone != number(i) {
			t.Errorf("%s leads to the user of another number", number(i))
		}
	}
}

// A number is somebody's by the same rules as at a sign-in: one that its user has
// left is free, and one of a user who is being deleted is not yet.
func TestImportKnowsWhoseANumberIs(t *testing.T) {
	w := newWorld(t)
	w.signIn(alice, "phone")     // 1
	w.signIn(number(1), "phone") // 2
	w.signIn(bob, "phone")       // 3
	// A crash has left the entry of alice's former number behind.
	if _, err := w.local().Move(t.Context(), 1, number(2)); err != nil {
		t.Fatal(err)
	}
	wants(t, auth.ChangeUser(t.Context(), w.store, 2, func(u *auth.User) { u.Detached = w.clock.Now() }), "")
	wants(t, auth.ChangeUser(t.Context(), w.store, 3, func(u *auth.User) { u.Deleted = w.clock.Now() }), "")
	for _, row := range []struct {
		name string
		auth.User
		want []string
	}{
		{"the former number, under the id of who left it", auth.User{ID: 1, Phone: alice}, []string{"1 user_exists"}},
		{"the former number", auth.User{ID: 20, Phone: alice}, nil},
		{"the new one, under another id", auth.User{ID: 21, Phone: number(2)}, []string{"1 phone_taken"}},
		{"the new one", auth.User{ID: 1, Phone: number(2)}, nil},
		{"a detached account", auth.User{ID: 2, Phone: number(1)}, []string{"1 user_exists"}},
		{"its number", auth.User{ID: 22, Phone: number(1)}, nil},
		{"who is being deleted", auth.User{ID: 3, Phone: bob}, []string{"1 phone_taken"}},
		{"the number of who is being deleted", auth.User{Phone: bob}, []string{"1 phone_taken"}},
	} {
		for _, dry := range []bool{true, false} {
			if i, got := w.bring(dry, newcomers(row.User)); !slices.Equal(got, row.want) || i.Created+i.Unchanged+len(row.want) != 1 {
				t.Errorf("%s, dry %v: got %v, want %v; %d new, %d known", row.name, dry, got, row.want, i.Created, i.Unchanged)
			}
		}
	}
	for phone, id := range map[string]uint64{alice: 20, number(2): 1, number(1): 22} {
		if g := w.signIn(phone, "again"); g.Identity.UserID != id {
			t.Errorf("%s leads to %d, want %d", phone, g.Identity.UserID, id)
		}
	}
}

// overtaken lets something happen right after a record was first written.
type overtaken struct {
	auth.Store
	key  string
	then func()
}

func (s *overtaken) Swap(ctx context.Context, v auth.Version, w auth.Write) (auth.Version, error) {
	at, err := s.Store.Swap(ctx, v, w)
	if then := s.then; w.Key == s.key && then != nil {
		s.then = nil
		then()
	}
	return at, err
}

// Attack: a stranger signs in with a number between the two writes that import
// it, and the account of the file is theirs.
func TestImportOvertakenByASignIn(t *testing.T) {
	w := newWorld(t)
	var stranger auth.Grant
	w.local().Store = &overtaken{w.store, "user/50", func() { stranger = w.signIn(alice, "phone") }}
	line := newcomers(auth.User{ID: 50, Phone: alice, Roles: []string{"admin"}})
	i, conflicts := w.bring(false, line)
	if !slices.Equal(conflicts, []string{"1 phone_taken"}) || i.Created != 0 {
		t.Errorf("%d new, %v", i.Created, conflicts)
	}
	if id := stranger.Identity.UserID; id != 51 || slices.Contains(w.user(id).Roles, "admin") {
		t.Errorf("the stranger is user %d", id)
	}
	if _, err := w.As("anna").User(t.Context(), 50); err == nil {
		t.Error("the account of the file is left without a number")
	}
}
