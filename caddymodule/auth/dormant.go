package auth

import (
	"context"
	"fmt"
	"time"
)

// wake is the way of a right code into an account that may be dormant. Phone
// companies hand numbers on: who receives a number's messages today need not be
// who made its account.
//
// A hook that says so detaches the number. The old account's record decides
// that, and ends all its sessions in the same swap; the number's record follows,
// then the new account's. After a crash in between, the next right code finds a
// detached account and goes on from there (see LocalDirectory.Resolve).
func (s *Service) wake(ctx context.Context, account Account, c Challenge, proof string) (Account, error) {
	d, local := s.Directory.(*LocalDirectory)
	if !local || d.DormantAfter <= 0 {
		return account, nil
	}
	user, exists, err := read[User](ctx, s.Store, userKey(account.UserID))
	if err == nil && !exists {
		err = ErrUnavailable // deleted since it was resolved: the next try finds what is true then
	}
	if err != nil {
		return account, err
	}
	same, err := s.sameOwner(ctx, d, user, c, proof)
	if same || err != nil {
		return account, err
	}
	if !d.Registration { // there will be no new account, so nothing is taken from this one
		return account, Refuse(CodeAccountDisabled)
	}
	if err := s.detach(ctx, user.ID, d.DormantAfter); err != nil {
		return account, err
	}
	s.Log.Info("the number of a dormant account goes to a new one", "auth_user_id", user.ID, "phone", lastDigits(c.Phone))
	return d.Resolve(ctx, c.Phone, c.ID)
}

// sameOwner reports whether a right code comes from whom the account belongs to.
// A browser that has signed in to it before needs no further word: whoever was
// given the number since cannot have its proof.
func (s *Service) sameOwner(ctx context.Context, d *LocalDirectory, u User, c Challenge, proof string) (bool, error) {
	last, err := s.lastUsed(ctx, u)
	switch day, known := s.knownOn(proof, c.Phone); {
	case err != nil:
		return false, err
	case u.BannedAt(s.Now()) || !u.Deleted.IsZero():
		return false, Refuse(CodeAccountDisabled)
	case s.Now().Sub(last) < d.DormantAfter:
		return true, nil
	case known && !day.Before(u.CreatedAt.Truncate(proofDay)): // else it is of an account that had the number before
		return true, nil
	case d.Dormant == nil:
		s.Log.Warn("a right code did not open a dormant account: an operator must find out whether its number is still its owner's, and reopen it",
			"auth_user_id", u.ID, "phone", lastDigits(c.Phone), "last_used", last.UTC())
		return false, Refuse(CodeAccountDisabled)
	}
	return d.Dormant.SameOwner(ctx, Dormant{UserID: u.ID, Phone: c.Phone, LastUsedAt: last.UTC(), ChallengeID: c.ID})
}

// lastDigits is what a log may hold of a number.
func lastDigits(phone string) string { return "…" + phone[max(0, len(phone)-2):] }

// detach takes the number from an account, once. It does not from one that
// another code or an operator has opened since it was found dormant.
func (s *Service) detach(ctx context.Context, id uint64, after time.Duration) error {
	return s.endBy(ctx, id, func(u *User) ([]Seat, error) {
		now := s.now()
		switch {
		case !u.Detached.IsZero():
			return nil, errUnchanged
		case now.Sub(u.opened()) < after:
			return nil, fmt.Errorf("%w: the account was opened meanwhile", ErrUnavailable)
		}
		u.Detached = now
		return u.end(func(SessionID) EndReason { return EndRevoked }), nil
	})
}

// opened is when the account was last opened, as far as its record says.
func (u *User) opened() time.Time {
	return later(u.CreatedAt, later(u.SignedIn, u.Reopened))
}

// lastUsed is when an account was opened or any of its sessions was used: to
// the day, once a session's own record is gone.
func (s *Service) lastUsed(ctx context.Context, u User) (last time.Time, err error) {
	last = u.opened()
	records, err := s.Store.Get(ctx, usedKey(u.ID))
	if err != nil {
		return last, err
	}
	if records[0].Version != 0 {
		use, err := decodeTouch(records[0].Value)
		if err != nil {
			return last, err
		}
		last = later(last, time.UnixMilli(use.LastAccess))
	}
	for _, seat := range u.Sessions {
		v, touch, err := s.readSession(ctx, seat.SessionID)
		if err != nil {
			return last, err
		}
		if v.ID == seat.SessionID {
			last = later(last, time.UnixMilli(touch.LastAccess))
		}
	}
	return last, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Reopen marks an account as used now, so that the next right code opens it: for
// an operator who has made sure that its number is still its owner's.
func (o Operator) Reopen(ctx context.Context, id uint64) (User, error) {
	return o.change(ctx, id, Event{Name: EventUserReopened}, func(u *User) ([]Seat, error) {
		if !u.Detached.IsZero() {
			return nil, errDetached
		}
		u.Reopened = o.service.now()
		return nil, nil
	})
}

var errDetached = Refuse(CodeInvalidRequest).Because("The number belongs to another account now.")
