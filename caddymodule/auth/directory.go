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
	Now          func() time.Time
}

// phoneEntry is the record that leads from a number to its user.
type phoneEntry struct {
	UserID uint64 `json:"auth_user_id"`
}

type counter struct {
	Last uint64 `json:"last"`
}

// Resolve implements Directory. What makes a number a user is one swap on the
// number's record; an id drawn in vain is never used again.
func (d *LocalDirectory) Resolve(ctx context.Context, phone, _ string) (Account, error) {
	key := d.phoneKey(phone)
	entry, exists, err := read[phoneEntry](ctx, d.Store, key)
	if err != nil {
		return Account{}, err
	}
	if exists {
		return Account{UserID: entry.UserID}, d.keepUser(ctx, entry.UserID, phone)
	}
	if !d.Registration {
		return Account{}, Refuse(CodeAccountDisabled)
	}
	id, err := d.draw(ctx)
	if err != nil {
		return Account{}, err
	}
	entry, err = update(ctx, d.Store, key, func(e *phoneEntry, exists bool) (Write, error) {
		if exists {
			return Write{}, errUnchanged
		}
		e.UserID = id
		return Write{}, nil
	})
	if err != nil {
		return Account{}, err
	}
	return Account{UserID: entry.UserID}, d.keepUser(ctx, entry.UserID, phone)
}

// Find implements Finder.
func (d *LocalDirectory) Find(ctx context.Context, phone string) (id uint64, found bool, err error) {
	entry, found, err := read[phoneEntry](ctx, d.Store, d.phoneKey(phone))
	return entry.UserID, found, err
}

func (d *LocalDirectory) phoneKey(phone string) string {
	return "phone/" + d.Secrets.Index("phone", phone)
}

// DefaultRoles are those of new users.
func (d *LocalDirectory) DefaultRoles() []string { return d.Roles }

// keepUser makes the user's record if there is none yet.
func (d *LocalDirectory) keepUser(ctx context.Context, id uint64, phone string) error {
	_, err := update(ctx, d.Store, userKey(id), func(u *User, exists bool) (Write, error) {
		if exists {
			return Write{}, errUnchanged
		}
		created := d.Now().UTC().Truncate(time.Millisecond)
		*u = User{ID: id, Phone: phone, Type: d.UserType, Roles: d.Roles, CreatedAt: created}
		return Write{}, nil
	})
	return err
}

func (d *LocalDirectory) draw(ctx context.Context) (uint64, error) {
	c, err := update(ctx, d.Store, "counter/user", func(c *counter, _ bool) (Write, error) {
		c.Last = max(c.Last+1, d.FirstID)
		return Write{}, nil
	})
	return c.Last, err
}
