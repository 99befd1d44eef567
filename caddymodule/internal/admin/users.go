package admin

import (
	"strconv"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// userAnswer is a user as operators see them.
type userAnswer struct {
	ID        uint64     `json:"auth_user_id"`
	Phone     string     `json:"phone"` // masked: operators' screens and scripts' logs are read by many
	Type      string     `json:"user_type"`
	Roles     []string   `json:"user_roles"`
	CreatedAt time.Time  `json:"created_at"`
	SignedIn  *time.Time `json:"signed_in_at"` // null: never yet
	Sessions  int        `json:"sessions"`     // live ones, as far as the user's record knows
	Banned    bool       `json:"banned"`
	Reason    string     `json:"ban_reason,omitempty"`
	Until     time.Time  `json:"banned_until,omitzero"`
	Detached  time.Time  `json:"detached_at,omitzero"` // since then the number is another user's
}

func (a *Admin) answerOf(u auth.User) userAnswer {
	state := a.Service.StateOf(u)
	answer := userAnswer{
		ID: u.ID, Phone: a.MaskPhone(u.Phone), Type: u.Type, Roles: list(u.Roles), CreatedAt: u.CreatedAt.UTC(), Sessions: state.Sessions,
		Banned: state.Banned, Reason: state.BanReason, Until: state.BannedUntil, Detached: u.Detached,
	}
	if !u.SignedIn.IsZero() {
		answer.SignedIn = &u.SignedIn
	}
	return answer
}

// list is never null in JSON.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// users answers GET /users.
func (a *Admin) users(c *call) (any, error) {
	query, err := c.query("limit", "after", "banned", "role")
	if err != nil {
		return nil, err
	}
	q := auth.UserQuery{Role: query.Get("role")}
	if q.Limit, err = limit(query); err != nil {
		return nil, err
	}
	if after := query.Get("after"); after != "" {
		if q.After, err = userID(after); err != nil {
			return nil, err
		}
	}
	if text := query.Get("banned"); text != "" && text != "true" {
		return nil, invalid("banned can only be true.")
	}
	q.Banned = query.Has("banned")
	page, err := c.operator.Users(c.Context(), q)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Users []userAnswer `json:"users"`
		Next  string       `json:"next,omitempty"`
	}{Users: []userAnswer{}}
	for _, u := range page.Users {
		answer.Users = append(answer.Users, a.answerOf(u))
	}
	if page.Next != 0 {
		answer.Next = strconv.FormatUint(page.Next, 10)
	}
	return answer, nil
}

// user answers GET /users/{id}.
func (a *Admin) user(c *call) (any, error) {
	id, err := c.id()
	if err != nil {
		return nil, err
	}
	return a.oneUser(c.operator.User(c.Context(), id))
}

// findUser answers POST /users/find.
func (a *Admin) findUser(c *call) (any, error) {
	phone, err := a.readPhone(c)
	if err != nil {
		return nil, err
	}
	return a.oneUser(c.operator.UserOf(c.Context(), phone))
}

// readPhone reads a body that names nothing but a number.
func (a *Admin) readPhone(c *call) (string, error) {
	var in struct {
		Phone string `json:"phone"`
	}
	if err := c.read(&in); err != nil {
		return "", err
	}
	return a.ParsePhone(in.Phone)
}

func (a *Admin) oneUser(u auth.User, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a.answerOf(u), nil
}
