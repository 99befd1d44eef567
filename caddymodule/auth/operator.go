package auth

import (
	"context"
	"reflect"
	"slices"
	"time"
)

// Operator is somebody who runs this Sidegate, at work. What they change is
// told, with who it was, what there was before and what there is then. An act
// that changes nothing is no error, and no news.
type Operator struct {
	service *Service
	by      string
}

// As gives the acts of an operator. by says who it is, for those who are told.
func (s *Service) As(by string) Operator { return Operator{s, by} }

// Tell hands an event of an operator's act on.
func (o Operator) Tell(e Event) {
	e.By = o.by
	o.service.tell(e)
}

// AccountState is what an event says of an account before and after a change.
type AccountState struct {
	Type        string    `json:"user_type"`
	Roles       []string  `json:"user_roles"`
	Banned      bool      `json:"banned"`
	BanReason   string    `json:"ban_reason,omitempty"`
	BannedUntil time.Time `json:"banned_until,omitzero"`
	ReopenedAt  time.Time `json:"reopened_at,omitzero"`
	Sessions    int       `json:"sessions"` // that live, as far as the user's record knows
}

// StateOf is the account as events tell it.
func (s *Service) StateOf(u User) AccountState {
	state := AccountState{Type: u.Type, Roles: slices.Clone(u.Roles), ReopenedAt: u.Reopened}
	for _, seat := range u.Sessions {
		if seat.End == "" {
			state.Sessions++
		}
	}
	if state.Banned = u.BannedAt(s.now()); state.Banned {
		state.BanReason, state.BannedUntil = u.Ban.Reason, u.Ban.Until
	}
	return state
}

// change is an act on one account: one swap on the user's record, which also
// ends the sessions whose seats apply has marked. It tells the event.
func (o Operator) change(ctx context.Context, id uint64, e Event, apply func(*User) (over []Seat, err error)) (user User, err error) {
	s, changed := o.service, false
	var before AccountState
	err = s.endBy(ctx, id, func(u *User) (over []Seat, err error) {
		if changed = false; u.ID == 0 || !u.Deleted.IsZero() {
			return nil, errNoUser
		}
		before = s.StateOf(*u)
		if over, err = apply(u); err != nil {
			return over, err
		}
		if user = *u; reflect.DeepEqual(before, s.StateOf(*u)) {
			return nil, errUnchanged
		}
		changed = true
		return over, nil
	})
	if err == nil && changed {
		e.UserID, e.Before, e.After = id, before, s.StateOf(user)
		o.Tell(e)
	}
	return user, err
}
