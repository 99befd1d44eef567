package auth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func (s *faultyStore) List(ctx context.Context, prefix, after string, limit int) ([]auth.Listed, error) {
	if err := s.count(); err != nil {
		return nil, err
	}
	return s.Store.(auth.Lister).List(ctx, prefix, after, limit)
}

func (s *faultyStore) Erase(ctx context.Context, owner uint64, until time.Time) error {
	if err := s.count(); err != nil {
		return err
	}
	return s.Store.(auth.Eraser).Erase(ctx, owner, until)
}

func (s *troubledStore) Erase(ctx context.Context, owner uint64, until time.Time) error {
	return s.call(func() error { return s.Store.(auth.Eraser).Erase(ctx, owner, until) })
}

func (s *troubledStore) List(ctx context.Context, prefix, after string, limit int) (l []auth.Listed, err error) {
	err = s.call(func() error { l, err = s.Store.(auth.Lister).List(ctx, prefix, after, limit); return err })
	return l, err
}

// hear is what a process does when it starts.
func (w *world) hear() {
	w.t.Helper()
	wants(w.t, w.Live.Hear(w.t.Context(), w.store), "")
}

// operatorAct is one of everything that operators change. target is a user with
// two sessions, whose number has wrong codes.
type operatorAct struct {
	name string
	do   func(o auth.Operator, ctx context.Context, target auth.Grant) error
	told string // of it, once
}

var operatorActs = []operatorAct{
	{"ban", func(o auth.Operator, ctx context.Context, g auth.Grant) error {
		_, err := o.Ban(ctx, g.Identity.UserID, "spam", time.Time{})
		return err
	}, "user_banned"},
	{"change", func(o auth.Operator, ctx context.Context, g auth.Grant) error {
		kind, roles := "staff", []string{"admin"}
		_, err := o.Change(ctx, g.Identity.UserID, auth.AccountChange{Type: &kind, Roles: &roles})
		return err
	}, "user_changed"},
	{"delete", func(o auth.Operator, ctx context.Context, g auth.Grant) error {
		return o.Delete(ctx, g.Identity.UserID)
	}, "user_deleted"},
	{"create", func(o auth.Operator, ctx context.Context, _ auth.Grant) error {
		_, err := o.Create(ctx, auth.User{ID: 500, Phone: bob, Roles: []string{"vip"}})
		return err
	}, "user_created"},
	{"unlock", func(o auth.Operator, ctx context.Context, g auth.Grant) error {
		return o.UnlockUser(ctx, g.Identity.UserID)
	}, "user_unlocked"},
	{"revoke", func(o auth.Operator, ctx context.Context, g auth.Grant) error {
		return o.Revoke(ctx, g.Identity.SessionID)
	}, "sessions_revoked session"},
	{"revoke of a user", func(o auth.Operator, ctx context.Context, g auth.Grant) error {
		return o.RevokeUser(ctx, g.Identity.UserID)
	}, "sessions_revoked user"},
	{"revoke of all", func(o auth.Operator, ctx context.Context, _ auth.Grant) error { return o.RevokeAll(ctx) }, "sessions_revoked all"},
	{"deletion of a device", func(o auth.Operator, ctx context.Context, g auth.Grant) error {
		return o.DeleteDevice(ctx, g.Identity.UserID, g.Identity.DeviceID)
	}, "device_deleted"},
	{"block", func(o auth.Operator, ctx context.Context, _ auth.Grant) error {
		return o.Block(ctx, auth.Block{Country: "NG", Reason: "pumping"})
	}, "block_added"},
}

// ends tells the acts after which the target's session is over.
func (a operatorAct) ends() bool {
	return slices.Contains([]string{"ban", "delete", "revoke", "revoke of a user", "revoke of all", "deletion of a device"}, a.name)
}

// newTarget is a world with somebody to act on.
func newTarget(t *testing.T) (*world, *journal, auth.Grant) {
	w, told := newToldWorld(t, func(s *auth.Settings) {
		s.Limits.PhoneFailures = []auth.Limit{{N: 15, Window: 24 * time.Hour}}
	})
	g := w.signIn(alice, "phone")
	w.signIn(alice, "tablet")
	id, code := w.start(alice)
	_, err := w.verify(id, differs(code), "phone")
	wants(t, err, auth.CodeOTPInvalid)
	told.take()
	return w, told, g
}

// differs is another code.
func differs(code string) string {
	return fmt.Sprintf("%c%s", '0'+(code[0]-'0'+1)%10, code[1:])
}

// Whatever an operator changes is told, once, with who it was, what there was
// before and what there is then, and without a number.
func TestActsOfOperatorsAreTold(t *testing.T) {
	for _, act := range operatorActs {
		t.Run(act.name, func(t *testing.T) {
			w, told, g := newTarget(t)
			told.events = nil
			wants(t, act.do(w.As("anna@unix"), t.Context(), g), "")
			lines := slices.DeleteFunc(told.take(), func(l string) bool { return strings.HasPrefix(l, "session_ended") })
			if !slices.Equal(lines, []string{act.told}) {
				t.Fatalf("told %q, want %q", lines, act.told)
			}
			for _, e := range told.events {
				text, err := json.Marshal(e)
				if err != nil || strings.Contains(string(text), alice[1:]) || strings.Contains(string(text), bob[1:]) {
					t.Errorf("told with a number, or not at all: %s %v", text, err)
				}
				if e.Name != auth.EventSessionEnded && (e.By != "anna@unix" || e.Before == nil && e.After == nil) {
					t.Errorf("told without who or what: %s", text)
				}
			}
			if act.ends() {
				wants(t, w.request(g), auth.CodeSessionRevoked)
			} else {
				wants(t, w.request(g), "")
			}
		})
	}
}

