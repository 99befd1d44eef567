package auth

import (
	"context"
	"time"
)

// What the tests of this package see of its inside.

func Encode(v any) ([]byte, error)            { return encode(v) }
func Decode(value []byte, v any) error        { return decode(value, v) }
func DecodeTouch(value []byte) (Touch, error) { return decodeTouch(value) }
func (t Touch) Encode() []byte                { return t.encode() }

// ChangeUser changes a user's record as an operator would.
func ChangeUser(ctx context.Context, s Store, id uint64, change func(*User)) error {
	_, err := update(ctx, s, userKey(id), func(u *User, _ bool) (Write, error) {
		change(u)
		return Write{}, nil
	})
	return err
}

// ChangeSession changes a session's record behind the service's back.
func ChangeSession(ctx context.Context, s Store, id SessionID, change func(*Session)) error {
	_, err := update(ctx, s, sessionKey(id), func(v *Session, _ bool) (Write, error) {
		change(v)
		return Write{Expires: v.ExpiresAt}, nil
	})
	return err
}

// ReadUser reads a user's record.
func ReadUser(ctx context.Context, s Store, id uint64) (User, bool, error) {
	return read[User](ctx, s, userKey(id))
}

// InFlight counts the requests on board.
func (l *Live) InFlight() (n int) {
	l.eachFlight(func(*liveShard, *Flight) { n++ })
	return n
}

// Crowd puts sessions into the shard of another, all used at an instant.
func (l *Live) Crowd(beside SessionID, n int, at time.Time) {
	for range n {
		id := NewSessionID()
		id[0] = beside[0]
		l.insert(entry{id: id, usedAt: at.UnixMilli()}, l.stamp(id))
	}
}
