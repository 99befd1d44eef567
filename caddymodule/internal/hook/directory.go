package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Directory asks the app who a phone number is: its own table of users stays
// the truth. It implements auth.Directory.
type Directory struct{ *client }

// NewDirectory checks the URL.
func NewDirectory(o Options) (*Directory, error) {
	c, err := newClient("directory", o)
	if err != nil {
		return nil, err
	}
	return &Directory{c}, nil
}

// Resolve implements auth.Directory. 404 (unknown) and 403 (banned) refuse the
// account; every other answer but an account means that the directory cannot
// answer now.
func (d *Directory) Resolve(ctx context.Context, phone, challengeID string) (auth.Account, error) {
	status, answer, err := d.ask(ctx, challengeID, struct {
		Phone       string `json:"phone"`
		ChallengeID string `json:"challenge_id"`
	}{phone, challengeID})
	if err != nil {
		return auth.Account{}, err
	}
	switch status {
	case http.StatusOK:
		return account(answer)
	case http.StatusNotFound, http.StatusForbidden:
		return auth.Account{}, auth.Refuse(auth.CodeAccountDisabled)
	}
	return auth.Account{}, d.unusable(status)
}

// account reads the answer. The domain checks what the values may be.
func account(answer []byte) (auth.Account, error) {
	m, err := members(answer, "auth_user_id", "user_type", "user_roles")
	if err != nil {
		return auth.Account{}, err
	}
	var a auth.Account
	for name, to := range map[string]any{"auth_user_id": &a.UserID, "user_type": &a.Type, "user_roles": &a.Roles} {
		if value, given := m[name]; given && json.Unmarshal(value, to) != nil {
			return auth.Account{}, fmt.Errorf("the directory's answer has another kind of %s than was agreed", name)
		}
	}
	if a.UserID == 0 || a.Type == "" {
		return auth.Account{}, errors.New("the directory's answer lacks auth_user_id or user_type")
	}
	return a, nil
}
