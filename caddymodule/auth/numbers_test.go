package auth_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
	"github.com/sidegate/sidegate/caddymodule/internal/vault"
)

// steps lets several operations use one store, one call at a time, in an order
// that a test chooses.
type steps struct {
	store  auth.Store
	events chan int // an operation wants to make a call; negative: it has ended
	turns  []chan struct{}
}

// stepping is the store as one operation has it.
type stepping struct {
	auth.Store
	all   *steps
	who   int
	calls int // still to be carried out; then its process has crashed
}

func (s *stepping) wait() error {
	s.all.events <- s.who
	<-s.all.turns[s.who]
	if s.calls--; s.calls < 0 {
		return errDisk
	}
	return nil
}

func (s *stepping) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	if err := s.wait(); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, keys...)
}

func (s *stepping) Swap(ctx context.Context, v auth.Version, w auth.Write) (auth.Version, error) {
	if err := s.wait(); err != nil {
		return 0, err
	}
	return s.Store.Swap(ctx, v, w)
}

// town is a directory with people whose ids are 1, 2, …, and operations on it.
type town struct {
	directory auth.LocalDirectory
	store     auth.Store
	errs      []error
}

const carol = "+46700000003"

func newTown(t *testing.T, secrets auth.Secrets) *town {
	now := func() time.Time { return time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC) }
	w := &town{store: memstore.New(now)}
	w.directory = auth.LocalDirectory{Store: w.store, Secrets: secrets, Registration: true, UserType: "customer", FirstID: 1, Now: now}
	for _, phone := range []string{alice, bob} {
		if _, err := w.directory.Resolve(t.Context(), phone, ""); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// operation is something that a process does with the directory.
type operation func(ctx context.Context, d *auth.LocalDirectory) error

func move(id uint64, phones ...string) operation {
	return func(ctx context.Context, d *auth.LocalDirectory) error {
		for _, phone := range phones {
			former, err := d.Move(ctx, id, phone)
			if err == nil && former != "" {
				err = d.Forget(ctx, id, former)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func signInAs(phone string) operation {
	return func(ctx context.Context, d *auth.LocalDirectory) error {
		_, err := d.Resolve(ctx, phone, "")
		return err
	}
}

// switches is how often at most an operation is kept waiting for another, while
// it could go on. Without a bound two of them can keep each other from ending.
const switches = 3

// play carries the operations out in the order of the choices, and tells how
// many there were at each step: 0 goes on with the same operation. The first one
// crashes after so many calls.
func (w *town) play(ctx context.Context, choices []int, crash int, operations []operation) (taken, widths []int) {
	s := &steps{store: w.store, events: make(chan int)}
	w.errs = make([]error, len(operations))
	for range operations {
		s.turns = append(s.turns, make(chan struct{}))
	}
	for i, do := range operations {
		own := &stepping{Store: w.store, all: s, who: i, calls: 1 << 20}
		if i == 0 {
			own.calls = crash
		}
		d := w.directory
		d.Store = own
		go func() {
			w.errs[i] = do(ctx, &d)
			s.events <- -1
		}()
	}
	var waiting []int // who could go on, the last one first
	for running, switched := len(operations), 0; ; {
		for len(waiting) < running {
			if who := <-s.events; who < 0 {
				running--
			} else if waiting = append(waiting, who); len(taken) == 0 {
				slices.Sort(waiting)
			} else {
				waiting = append([]int{who}, waiting[:len(waiting)-1]...)
			}
		}
		if running == 0 {
			return taken, widths
		}
		choice, width := 0, len(waiting)
		if switched == switches {
			width = 1
		}
		if len(taken) < len(choices) {
			choice = choices[len(taken)]
		}
		if choice > 0 {
			switched++
		}
		taken, widths = append(taken, choice), append(widths, width)
		who := waiting[choice]
		waiting = slices.Delete(waiting, choice, choice+1)
		s.turns[who] <- struct{}{}
	}
}

// next is the order after this one; nil after the last.
func next(taken, widths []int) []int {
	for i := len(taken) - 1; i >= 0; i-- {
		if taken[i]+1 < widths[i] {
			return append(taken[:i:i], taken[i]+1)
		}
	}
	return nil
}

// sane holds the directory to what is always true: everybody gets in by the
// number in their record, and by no other.
func (w *town) sane(t *testing.T) {
	t.Helper()
	owners := map[string]uint64{}
	for id := uint64(1); id < 9; id++ {
		u, exists, err := auth.ReadUser(t.Context(), w.store, id)
		if err != nil {
			t.Fatal(err)
		}
		if other := owners[u.Phone]; exists && other != 0 {
			t.Errorf("%s is the number of %d and of %d", u.Phone, other, id)
		}
		owners[u.Phone] = id
	}
	for _, phone := range []string{alice, bob, carol} {
		account, err := w.directory.Resolve(t.Context(), phone, "")
		if err != nil {
			t.Fatal(err)
		}
		if owner := owners[phone]; owner != 0 && account.UserID != owner || owner == 0 && account.UserID <= 2 {
			t.Errorf("%s leads to %d; by the records it is the number of %d", phone, account.UserID, owner)
		}
	}
}

// Processes that do something at once, call by call in every order, and of which
// one may crash at any call: no number ever leads to two accounts or to a
// stranger's, and nobody loses the way in.
func TestMovesInEveryOrder(t *testing.T) {
	secrets, err := vault.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	both := func(errs []error) bool { return errs[0] == nil && errs[1] == nil }
	either := func(errs []error) bool { return (errs[0] == nil) != (errs[1] == nil) }
	taken := func(errs []error) bool { return auth.AsError(errs[0]).Code == auth.CodeAccountDisabled }
	for name, row := range map[string]struct {
		want       func(errs []error) bool // when nobody crashes
		operations []operation
	}{
		"a move":                             {nil, []operation{move(1, carol)}},
		"a move to a number that has a user": {taken, []operation{move(1, bob)}},
		"two people want one number":         {either, []operation{move(1, carol), move(2, carol)}},
		"two people change numbers":          {taken, []operation{move(1, bob), move(2, alice)}},
		"one person moves twice":             {both, []operation{move(1, carol), move(1, carol)}},
		"somebody signs in on the new one":   {nil, []operation{move(1, carol), signInAs(carol)}},
		"somebody signs in on the old one":   {both, []operation{move(1, carol), signInAs(alice)}},
		"another takes the old one":          {nil, []operation{move(1, carol), move(2, alice)}},
		"one person moves there and back":    {both, []operation{move(1, carol), move(1, alice)}},
		"there and back, and another there":  {nil, []operation{move(1, carol, alice), move(2, carol)}},
	} {
		t.Run(name, func(t *testing.T) {
			const never = 99
			crashes := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, never}
			for _, crash := range crashes {
				for order := []int{}; order != nil; {
					w := newTown(t, secrets)
					played, widths := w.play(t.Context(), order, crash, row.operations)
					w.sane(t)
					if crash == never && row.want != nil && !row.want(w.errs) || t.Failed() {
						t.Fatalf("crash at call %d, order %v: %v", crash, played, w.errs)
					}
					order = next(played, widths)
				}
			}
		})
	}
}

// A move that is done leaves no entry of the old number, and forgets it.
func TestNothingIsLeftOfAFormerNumber(t *testing.T) {
	w := newWorld(t)
	w.signIn(alice, "phone")
	d, key := w.Directory.(*auth.LocalDirectory), "phone/"+w.Secrets.Index("phone", alice)
	for range 2 { // the number is told until it is forgotten
		former, err := d.Move(t.Context(), 1, carol)
		if wants(t, err, ""); former != alice {
			t.Errorf("the former number is %q", former)
		}
	}
	wants(t, d.Forget(t.Context(), 1, alice), "")
	left, err := w.store.Get(t.Context(), key)
	u, _, err2 := auth.ReadUser(t.Context(), w.store, 1)
	if wants(t, errors.Join(err, err2), ""); left[0].Version != 0 || u.Former != "" || u.Phone != carol {
		t.Errorf("left: %+v and %+v", left, u)
	}
}

func TestWhoIsBannedMovesNowhere(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	wants(t, auth.ChangeUser(t.Context(), w.store, 1, func(u *auth.User) { u.Ban = new(auth.Ban) }), "")
	_, err := w.Directory.(*auth.LocalDirectory).Move(t.Context(), g.Identity.UserID, carol)
	wants(t, err, auth.CodeSessionRevoked)
	if u, _, _ := auth.ReadUser(t.Context(), w.store, 1); u.Phone != alice {
		t.Errorf("the number is %s", u.Phone)
	}
}
