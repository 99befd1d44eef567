package auth

import (
	"slices"
	"time"
)

// Operator is somebody who runs this Sidegate, at work. What they do is told,
// with who it was.
type Operator struct {
	service *Service
	by      string
}

// As gives the acts of an operator. by says who it is, for those who are told.
func (s *Service) As(by string) Operator { return Operator{s, by} }

// tell hands an event of an operator's act on.
func (o Operator) tell(e Event) {
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
	Sessions    int       `json:"sessions"` // live ones
}

// StateOf is the account as events tell it.
func (s *Service) StateOf(u User) AccountState {
	live := 0
	for _, seat := range u.Sessions {
		if seat.End == "" {
			live++
		}
	}
	state := AccountState{Type: u.Type, Roles: slices.Clone(u.Roles), Sessions: live}
	if state.Banned = u.bannedAt(s.now()); state.Banned {
		state.BanReason, state.BannedUntil = u.BanReason, u.BannedUntil
	}
	return state
}
