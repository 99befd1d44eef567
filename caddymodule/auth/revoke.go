package auth

import (
	"context"
	"slices"
)

// sessionState is what an event says of a session before and after it was
// revoked.
type sessionState struct {
	Active    bool      `json:"is_active"`
	EndReason EndReason `json:"end_reason,omitempty"`
}

// Sessions lists a user's sessions, most recently used first: the live ones, and
// those that have ended as far as the user's record still has them.
func (o Operator) Sessions(ctx context.Context, user uint64) ([]SessionInfo, error) {
	u, err := o.User(ctx, user)
	if err != nil {
		return nil, err
	}
	sessions := []SessionInfo{}
	for _, seat := range u.Sessions {
		v, touch, err := o.service.readSession(ctx, seat.SessionID)
		if err != nil {
			return nil, err
		}
		if v.ID != seat.SessionID {
			continue
		}
		info, err := o.service.info(ctx, v, touch, u, Proof{})
		if err != nil {
			return nil, err
		}
		sessions = append(sessions, info)
	}
	slices.SortStableFunc(sessions, func(a, b SessionInfo) int { return b.LastAccessed.Compare(a.LastAccessed) })
	return sessions, nil
}

// Session shows one session, also one that is over.
func (o Operator) Session(ctx context.Context, id SessionID) (SessionInfo, error) {
	v, touch, err := o.service.readSession(ctx, id)
	if err != nil {
		return SessionInfo{}, err
	}
	if v.UserID == 0 {
		return SessionInfo{}, Refuse(CodeNotFound).Because("There is no such session.")
	}
	u, _, err := read[User](ctx, o.service.Store, userKey(v.UserID))
	if err != nil {
		return SessionInfo{}, err
	}
	return o.service.info(ctx, v, touch, u, Proof{})
}

// Revoke ends one session.
func (o Operator) Revoke(ctx context.Context, id SessionID) error {
	info, err := o.Session(ctx, id)
	if err != nil || !info.IsActive {
		return err
	}
	if err := o.service.end(ctx, id, EndRevoked); err != nil {
		return err
	}
	o.Tell(Event{
		Name: EventSessionsRevoked, Cause: "session", UserID: info.UserID, SessionID: id, DeviceID: info.DeviceID,
		Before: sessionState{Active: true}, After: sessionState{EndReason: EndRevoked},
	})
	return nil
}

// RevokeUser ends all sessions of a user.
func (o Operator) RevokeUser(ctx context.Context, user uint64) error {
	_, err := o.change(ctx, user, Event{Name: EventSessionsRevoked, Cause: "user"}, func(u *User) ([]Seat, error) {
		return u.end(func(SessionID) EndReason { return EndRevoked }), nil
	})
	return err
}
