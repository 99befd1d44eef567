package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Verify brings a code back and signs in. The order of the writes is such that
// a crash between two of them loses nothing that was answered: the try, the
// challenge's consumption, the session, the device, the session's seat in the
// user's record (which makes it live). A client that leaves cuts none of it
// short, and after a fault of ours the same code is good again.
func (s *Service) Verify(ctx context.Context, r VerifyRequest) (Grant, error) {
	ctx, cancel := lasting(ctx)
	defer cancel()
	c, failures, err := s.check(ctx, r)
	if err != nil {
		return Grant{}, err
	}
	id := NewSessionID()
	g, err := s.enter(ctx, id, c, r)
	if _, isTest := s.testNumber(c.Phone); err == nil && !isTest { // whose code everybody may know
		g.DeviceProof = s.deviceProof(c.Phone)
		s.enroll(ctx, g.Identity.UserID, c.Phone)
	}
	if err == nil || errors.Is(err, Refuse(CodeAccountDisabled)) {
		s.credit(ctx, c)
	}
	s.giveAllBack(ctx, failures) // the code was right, whatever became of it
	var refusal *Error
	if err != nil && !errors.As(err, &refusal) {
		s.undo(ctx, c.ID, id)
	}
	return g, err
}

// enter is the way in behind a right code. An error that is no refusal is a
// fault of ours.
func (s *Service) enter(ctx context.Context, id SessionID, c Challenge, r VerifyRequest) (Grant, error) {
	_, isTest := s.testNumber(c.Phone)
	asking, answered := s.step(ctx, "directory")
	account, err := s.Directory.Resolve(asking, c.Phone, c.ID)
	answered(err)
	if err == nil && !isTest { // which nobody hands on
		account, err = s.wake(ctx, account, c, r.DeviceProof)
	}
	disabled := errors.Is(err, Refuse(CodeAccountDisabled))
	if err != nil && !disabled {
		return Grant{}, fmt.Errorf("%w: asking the directory: %w", ErrUnavailable, err)
	}
	if err == nil && !usable(account) {
		return Grant{}, fmt.Errorf("%w: the directory gave an id or a role that cannot be passed on", ErrUnavailable)
	}
	if isTest && !disabled {
		plain, err := s.isPlain(ctx, account)
		if err != nil {
			return Grant{}, err
		}
		disabled = !plain
	}
	if err := s.consume(ctx, c.ID, id); err != nil {
		return Grant{}, err
	}
	if disabled {
		s.tellOfCode(EventSignInRefused, c, string(CodeAccountDisabled), r.ClientIP)
		return Grant{}, Refuse(CodeAccountDisabled)
	}
	return s.signIn(ctx, id, account, c, r)
}

// isPlain reports whether an account has no role but the default ones: more
// must not be had for a review number's code, which everybody may know.
func (s *Service) isPlain(ctx context.Context, a Account) (bool, error) {
	roles, plain := a.Roles, []string{"customer"}
	if a.Type == "" {
		user, _, err := read[User](ctx, s.Store, userKey(a.UserID))
		if err != nil {
			return false, err
		}
		roles = user.Roles
	}
	if d, ok := s.Directory.(interface{ DefaultRoles() []string }); ok {
		plain = d.DefaultRoles()
	}
	for _, role := range roles {
		if !slices.Contains(plain, role) {
			s.Log.Error("a test number's account has more than the default roles, so it cannot sign in", "auth_user_id", a.UserID, "role", role)
			return false, nil
		}
	}
	return true, nil
}

// usable holds what a directory says to what every reader of it takes alike: an
// id that is exact as a JSON number (RFC 8259 section 6), and words that stand
// for one role each in a comma-separated header.
func usable(a Account) bool {
	const exact = 1<<53 - 1
	bad := func(word string) bool {
		return word == "" || strings.ContainsFunc(word, func(r rune) bool { return r == ',' || r <= ' ' || r >= 0x7f })
	}
	typed := a.Type != "" || len(a.Roles) == 0
	return a.UserID > 0 && a.UserID <= exact && typed && !(a.Type != "" && bad(a.Type)) && !slices.ContainsFunc(a.Roles, bad)
}

// undo takes back what a failed sign-in may have written. Nobody was given its
// session, which is why the code may be used once more.
func (s *Service) undo(ctx context.Context, challenge string, id SessionID) {
	ctx, cancel := lasting(ctx) // the other one may have run out
	defer cancel()
	if _, _, err := s.writeEnd(ctx, id, EndRevoked); err != nil {
		s.Log.Error("ending a session that nobody has", "error", err)
		return // while it may live, its code stays used
	}
	s.unspend(ctx, challenge, id)
}

