package auth

import (
	"context"
	"errors"
	"fmt"
)

// maxOwnID bounds the ids that operators choose: others count up from them, and
// must stay exact as JSON numbers (RFC 8259, section 6).
const maxOwnID = (1<<53 - 1) / 2

// Create makes an account with a number. Zero values take what a new user has;
// an id of one's own is one that the app knows the person by already.
func (o Operator) Create(ctx context.Context, u User) (User, error) {
	registry, ok := o.service.Directory.(Registry)
	if !ok {
		return User{}, Refuse(CodeInvalidRequest).Because("Users are made where this directory keeps them.")
	}
	change := AccountChange{Roles: &u.Roles}
	if u.Type != "" {
		change.Type = &u.Type
	}
	if err := change.check(); err != nil {
		return User{}, err
	}
	if u.ID > maxOwnID {
		return User{}, Refuse(CodeInvalidRequest).Because("An id of your own must be below 2^52.")
	}
	ctx, cancel := lasting(ctx)
	defer cancel()
	made, err := registry.Add(ctx, u)
	if err == nil {
		o.Tell(Event{Name: EventUserCreated, UserID: made.ID, Subject: o.service.subject(made.Phone), After: o.service.StateOf(made)})
	}
	return made, err
}

// Find implements Finder.
func (d *LocalDirectory) Find(ctx context.Context, phone string) (id uint64, found bool, err error) {
	entry, found, err := read[phoneEntry](ctx, d.Store, d.phoneKey(phone))
	if err != nil || !found {
		return 0, false, err
	}
	u, found, err := read[User](ctx, d.Store, userKey(entry.UserID))
	return u.ID, found && u.Phone == phone && u.Detached.IsZero(), err
}

// Add implements Registry. The user's record comes first, and with its number in
// it: an entry that led to an id which is somebody's would be a way into their
// account. What a crash has left between the two, the same call finishes.
func (d *LocalDirectory) Add(ctx context.Context, u User) (User, error) {
	switch holder, _, err := d.holder(ctx, u.Phone); {
	case err != nil:
		return u, err
	case holder != 0 && holder == u.ID:
		return u, errUserExists
	case holder != 0:
		return u, errPhoneTaken
	}
	u, err := d.reserve(ctx, d.complete(u))
	if err != nil {
		return u, err
	}
	holder, err := d.claim(ctx, u)
	if err == nil && holder != u.ID {
		// A sign-in with the number was faster.
		if err = d.unreserve(ctx, u); err == nil {
			err = errPhoneTaken
		}
	}
	return u, err
}

// claim has a user's number lead to the user, unless it is somebody's, and gives
// whose it is then.
func (d *LocalDirectory) claim(ctx context.Context, u User) (holder uint64, err error) {
	err = again(ctx, func() error {
		var at Version
		if holder, at, err = d.holder(ctx, u.Phone); err != nil || holder != 0 {
			return err
		}
		return swap(ctx, d.Store, at, d.phoneKey(u.Phone), phoneEntry{u.ID})
	})
	if err == nil && holder == 0 {
		holder = u.ID
	}
	return holder, err
}

var errPhoneTaken = Refuse(CodePhoneTaken).Because("The number has a user.")

var errUserExists = Refuse(CodeUserExists).Because("There is a user with this id.")

// complete fills in what a new user has.
func (d *LocalDirectory) complete(u User) User {
	if u.Type == "" {
		u.Type = d.UserType
	}
	if u.Roles == nil {
		u.Roles = d.Roles
	}
	u.CreatedAt = d.created()
	return u
}

// reserve writes the record of a user that is not there yet. Ids that others
// draw from now on are higher.
func (d *LocalDirectory) reserve(ctx context.Context, u User) (User, error) {
	var err error
	if u.ID == 0 {
		u.ID, err = d.draw(ctx)
	} else {
		_, err = update(ctx, d.Store, counterKey, func(c *counter, _ bool) (Write, error) {
			if c.Last >= u.ID {
				return Write{}, errUnchanged
			}
			c.Last = u.ID
			return Write{}, nil
		})
	}
	if err != nil {
		return u, err
	}
	return update(ctx, d.Store, userKey(u.ID), func(stored *User, exists bool) (Write, error) {
		if exists && !unused(*stored, u.Phone) {
			return Write{}, errUserExists
		}
		*stored = u
		return Write{}, nil
	})
}

// unused tells of a record that no one has signed in with, and that an attempt
// to make this very user has left.
func unused(u User, phone string) bool {
	return u.Phone == phone && u.SignedIn.IsZero() && len(u.Sessions) == 0 && u.Ban == nil && u.Deleted.IsZero()
}

func (d *LocalDirectory) unreserve(ctx context.Context, u User) error {
	_, err := remove(ctx, d.Store, userKey(u.ID), func(stored User) bool { return unused(stored, u.Phone) })
	return err
}

// Remove implements Registry.
func (d *LocalDirectory) Remove(ctx context.Context, id uint64, phone string) error {
	_, err := remove(ctx, d.Store, d.phoneKey(phone), func(e phoneEntry) bool { return e.UserID == id })
	return err
}

// remove deletes a record, if it is there and wanted says so of it, and gives
// what it was.
func remove[T any](ctx context.Context, s Store, key string, wanted func(T) bool) (was T, err error) {
	for range 1000 {
		read, err := s.Get(ctx, key)
		if err != nil {
			return was, err
		}
		if read[0].Version == 0 {
			return *new(T), s.Sync(ctx)
		}
		was = *new(T)
		if err := decode(read[0].Value, &was); err != nil {
			return was, err
		}
		if !wanted(was) {
			return *new(T), s.Sync(ctx)
		}
		if _, err = s.Swap(ctx, read[0].Version, Write{Key: key, Ending: true}); !errors.Is(err, ErrConflict) {
			return was, err
		}
	}
	return was, fmt.Errorf("deleting %s: %w", kindOf(key), ErrUnavailable)
}
