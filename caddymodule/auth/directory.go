package auth

import (
	"context"
	"time"
)

// LocalDirectory keeps the accounts itself: a number is a user, made at the
// first sign-in when registration is open.
type LocalDirectory struct {
	Store        Store
	Secrets      Secrets
	Registration bool     // open
	UserType     string   // of new users
	Roles        []string // of new users
	FirstID      uint64   // of the first user
	// DormantAfter makes an account dormant that was not used for so long: then
	// a right code alone does not open it. Zero: none ever is.
	DormantAfter time.Duration
	Dormant      DormantHook // decides about dormant accounts; nil: an operator does
	Now          func() time.Time
}

type counter struct {
	Last uint64 `json:"last"`
}

// Resolve implements Directory. What makes a number a user is one swap on the
// number's entry; an id drawn in vain is never used again.
func (d *LocalDirectory) Resolve(ctx context.Context, phone, _ string) (Account, error) {
	var id uint64
	err := again(ctx, func() error {
		holder, at, err := d.holder(ctx, phone)
		if id = holder; id != 0 || err != nil {
			return err
		}
		if !d.Registration {
			return Refuse(CodeAccountDisabled)
		}
		if id, err = d.draw(ctx); err != nil {
			return err
		}
		return swap(ctx, d.Store, at, d.phoneKey(phone), phoneEntry{id})
	})
	if err != nil {
		return Account{}, err
	}
	// Somebody else may have been given the id: then the record has another
	// number, the entry leads nowhere, and the sign-in finds that out (errMoved).
	_, err = d.keepUser(ctx, id, phone)
	return Account{UserID: id}, err
}

const counterKey = "counter/user"

// DefaultRoles are those of new users.
func (d *LocalDirectory) DefaultRoles() []string { return d.Roles }

// keepUser makes the user's record if there is none yet.
func (d *LocalDirectory) keepUser(ctx context.Context, id uint64, phone string) (User, error) {
	return update(ctx, d.Store, userKey(id), func(u *User, exists bool) (Write, error) {
		if exists {
			return Write{}, errUnchanged
		}
		*u = User{ID: id, Phone: phone, Type: d.UserType, Roles: d.Roles, CreatedAt: d.created()}
		return Write{}, nil
	})
}

func (d *LocalDirectory) created() time.Time { return d.Now().UTC().Truncate(time.Millisecond) }

func (d *LocalDirectory) draw(ctx context.Context) (uint64, error) {
	c, err := update(ctx, d.Store, counterKey, func(c *counter, _ bool) (Write, error) {
		c.Last = max(c.Last+1, d.FirstID)
		return Write{}, nil
	})
	return c.Last, err
}
