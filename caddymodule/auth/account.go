package auth

import (
	"context"
	"slices"
)

// AccountChange names what becomes different; nil leaves it as it is.
type AccountChange struct {
	Type  *string
	Roles *[]string
}

// Change gives a user another type or other roles. They hold from the next
// request of every session, on this node. Where another directory than local
// says what a user is, it does so again at the next sign-in.
func (o Operator) Change(ctx context.Context, id uint64, c AccountChange) (User, error) {
	if err := c.check(); err != nil {
		return User{}, err
	}
	var seats []Seat
	u, err := o.change(ctx, id, Event{Name: EventUserChanged}, func(u *User) ([]Seat, error) {
		seats = u.Sessions
		if c.Type != nil {
			u.Type = *c.Type
		}
		if c.Roles != nil {
			u.Roles = slices.Clone(*c.Roles)
		}
		return nil, nil
	})
	o.service.reread(seats) // after a fault as well: the write may be there all the same
	for _, seat := range seats {
		o.service.Live.watchers.wake(seat.SessionID)
	}
	return u, err
}

// mostRoles keeps access tokens well below the size that everybody takes.
const mostRoles = 32

func (c AccountChange) check() error {
	if c.Type != nil && (*c.Type == "" || !IsLabel(*c.Type)) {
		return badLabel
	}
	if c.Roles == nil {
		return nil
	}
	for i, role := range *c.Roles {
		if role == "" || !IsLabel(role) || slices.Contains((*c.Roles)[:i], role) {
			return badLabel
		}
	}
	if len(*c.Roles) > mostRoles {
		return Refuse(CodeInvalidRequest).Because("A user has at most 32 roles.")
	}
	return nil
}

var badLabel = Refuse(CodeInvalidRequest).Because("A type or a role is 1 to 64 letters, digits and any of . _ : -; no role is given twice.")

// IsLabel holds types and roles to what stands safely in a comma-separated
// header. The empty word is one.
func IsLabel(word string) bool {
	for _, c := range []byte(word) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '.' && c != '_' && c != ':' && c != '-' {
			return false
		}
	}
	return len(word) <= 64
}
