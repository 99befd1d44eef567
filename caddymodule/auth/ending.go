package auth

import "context"

// end marks the seats that pick gives a reason for, and lists them.
func (u *User) end(pick func(SessionID) EndReason) (over []Seat) {
	for i := range u.Sessions {
		seat := &u.Sessions[i]
		if reason := pick(seat.SessionID); seat.End == "" && reason != "" {
			seat.End = reason
			over = append(over, *seat)
		}
	}
	return over
}

// endBy ends the sessions whose seats change has marked, with what else it has
// changed of their user: one swap on the user's record.
func (s *Service) endBy(ctx context.Context, user uint64, change func(*User) (over []Seat, err error)) error {
	ctx, cancel := lasting(ctx)
	defer cancel()
	var over []Seat
	_, err := update(ctx, s.Store, userKey(user), func(u *User, _ bool) (w Write, err error) {
		over, err = change(u)
		return Write{Ending: true}, err
	})
	if err != nil {
		s.unsettled(over)
		return err
	}
	s.settle(ctx, over)
	return nil
}
