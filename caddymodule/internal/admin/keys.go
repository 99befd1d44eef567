package admin

import (
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Key is a signing key as operators see it.
type Key struct {
	Kid       string    `json:"kid"`
	Algorithm string    `json:"alg"`
	SignFrom  time.Time `json:"sign_from,omitzero"` // zero: from the beginning
	Signs     bool      `json:"signs"`              // new tokens
}

// keys answers GET /keys.
func (a *Admin) keys(*call) (any, error) {
	return struct {
		Keys []Key `json:"keys"`
	}{list(a.Keys())}, nil
}

// rotateKeys answers POST /keys/rotate.
func (a *Admin) rotateKeys(c *call) (any, error) {
	var body struct {
		Revoke bool `json:"revoke"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	rotate, cause := a.RotateKeys, "rotate"
	if body.Revoke {
		rotate, cause = a.RevokeKeys, "revoke"
	}
	before := a.Keys()
	if err := rotate(c.Context()); err != nil {
		return nil, err
	}
	c.operator.Tell(auth.Event{Name: auth.EventKeysRotated, Cause: cause, Before: before, After: a.Keys()})
	return a.keys(c)
}
