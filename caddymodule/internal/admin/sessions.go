package admin

import (
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// sessionAnswer is a session as operators see it.
type sessionAnswer struct {
	ID             auth.SessionID `json:"session_id"`
	UserID         uint64         `json:"auth_user_id"`
	DeviceID       string         `json:"device_id"`
	DeviceType     string         `json:"device_type"`
	DeviceName     string         `json:"device_name"`
	Platform       string         `json:"platform"`
	IsActive       bool           `json:"is_active"`
	EndReason      auth.EndReason `json:"end_reason,omitempty"`
	CreatedAt      time.Time      `json:"created_at"`
	LastAccessedAt time.Time      `json:"last_accessed_at"`
	LastActivityAt time.Time      `json:"last_activity_at"`
	ExpiresAt      time.Time      `json:"expires_at"`
}

func sessionOf(s auth.SessionInfo) sessionAnswer {
	return sessionAnswer{
		s.SessionID, s.UserID, s.DeviceID, s.DeviceType, s.DeviceName, s.Platform, s.IsActive, s.EndReason,
		s.CreatedAt, s.LastAccessedAt, s.LastActivityAt, s.ExpiresAt,
	}
}

// sessions answers GET /users/{id}/sessions: all at once, since max_per_user
// bounds them.
func (a *Admin) sessions(c *call) (any, error) {
	id, err := c.id()
	if err != nil {
		return nil, err
	}
	sessions, err := c.operator.Sessions(c.Context(), id)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Sessions []sessionAnswer `json:"sessions"`
	}{Sessions: []sessionAnswer{}}
	for _, s := range sessions {
		answer.Sessions = append(answer.Sessions, sessionOf(s))
	}
	return answer, nil
}

// sessionID is the session that the path names.
func (c *call) sessionID() (auth.SessionID, error) {
	id, ok := auth.ParseSessionID(c.PathValue("session"))
	if !ok {
		return id, invalid("This is no session's id: those have 22 characters.")
	}
	return id, nil
}

// session answers GET /sessions/{session}.
func (a *Admin) session(c *call) (any, error) {
	id, err := c.sessionID()
	if err != nil {
		return nil, err
	}
	s, err := c.operator.Session(c.Context(), id)
	if err != nil {
		return nil, err
	}
	return sessionOf(s), nil
}

// revoke answers POST /sessions/{session}/revoke.
func (a *Admin) revoke(c *call) (any, error) {
	id, err := c.sessionID()
	if err == nil {
		err = c.read(&struct{}{})
	}
	if err != nil {
		return nil, err
	}
	return nil, c.operator.Revoke(c.Context(), id)
}

// revokeUser answers POST /users/{id}/sessions/revoke.
func (a *Admin) revokeUser(c *call) (any, error) {
	id, err := c.about(&struct{}{})
	if err != nil {
		return nil, err
	}
	return nil, c.operator.RevokeUser(c.Context(), id)
}

// revokeAll answers POST /sessions/revoke-all.
func (a *Admin) revokeAll(c *call) (any, error) {
	if err := c.read(&struct{}{}); err != nil {
		return nil, err
	}
	return nil, c.operator.RevokeAll(c.Context())
}
