package auth

import (
	"context"
	"fmt"
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
	Now          func() time.Time
}

// phoneEntry is the record that leads from a number to its user.
type phoneEntry struct {
	UserID uint64 `json:"auth_user_id"`
}

type counter struct {
	Last uint64 `json:"last"`
}

// Resolve implements Directory. A number whose user has another number leads to
// somebody who was given the id at the same time: it gets a new one.
func (d *LocalDirectory) Resolve(ctx context.Context, phone, _ string) (Account, error) {
	entry, exists, err := read[phoneEntry](ctx, d.Store, d.phoneKey(phone))
	if err != nil {
		return Account{}, err
	}
	if exists {
		user, err := d.keepUser(ctx, entry.UserID, phone)
		if err != nil || user.Phone == phone {
			return Account{UserID: entry.UserID}, err
		}
	}
	return d.register(ctx, phone, entry.UserID)
}

// register makes a number a new user's, unless it leads elsewhere than to old
// (0: to nobody) by now. That is one swap on the number's record; an id drawn in
// vain is never used again.
func (d *LocalDirectory) register(ctx context.Context, phone string, old uint64) (Account, error) {
	if !d.Registration {
		return Account{}, Refuse(CodeAccountDisabled)
	}
	id, err := d.draw(ctx)
	if err != nil {
		return Account{}, err
	}
	entry, err := update(ctx, d.Store, d.phoneKey(phone), func(e *phoneEntry, exists bool) (Write, error) {
		if exists && e.UserID != old {
			return Write{}, errUnchanged
		}
		e.UserID = id
		return Write{}, nil
	})
	if err != nil {
		return Account{}, err
	}
	user, err := d.keepUser(ctx, entry.UserID, phone)
	if err == nil && user.Phone != phone {
		err = fmt.Errorf("%w: the id was given to another number meanwhile", ErrUnavailable)
	}
	return Account{UserID: entry.UserID}, err
}

func (d *LocalDirectory) phoneKey(phone string) string {
	return "phone/" + d.Secrets.Index("phone", phone)
}

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
	c, err := update(ctx, d.Store, "counter/user", func(c *counter, _ bool) (Write, error) {
		c.Last = max(c.Last+1, d.FirstID)
		return Write{}, nil
	})
	return c.Last, err
}
