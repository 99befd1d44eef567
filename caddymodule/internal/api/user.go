package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// user answers GET /user.
func (a *API) user(w http.ResponseWriter, r *http.Request, _ string) error {
	owner, err := a.owner(w, r)
	if err != nil {
		return err
	}
	u, err := a.Service.User(r.Context(), owner.proof)
	if err != nil {
		return err
	}
	return a.writeUser(w, u)
}

func (a *API) writeUser(w http.ResponseWriter, u auth.User) error {
	return writeJSON(w, http.StatusOK, struct {
		ID        uint64    `json:"auth_user_id"`
		Phone     string    `json:"phone"`
		Type      string    `json:"user_type"`
		Roles     []string  `json:"user_roles"`
		CreatedAt time.Time `json:"created_at"`
	}{u.ID, a.MaskPhone(u.Phone), u.Type, roles(u.Roles), u.CreatedAt.UTC()})
}

// health answers GET /health: only the store is asked, so that a load balancer
// does not take a node away for a sender's trouble.
func (a *API) health(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := a.Service.Healthy(r.Context()); err != nil {
		return errors.Join(auth.ErrUnavailable, err)
	}
	return writeJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

// jwks answers GET /jwks.json.
func (a *API) jwks(w http.ResponseWriter, _ *http.Request, _ string) error {
	keys := a.Tokens.JWKS()
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(keys)
	return nil
}

// verify answers GET /verify, which the gate decides.
func (a *API) verify(w http.ResponseWriter, r *http.Request, _ string) error {
	if a.Verify == nil {
		return auth.Refuse(auth.CodeNotFound)
	}
	a.Verify.ServeHTTP(w, r)
	return nil
}
