package admin

import (
	"context"
	"encoding/json"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Moves take the records of the store to another one.
type Moves interface {
	// Begin begins a move, which goes on when Begin has returned, and gives the
	// places of the two stores.
	Begin(ctx context.Context, o MoveOrder) (from, to string, err error)
	// Status tells how the last move does; ok is false when there was none.
	Status() (status any, ok bool)
	// Cancel ends the move that is under way.
	Cancel() (from, to string, err error)
}

// MoveOrder is where to, as the configuration to come has it.
type MoveOrder struct {
	Store         json.RawMessage `json:"store"` // missing: the default one
	MasterKey     string          `json:"master_key"`
	MasterKeyExec json.RawMessage `json:"master_key_exec"`
	Overwrite     bool            `json:"overwrite"`  // what the new store holds
	SkipCodes     bool            `json:"skip_codes"` // do not wait until those sent before are over
}

// move answers POST /migrate.
func (a *Admin) move(c *call) (any, error) {
	var o MoveOrder
	if err := c.read(&o); err != nil {
		return nil, err
	}
	from, to, err := a.Moves.Begin(c.Context(), o)
	if err != nil {
		return nil, err
	}
	c.operator.Tell(auth.Event{Name: auth.EventStoreMoveStarted, Before: from, After: to})
	return a.moveStatus(c)
}

// moveStatus answers GET /migrate.
func (a *Admin) moveStatus(*call) (any, error) {
	status, ok := a.Moves.Status()
	if !ok {
		return nil, auth.Refuse(auth.CodeNotFound).Because("The records are where they were when Caddy was started.")
	}
	return status, nil
}

// cancelMove answers POST /migrate/cancel.
func (a *Admin) cancelMove(c *call) (any, error) {
	if err := c.read(&struct{}{}); err != nil {
		return nil, err
	}
	from, to, err := a.Moves.Cancel()
	if err != nil {
		return nil, err
	}
	c.operator.Tell(auth.Event{Name: auth.EventStoreMoveEnded, Cause: "cancelled", Before: from, After: to})
	return a.moveStatus(c)
}
