package auth

import (
	"context"
	"errors"
)

// A number is a user's when its entry leads to the user and the user's record
// has the number, and has not been detached from it: one swap on that record is
// the whole of a move, and no number is ever a way to two accounts. An entry that
// leads to a user with another number is free: a move has left it behind, or has
// got no further than that.
// See docs/decisions.

// phoneEntry is the record that leads from a number to its user.
type phoneEntry struct {
	UserID uint64 `json:"auth_user_id"`
}

func (d *LocalDirectory) phoneKey(phone string) string { return phoneKey(d.Secrets, phone) }

func phoneKey(s Secrets, phone string) string { return "phone/" + s.Index("phone", phone) }

// holder is the user who has a number; 0 when it is free. A user whose record
// is still to be made has it too. at is the version of the number's entry.
//
// Whoever swaps a free entry from that version on takes it from no user, not
// even from one who is just moving there: the record of that user is written as
// it is, so that a move which has read it fails, and one that reads it later
// writes the entry anew (see tryMove).
func (d *LocalDirectory) holder(ctx context.Context, phone string) (id uint64, at Version, err error) {
	err = again(ctx, func() (err error) {
		var entry phoneEntry
		entry, at, err = readAt[phoneEntry](ctx, d.Store, d.phoneKey(phone))
		if id = entry.UserID; err != nil || at == 0 {
			return err
		}
		user, version, err := readAt[User](ctx, d.Store, userKey(id))
		if err != nil || version == 0 || user.Phone == phone && user.Detached.IsZero() {
			return err
		}
		id = 0
		return swap(ctx, d.Store, version, userKey(entry.UserID), user)
	})
	return id, at, err
}

// Move implements Mover.
func (d *LocalDirectory) Move(ctx context.Context, user uint64, phone string) (former string, err error) {
	err = again(ctx, func() error {
		former, err = d.tryMove(ctx, user, phone)
		return err
	})
	return former, err
}

// tryMove writes the number's entry, which opens nothing yet, and then the
// user's record as it was before that. Somebody else who takes the entry in
// between has written the record first: ErrConflict.
func (d *LocalDirectory) tryMove(ctx context.Context, id uint64, phone string) (former string, err error) {
	holder, at, err := d.holder(ctx, phone)
	if err != nil {
		return "", err
	}
	if holder != 0 && holder != id {
		return "", Refuse(CodeAccountDisabled).Because("The number belongs to another account.")
	}
	user, version, err := readAt[User](ctx, d.Store, userKey(id))
	switch {
	case err != nil:
		return "", err
	case version == 0 || !user.Deleted.IsZero() || user.BannedAt(d.Now()):
		return "", EndBanned.refusal()
	case user.Phone == phone:
		return user.Former, d.Store.Sync(ctx)
	}
	if err := swap(ctx, d.Store, at, d.phoneKey(phone), phoneEntry{id}); err != nil {
		return "", err
	}
	user.Phone, user.Former = phone, user.Phone
	return user.Former, swap(ctx, d.Store, version, userKey(id), user)
}

// Forget implements Mover. An entry that is left leads nowhere, and one that
// somebody has taken since stays.
func (d *LocalDirectory) Forget(ctx context.Context, id uint64, former string) error {
	holder, at, err := d.holder(ctx, former)
	if err == nil && holder == 0 && at != 0 {
		_, err = d.Store.Swap(ctx, at, Write{Key: d.phoneKey(former), Ending: true})
	}
	if err != nil && !errors.Is(err, ErrConflict) {
		return err
	}
	_, err = update(ctx, d.Store, userKey(id), func(u *User, _ bool) (Write, error) {
		if u.Former != former {
			return Write{}, errUnchanged
		}
		u.Former = ""
		return Write{}, nil
	})
	return err
}

// swap writes a record that has not changed since it was read.
func swap(ctx context.Context, s Store, at Version, key string, v any) error {
	w, err := writing(key, v, Write{})
	if err == nil {
		_, err = s.Swap(ctx, at, w)
	}
	return err
}

// again does something once more as long as somebody else was faster.
func again(ctx context.Context, do func() error) (err error) {
	for range 1000 {
		if err = do(); !errors.Is(err, ErrConflict) || ctx.Err() != nil {
			break
		}
	}
	return err
}
