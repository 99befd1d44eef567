package auth

import "context"

// guessState is what an event says of a number's wrong codes.
type guessState struct {
	Counted int `json:"counted"` // by phone_failures
	Row     int `json:"in_a_row"`
}

// Unlock forgets the wrong codes of a number, also a hundred in a row: its next
// code is compared. For an operator who knows that it was the owner.
func (o Operator) Unlock(ctx context.Context, phone string) error {
	ctx, cancel := lasting(ctx)
	defer cancel()
	s := o.service
	var before guessState
	for _, subject := range []string{phone, phone + ofKnown} {
		was, err := remove(ctx, s.Store, s.guessing(subject).key, func(guesses) bool { return true })
		if err != nil {
			return err
		}
		before.Row = max(before.Row, was.Row)
		for _, slot := range was.Slots {
			before.Counted += slot.N
		}
	}
	if before != (guessState{}) {
		o.Tell(Event{Name: EventUserUnlocked, Subject: s.subject(phone), Before: before, After: guessState{}})
	}
	return nil
}

// UnlockUser is Unlock for the number of a user.
func (o Operator) UnlockUser(ctx context.Context, id uint64) error {
	u, err := o.User(ctx, id)
	if err != nil {
		return err
	}
	if !u.Detached.IsZero() {
		return errDetached
	}
	return o.Unlock(ctx, u.Phone)
}
