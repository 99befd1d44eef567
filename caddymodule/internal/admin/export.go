package admin

import (
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// exported is a user as an import takes it.
type exported struct {
	Phone     string    `json:"phone"`
	ID        uint64    `json:"auth_user_id"`
	Type      string    `json:"user_type"`
	Roles     []string  `json:"user_roles"`
	CreatedAt time.Time `json:"created_at"`
	Banned    bool      `json:"banned"`
}

// usersExported is what an event says of it.
type usersExported struct {
	Users int `json:"users"`
}

// exportUsers answers GET /users/export with a line of JSON for each user.
func (a *Admin) exportUsers(c *call) (any, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	c.lasting()
	to, n := c.startLines(), 0
	err := c.operator.EachUser(c.Context(), func(u auth.User) error {
		n++
		return to.json.Encode(exported{u.Phone, u.ID, u.Type, list(u.Roles), u.CreatedAt.UTC(), a.Service.StateOf(u).Banned})
	})
	if err == nil {
		c.operator.Tell(auth.Event{Name: auth.EventUsersExported, After: usersExported{n}})
	}
	return to.answer(err)
}

// holdings answers GET /users/{id}/export with all that is held on one person.
func (a *Admin) holdings(c *call) (any, error) {
	id, err := c.id()
	if err != nil {
		return nil, err
	}
	return c.operator.Holdings(c.Context(), id)
}