func (s *Service) signIn(ctx context.Context, id SessionID, account Account, c Challenge, r VerifyRequest) (Grant, error) {
	now := s.now()
	if r.Device.ID == "" {
		r.Device.ID = NewSessionID().String()
	}
	v := Session{
		ID: id, UserID: account.UserID, DeviceID: r.Device.ID, PushToken: r.Device.PushToken,
		CreatedAt: now, AuthTime: now, ExpiresAt: now.Add(s.Settings.MaxLifetime), Era: s.Live.era.Load(),
		Generation: 1, RotatedAt: now,
	}
	_, err := update(ctx, s.Store, sessionKey(v.ID), func(stored *Session, _ bool) (Write, error) {
		*stored = v
		return Write{Expires: s.sessionGone(v.ExpiresAt)}, nil
	})
	if err != nil {
		return Grant{}, err
	}
	_, newDevice, err := s.saveDevice(ctx, v.UserID, r.Device)
	if err != nil {
		return Grant{}, err
	}
	stamp, mark := s.Live.stamp(v.ID), s.Live.mark(v.UserID) // before the seat: a later login may end the session at once
	user, first, err := s.seat(ctx, account, c.Phone, v)
	if err != nil {
		return Grant{}, err
	}
	e := s.entryOf(v, Touch{now.UnixMilli(), now.UnixMilli(), 0}, user)
	e.mark, e.readAt = mark, now.UnixMilli()
	s.Live.insert(e, stamp)
	s.Live.touchAt(v.ID, Activity, now.UnixMilli()) // the first touch record
	g, err := s.grant(e, r.Kind, now)
	if err != nil {
		return Grant{}, err
	}
	g.NewUser = first
	if newDevice {
		s.Live.warn(user.Sessions, v.ID)
	}
	s.tellOfSignIn(v, c, first, newDevice, r.ClientIP)
	return g, nil
}

// seat makes the session live by giving it a place in its user's record. The
// same swap ends the session that was on the device before, and the least
// recently used ones beyond the limit, so that parallel logins cannot pass it.
// first tells the user's first sign-in: the record may be older, when another
// request, or one that failed, has made it.
func (s *Service) seat(ctx context.Context, account Account, phone string, v Session) (user User, first bool, err error) {
	var over []Seat
	user, err = update(ctx, s.Store, userKey(account.UserID), func(u *User, exists bool) (Write, error) {
		if u.BannedAt(s.Now()) || !u.Deleted.IsZero() {
			return Write{}, Refuse(CodeAccountDisabled)
		}
		if account.Type == "" && !u.Detached.IsZero() {
			return Write{}, fmt.Errorf("%w: the number was handed on meanwhile", ErrUnavailable)
		}
		if !exists {
			*u = User{ID: account.UserID, CreatedAt: v.CreatedAt}
		} else if _, keeps := s.Directory.(Mover); keeps && u.Phone != phone {
			return Write{}, errMoved
		}
		u.Phone = phone
		first, u.SignedIn = u.SignedIn.IsZero(), v.AuthTime
		if account.Type != "" {
			u.Type, u.Roles = account.Type, account.Roles
		}
		held, err := s.held(ctx, u.Sessions)
		if err != nil {
			return Write{}, err
		}
		u.Sessions, over = makeRoom(held, v.DeviceID, s.Settings.MaxPerUser)
		u.Sessions = append(u.Sessions, Seat{SessionID: v.ID, DeviceID: v.DeviceID})
		return Write{}, nil
	})
	if err != nil {
		s.unsettled(over)
		return user, false, err
	}
	s.settle(ctx, over)
	if account.Type != "" {
		// The directory may have changed the roles, for sessions elsewhere too.
		s.reread(user.Sessions[:len(user.Sessions)-1])
	}
	return user, first, nil
}

// errMoved says that the user has another number since the directory was asked.
// The same code is good again, and then finds out whose the number is now.
var errMoved = fmt.Errorf("%w: the number has just moved", ErrUnavailable)

// heldSeat is a seat with when its session was last used.
type heldSeat struct {
	Seat
	lastAccess int64
}

// held keeps the seats whose sessions do not say themselves that they are over.
// Those that have run out are marked, so that they keep their reason.
func (s *Service) held(ctx context.Context, seats []Seat) ([]heldSeat, error) {
	var held []heldSeat
	for _, seat := range seats {
		v, touch, err := s.readSession(ctx, seat.SessionID)
		if err != nil {
			return nil, err
		}
		if v.ID != seat.SessionID || v.EndReason != "" {
			continue
		}
		seat.End = cmp.Or(seat.End, s.overdue(v, touch))
		held = append(held, heldSeat{seat, touch.LastAccess})
	}
	return held, nil
}

// makeRoom marks which seats end so that one more session on the device keeps
// the limit, and lists all that are marked.
func makeRoom(held []heldSeat, device string, limit int) (seats, over []Seat) {
	slices.SortFunc(held, func(a, b heldSeat) int { return cmp.Compare(b.lastAccess, a.lastAccess) })
	live := 1 // the new one
	for _, h := range held {
		switch {
		case h.End != "":
		case h.DeviceID == device:
			h.End = EndReplaced
		case live >= limit:
			h.End = EndEvicted
		default:
			live++
		}
		if seats = append(seats, h.Seat); h.End != "" {
			over = append(over, h.Seat)
		}
	}
	return seats, over
}

// reread has the next request of each of these sessions ask the store whom it
// stands for. To write it into the table here would be a race: of two changes at
// once the one that was written first could come in last.
func (s *Service) reread(seats []Seat) {
	for _, seat := range seats {
		s.Live.doubt(seat.SessionID)
	}
}

// unsettled has the next request ask the store, after a write of these ends
// has failed and may be there all the same.
func (s *Service) unsettled(over []Seat) {
	for _, seat := range over {
		s.Live.unsure(seat.SessionID)
	}
}

// settle carries ends that the user's record has decided to the table and to
// the sessions' own records. They are over already; what cannot be written now
// is written at the next login.
func (s *Service) settle(ctx context.Context, over []Seat) {
	for _, seat := range over {
		s.Live.end(seat.SessionID, seat.End, true)
	}
	for _, seat := range over {
		if err := s.noteEnd(ctx, seat.SessionID, seat.End); err != nil {
			s.Log.Error("noting an ended session", "error", err)
		}
	}
}
