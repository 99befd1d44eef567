package auth

import (
	"context"
	"errors"
	"time"
)

// tombstoneLife is how long a deleted user's id stays taken: longer than any
// sign-in is under way that began before (see lasting).
const tombstoneLife = time.Minute

// Delete removes a user for good: sessions, devices, and the number, whose next
// sign-in makes a new user. The user's record decides, first; what hangs on it
// follows. At the end all of it is erased, the record too (see Eraser). When the
// answer is an error, the same call goes on from where it stopped, and until then
// nobody gets in.
//
// Where another directory than local knows the user, the next sign-in makes the
// record anew: delete there first.
func (o Operator) Delete(ctx context.Context, id uint64) error {
	s := o.service
	var user User
	var before AccountState
	news := false
	err := s.endBy(ctx, id, func(u *User) ([]Seat, error) {
		if news = u.Deleted.IsZero(); u.ID == 0 || u.isTombstone() {
			return nil, errNoUser
		}
		if user = *u; !news {
			return nil, errUnchanged
		}
		before = s.StateOf(*u)
		u.Deleted = s.now()
		return u.end(func(SessionID) EndReason { return EndRevoked }), nil
	})
	if err != nil {
		return err
	}
	if news {
		o.Tell(Event{Name: EventUserDeleted, UserID: id, Subject: s.subject(user.Phone), Before: before})
	}
	return s.takeApart(ctx, user)
}

// takeApart removes what hangs on a user who is being deleted, and then the
// user's record.
func (s *Service) takeApart(ctx context.Context, u User) error {
	ctx, cancel := lasting(ctx)
	defer cancel()
	gone := []Write{{Key: usedKey(u.ID), Ending: true}}
	for _, phone := range u.numbers() {
		if registry, ok := s.Directory.(Registry); ok {
			if err := registry.Remove(ctx, u.ID, phone); err != nil {
				return err
			}
		}
		gone = append(gone, Write{Key: s.memberKey(phone), Ending: true})
	}
	if err := s.Store.Put(ctx, gone); err != nil {
		return err
	}
	left := s.forgetDevices(ctx, u.ID)
	if left != nil && !errors.Is(left, ErrCannotList) {
		return left
	}
	return s.bury(ctx, u.ID, left)
}

// bury makes unreadable what was ever written of a user, also where the store
// has it still though it was deleted, and leaves a tombstone, which is about
// nobody. Until the tombstone goes too, a touch or a sign-in that was under way
// writes nothing of the user. left is why not all was deleted: then it must be
// erased.
func (s *Service) bury(ctx context.Context, user uint64, left error) error {
	now := s.now()
	until := now.Add(tombstoneLife)
	err := s.erase(ctx, user, until)
	if errors.Is(err, ErrCannotErase) {
		err = left
	}
	if err != nil {
		return err
	}
	_, err = update(ctx, s.Store, userKey(user), func(u *User, _ bool) (Write, error) {
		*u = User{Deleted: now}
		return Write{Expires: until, Ending: true, Unlisted: true}, nil
	})
	return err
}

func (s *Service) erase(ctx context.Context, user uint64, until time.Time) error {
	eraser, ok := s.Store.(Eraser)
	if !ok {
		return ErrCannotErase
	}
	return eraser.Erase(ctx, user, until)
}

// isTombstone tells what is left of a user who was deleted.
func (u User) isTombstone() bool { return !u.Deleted.IsZero() && u.Phone == "" }

// numbers are those that are the user's, also one that is being left.
func (u User) numbers() (numbers []string) {
	if u.Detached.IsZero() {
		numbers = append(numbers, u.Phone)
	}
	if u.Former != "" {
		numbers = append(numbers, u.Former)
	}
	return numbers
}

func (s *Service) forgetDevices(ctx context.Context, user uint64) error {
	for {
		devices, err := s.devices(ctx, user, "", listBatch)
		if err != nil || len(devices) == 0 {
			return err
		}
		gone := make([]Write, len(devices))
		for i, d := range devices {
			gone[i] = Write{Key: deviceKey(user, d.ID), Ending: true}
		}
		if err := s.Store.Put(ctx, gone); err != nil {
			return err
		}
	}
}
