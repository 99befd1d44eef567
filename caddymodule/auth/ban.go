package auth

import (
	"context"
	"time"
)

// Ban keeps a user out.
type Ban struct {
	Reason string    `json:"reason,omitempty"` // for operators; the user is not told
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // it ends by itself at that instant; zero: never
}

// BannedAt says whether the user is banned at an instant.
func (u User) BannedAt(now time.Time) bool {
	return u.Ban != nil && (u.Ban.Until.IsZero() || now.Before(u.Ban.Until))
}

// Ban keeps a user out until an instant (zero: until Unban), and ends all the
// user's sessions. It is our record of the user that says so, whichever
// directory knows the number. A ban in place of an earlier one replaces it.
func (o Operator) Ban(ctx context.Context, id uint64, reason string, until time.Time) (User, error) {
	now := o.service.now()
	if until = until.UTC().Truncate(time.Millisecond); !until.IsZero() && !until.After(now) {
		return User{}, Refuse(CodeInvalidRequest).Because("This ban would be over already.")
	}
	return o.change(ctx, id, Event{Name: EventUserBanned}, func(u *User) ([]Seat, error) {
		u.Ban = &Ban{Reason: reason, Since: now, Until: until}
		return u.end(func(SessionID) EndReason { return EndBanned }), nil
	})
}

// Unban lets a user in again. Sessions that the ban has ended stay over.
func (o Operator) Unban(ctx context.Context, id uint64) (User, error) {
	return o.change(ctx, id, Event{Name: EventUserUnbanned}, func(u *User) ([]Seat, error) {
		u.Ban = nil
		return nil, nil
	})
}
