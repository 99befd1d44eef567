package admin

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// createUser answers POST /users.
func (a *Admin) createUser(c *call) (any, error) {
	var in struct {
		ID    uint64   `json:"auth_user_id"`
		Phone string   `json:"phone"`
		Type  string   `json:"user_type"`
		Roles []string `json:"user_roles"`
	}
	err := c.read(&in)
	if err != nil {
		return nil, err
	}
	if in.Phone, err = a.ParsePhone(in.Phone); err != nil {
		return nil, err
	}
	made, err := c.operator.Create(c.Context(), auth.User{ID: in.ID, Phone: in.Phone, Type: in.Type, Roles: in.Roles})
	if err != nil {
		return nil, err
	}
	return created{a.answerOf(made)}, nil
}

// changeUser answers PATCH /users/{id}.
func (a *Admin) changeUser(c *call) (any, error) {
	var in struct {
		Type  *string   `json:"user_type"`
		Roles *[]string `json:"user_roles"`
	}
	id, err := c.about(&in)
	if err != nil {
		return nil, err
	}
	if in.Type == nil && in.Roles == nil {
		return nil, invalid("Name user_type, user_roles or both.")
	}
	return a.oneUser(c.operator.Change(c.Context(), id, auth.AccountChange{Type: in.Type, Roles: in.Roles}))
}

// deleteUser answers DELETE /users/{id}.
func (a *Admin) deleteUser(c *call) (any, error) {
	id, err := c.id()
	if err != nil {
		return nil, err
	}
	return nil, c.operator.Delete(c.Context(), id)
}

// ban answers POST /users/{id}/ban.
func (a *Admin) ban(c *call) (any, error) {
	var in struct {
		Reason string    `json:"reason"`
		Until  time.Time `json:"until"`
	}
	id, err := c.about(&in)
	if err == nil {
		err = checkReason(in.Reason)
	}
	if err != nil {
		return nil, err
	}
	return a.oneUser(c.operator.Ban(c.Context(), id, in.Reason, in.Until))
}

// mostReason is how long a reason may be, in characters.
const mostReason = 200

// checkReason keeps out what could look like another line, or another text, in
// a log or a terminal.
func checkReason(reason string) error {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if utf8.RuneCountInString(reason) > mostReason || strings.ContainsFunc(reason, odd) {
		return invalid(fmt.Sprintf("reason must have at most %d characters, all of them printable.", mostReason))
	}
	return nil
}

// unban answers POST /users/{id}/unban.
func (a *Admin) unban(c *call) (any, error) {
	id, err := c.about(&struct{}{})
	if err != nil {
		return nil, err
	}
	return a.oneUser(c.operator.Unban(c.Context(), id))
}

// reopenUser answers POST /users/{id}/reopen.
func (a *Admin) reopenUser(c *call) (any, error) {
	id, err := c.about(&struct{}{})
	if err != nil {
		return nil, err
	}
	return a.oneUser(c.operator.Reopen(c.Context(), id))
}

// unlockUser answers POST /users/{id}/unlock.
func (a *Admin) unlockUser(c *call) (any, error) {
	id, err := c.about(&struct{}{})
	if err != nil {
		return nil, err
	}
	return nil, c.operator.UnlockUser(c.Context(), id)
}

// unlock answers POST /unlock.
func (a *Admin) unlock(c *call) (any, error) {
	phone, err := a.readPhone(c)
	if err != nil {
		return nil, err
	}
	return nil, c.operator.Unlock(c.Context(), phone)
}