func TestActsThatChangeNothingAreNoNews(t *testing.T) {
	for _, act := range operatorActs {
		if act.name == "revoke of all" { // ends what was begun since
			continue
		}
		t.Run(act.name, func(t *testing.T) {
			w, told, g := newTarget(t)
			wants(t, act.do(w.As("a"), t.Context(), g), "")
			told.take()
			err := act.do(w.As("b"), t.Context(), g)
			switch act.name {
			case "delete", "deletion of a device":
				wants(t, err, auth.CodeNotFound)
			case "create":
				wants(t, err, auth.CodeUserExists)
			default:
				wants(t, err, "")
			}
			if lines := told.take(); lines != nil {
				t.Errorf("told %q", lines)
			}
		})
	}
}

// A store that fails at any call of an act, before or after it was carried out:
// 503, memory and store agree, and the same act again does the rest.
func TestActsOfOperatorsWithFaults(t *testing.T) {
	for _, act := range operatorActs {
		for name := range troubles(nil) {
			t.Run(act.name+", "+name, func(t *testing.T) {
				for n := range 60 {
					w, _, g := newTarget(t)
					store := &troubledStore{Store: w.store}
					w.Store, w.Directory.(*auth.LocalDirectory).Store = store, store
					ctx, leave := context.WithCancel(t.Context())
					store.arm(n, troubles(leave)[name])
					err := act.do(w.As("a"), ctx, g)
					came := store.over()
					leave()
					if err != nil {
						if wants(t, err, auth.CodeStoreUnavailable); !came {
							t.Fatalf("no trouble, and %v", err)
						}
						agree(t, w, g, n)
						err = act.do(w.As("a"), t.Context(), g)
						if act.name == "deletion of a device" || act.name == "delete" {
							ignore(&err, auth.CodeNotFound) // it was done, and only its answer got lost
						}
						if act.name == "create" {
							ignore(&err, auth.CodeUserExists)
						}
						wants(t, err, "")
					}
					if got := w.request(g); act.ends() != (got != nil) {
						t.Errorf("afterwards: %v", got)
					}
					if agree(t, w, g, n); t.Failed() || !came {
						return
					}
				}
				t.Error("never without the trouble")
			})
		}
	}
}

func ignore(err *error, code auth.Code) {
	if *err != nil && auth.AsError(*err).Code == code {
		*err = nil
	}
}

// agree fails unless a request gets from memory what it gets from the store.
func agree(t *testing.T, w *world, g auth.Grant, n int) {
	t.Helper()
	live := w.Live
	warm, warmErr := w.Authenticate(t.Context(), proof(g), auth.Access)
	w.restart()
	w.hear()
	cold, coldErr := w.Authenticate(t.Context(), proof(g), auth.Access)
	w.Live = live
	if (warmErr == nil) != (coldErr == nil) || warm.RolesText != cold.RolesText {
		t.Fatalf("call %d: in memory %v %q, in the store %v %q", n, warmErr, warm.RolesText, coldErr, cold.RolesText)
	}
}

// during carries an act out at each call of the store that an operation makes,
// and hands the operation's outcome to check. What an operator was answered
// holds, whatever was under way.
func during(t *testing.T, act func(w *world), operation func(w *world, g auth.Grant, id, code string) (auth.Grant, error), check func(w *world, before, after auth.Grant, err error)) {
	t.Helper()
	for n := range 100 {
		w := newWorld(t)
		store := &troubledStore{Store: w.store}
		w.Store, w.Directory.(*auth.LocalDirectory).Store = store, store
		before := w.signIn(alice, "phone")
		id, code := w.start(alice)
		store.arm(n, trouble{first: func() error { act(w); return nil }})
		after, err := operation(w, before, id, code)
		came := store.over()
		if !came {
			act(w)
		}
		check(w, before, after, err)
		w.restart()
		w.hear()
		check(w, before, after, err)
		if t.Failed() {
			t.Fatalf("with the act before call %d", n)
		}
		if !came {
			return
		}
	}
	t.Error("it never ends")
}

func logsIn(w *world, _ auth.Grant, id, code string) (auth.Grant, error) {
	return w.verify(id, code, "tablet")
}

func refreshes(w *world, g auth.Grant, _, _ string) (auth.Grant, error) { return w.refresh(g.Ticket) }

// over fails unless the session of a grant has ended, if there was one.
func over(w *world, g auth.Grant, err error) {
	w.t.Helper()
	if err == nil {
		wants(w.t, w.request(g), auth.CodeSessionRevoked)
	}
}
