package admin

import (
	"context"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Masters are the master keys that open the store.
type Masters interface {
	// List shows them, the oldest first.
	List(ctx context.Context) ([]Master, error)
	// Rewrap lets one more open the store: the brought one, or a new one in the
	// key file that the server has made itself.
	Rewrap(ctx context.Context, brought string) error
	// Retire takes all from the store but the one that the configuration gives.
	Retire(ctx context.Context) error
}

// Master is a master key as operators see it.
type Master struct {
	Fingerprint string    `json:"fingerprint"`
	AddedAt     time.Time `json:"added_at"`
	InUse       bool      `json:"in_use"` // the configuration gives it
}

// masters answers GET /keys/master.
func (a *Admin) masters(c *call) (any, error) {
	masters, err := a.Masters.List(c.Context())
	return struct {
		MasterKeys []Master `json:"master_keys"`
	}{list(masters)}, err
}

// rewrap answers POST /keys/master.
func (a *Admin) rewrap(c *call) (any, error) {
	var body struct {
		NewKey string `json:"new_key"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	return a.changeMasters(c, auth.EventMasterKeyAdded, func(ctx context.Context) error {
		return a.Masters.Rewrap(ctx, body.NewKey)
	})
}

// retireMasters answers POST /keys/master/retire.
func (a *Admin) retireMasters(c *call) (any, error) {
	if err := c.read(&struct{}{}); err != nil {
		return nil, err
	}
	return a.changeMasters(c, auth.EventMasterKeysRetired, a.Masters.Retire)
}

func (a *Admin) changeMasters(c *call, name auth.EventName, change func(context.Context) error) (any, error) {
	before, err := a.Masters.List(c.Context())
	if err != nil {
		return nil, err
	}
	if err := change(c.Context()); err != nil {
		return nil, err
	}
	after, err := a.Masters.List(c.Context())
	if err != nil {
		return nil, err
	}
	if len(after) != len(before) { // else it was so already
		c.operator.Tell(auth.Event{Name: name, Before: before, After: after})
	}
	return a.masters(c)
}
