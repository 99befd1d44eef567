package auth

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// changeFresh is how old a session's last code may be that changes the number:
// one that was left open, or stolen, takes no account away.
const changeFresh = 5 * time.Minute

// phoneChanges limits the changes of one user. Each sends a message to the old
// number, which is in no other limit: strangers could use that one up, and then
// nobody would be told.
var phoneChanges = []Limit{{N: 3, Window: 24 * time.Hour}}

// noticeLife is how long the message to the old number may be under way: longer
// than a code, since it is of use when the phone is switched on again.
const noticeLife = 4 * time.Hour

// PhoneChangeable refuses what keeps the owner from changing the number,
// whatever the new one is. CodeNotFound means that it cannot be changed here.
func (s *Service) PhoneChangeable(ctx context.Context, owner Proof) error {
	_, err := s.changer(ctx, owner)
	return err
}

// changer is the owner, who may change the number now.
func (s *Service) changer(ctx context.Context, owner Proof) (User, error) {
	e, err := s.use(ctx, owner, Access)
	if err != nil {
		return User{}, err
	}
	if _, keeps := s.Directory.(Mover); !keeps {
		return User{}, Refuse(CodeNotFound).Because("Phone numbers are kept by the app, and are changed there.")
	}
	user, _, err := read[User](ctx, s.Store, userKey(e.userID))
	if err != nil {
		return User{}, err
	}
	if _, isTest := s.testNumber(user.Phone); isTest { // everybody may know its code
		return User{}, Refuse(CodeNotFound).Because("A test number cannot be changed.")
	}
	if !Fresh(time.UnixMilli(e.authTime), s.Now(), changeFresh) {
		return User{}, Refuse(CodeReauthRequired)
	}
	return user, tooOften(s.changes(e.userID).room(ctx, s))
}

// tooOften gives a refusal of phoneChanges its own words.
func tooOften(err error) error {
	var refusal *Error
	if errors.As(err, &refusal) {
		return refusal.Because("The number was changed too often. Wait and try again.")
	}
	return err
}

func (s *Service) changes(user uint64) *bucket {
	b := s.bucket("phone_changes", userKey(user), phoneChanges, CodeRateLimited)
	b.owner = user
	return b
}

// StartPhoneChange sends a code to the number that is to become the owner's. It
// is a request like any other for that number: same limits, same answer,
// whoever has it.
func (s *Service) StartPhoneChange(ctx context.Context, owner Proof, r StartRequest) (Pending, error) {
	user, err := s.changer(ctx, owner)
	if err != nil {
		return Pending{}, err
	}
	if _, isTest := s.testNumber(r.Phone); isTest {
		return Pending{}, Refuse(CodePhoneNotSupported)
	}
	r.mover = user.ID
	return s.Start(ctx, r)
}

// ChangePhone brings the new number's code back, and makes it the owner's
// number. It gives the user as changed, and what makes the browser known. After
// a fault of ours the same code is good again, and ends what was begun.
func (s *Service) ChangePhone(ctx context.Context, owner Proof, r ChangeRequest) (user User, deviceProof string, err error) {
	ctx, cancel := lasting(ctx)
	defer cancel()
	if user, err = s.changer(ctx, owner); err != nil {
		return User{}, "", err
	}
	c, failures, err := s.check(ctx, VerifyRequest{
		ChallengeID: r.ChallengeID, Code: r.Code, ClientIP: r.ClientIP, DeviceProof: r.DeviceProof, mover: user.ID,
	})
	if err != nil {
		return User{}, "", err
	}
	by := NewSessionID()
	err = s.change(ctx, by, c, r)
	if err == nil && r.EndOthers {
		err = s.endSeats(ctx, user.ID, others(owner.SessionID))
	}
	if err == nil || errors.Is(err, Refuse(CodeAccountDisabled)) {
		s.credit(ctx, c)
	}
	s.giveAllBack(ctx, failures) // the code was right, whatever became of it
	if err != nil {
		s.unused(ctx, c.ID, by, err)
		return User{}, "", err
	}
	user.Phone = c.Phone
	return user, s.deviceProof(c.Phone), nil
}

// unused makes a code good again that a fault of ours, and no refusal, kept from
// being worth anything.
func (s *Service) unused(ctx context.Context, id string, by SessionID, err error) {
	var refusal *Error
	if errors.As(err, &refusal) {
		return
	}
	ctx, cancel := lasting(ctx) // the other one may have run out
	defer cancel()
	s.unspend(ctx, id, by)
}

// change is what a right code does. An error that is no refusal is a fault of
// ours.
func (s *Service) change(ctx context.Context, by SessionID, c Challenge, r ChangeRequest) error {
	if _, isTest := s.testNumber(c.Phone); isTest { // since the code was sent
		return Refuse(CodePhoneNotSupported)
	}
	changes := s.changes(c.For)
	if err := changes.take(ctx, s); err != nil {
		return tooOften(err)
	}
	former, err := s.move(ctx, by, c)
	if err != nil || former == "" {
		s.giveAllBack(ctx, []meter{changes})
		return err
	}
	s.Log.Info("a user's phone number was changed", "auth_user_id", c.For)
	s.tell(Event{Name: EventPhoneChanged, UserID: c.For, Subject: s.subject(c.Phone), Country: c.Country, Cause: s.subject(former), ClientIP: r.ClientIP})
	s.notice(former, c, r.Locale)
	s.dismiss(ctx, former)
	s.enroll(ctx, c.For, c.Phone)
	if err := s.Directory.(Mover).Forget(ctx, c.For, former); err != nil {
		s.Log.Error("forgetting a user's former phone number", "auth_user_id", c.For, "error", err)
	}
	return nil
}

// move uses the code up and moves the number.
func (s *Service) move(ctx context.Context, by SessionID, c Challenge) (former string, err error) {
	if err := s.consume(ctx, c.ID, by); err != nil {
		return "", err
	}
	former, err = s.Directory.(Mover).Move(ctx, c.For, c.Phone)
	var refusal *Error
	if err != nil && !errors.As(err, &refusal) {
		err = fmt.Errorf("%w: moving the number: %w", ErrUnavailable, err)
	}
	return former, err
}

// notice tells the number before. The change does not wait for it,
// and holds without it: a thief could else keep the owner from leaving a number.
func (s *Service) notice(former string, c Challenge, locale string) {
	failed := func(err error) {
		if err != nil {
			s.Log.Error("the former phone number was not told of the change", "auth_user_id", c.For, "error", err)
		}
	}
	m := Message{
		ID: c.ID + ".notice", To: former, Channel: "sms", AppName: s.Settings.AppName, ExpiresAt: s.now().Add(noticeLife),
	}
	m.Text, m.Language = s.Notice(locale)
	if err := s.Outbox.Enqueue(m, failed); err != nil {
		failed(err)
	}
}
