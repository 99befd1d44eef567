package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strconv"
	"time"
)

// Start makes a challenge and sends its code, or sends the code of a live
// challenge again. It treats all numbers alike: whose a number is, is asked
// only after the code was right.
func (s *Service) Start(ctx context.Context, r StartRequest) (Pending, error) {
	test, isTest := s.testNumber(r.Phone)
	if channel := r.channel(); !s.reaches(r.Phone, channel) && !(isTest && channel == "sms") {
		return Pending{}, Refuse(CodeInvalidRequest).Because("This channel is not available.")
	}
	ctx, cancel := lasting(ctx)
	defer cancel()
	a, err := s.attempt(ctx, r, isTest)
	if err != nil {
		return Pending{}, err
	}
	c, err := s.challenge(ctx, a)
	if err != nil {
		return Pending{}, err
	}
	code := test.Code
	if !isTest {
		code = s.Secrets.Code(c.ID, c.Length)
	}
	m := Message{
		ID: c.ID + "." + strconv.Itoa(c.Sends), To: c.Phone, Code: code,
		Channel: c.Channel, AppName: s.Settings.AppName, ExpiresAt: c.ExpiresAt.UTC(), ClientIP: r.ClientIP,
	}
	m.Text, m.Language = s.Text(code, c.Phone, r.Locale)
	done := func(failure error) { s.delivered(c, failure, a) }
	switch {
	case a.suppressed: // Status tells what it tells of others
		err = s.pretend(m, done)
	case isTest:
		done(nil)
	default:
		err = s.send(ctx, m, done)
	}
	if err != nil {
		return Pending{}, err
	}
	if a.suppressed {
		s.tellOfStart(EventSendBlocked, a, "suppressed")
	}
	s.tellOfStart(EventCodeRequested, a, "")
	// Told as of the moment of sending, so that the client sees the whole ttl.
	return Pending{c.ID, c.ExpiresAt.Sub(c.SentAt), s.resendWait(c, c.SentAt), len(code), c.Channel}, nil
}

// reaches reports whether a code can go to a number on a channel.
func (s *Service) reaches(phone, channel string) bool {
	if s.Reaches == nil {
		return channel == "sms"
	}
	return s.Reaches(phone, channel)
}

// challenge makes the record, or counts a resend on a live one. Meters are
// taken only for a message that will go out.
func (s *Service) challenge(ctx context.Context, a *attempt) (Challenge, error) {
	id := a.ChallengeID
	if id != "" {
		old, exists, err := s.readChallenge(ctx, id)
		if err != nil {
			return old, err
		}
		if !exists || !s.resendable(old, a) {
			id = "" // a fresh one: the answer must not tell one case from the other
		} else if d := s.resendWait(old, s.now()); d > 0 {
			return old, &Error{Code: CodeRateLimited, RetryAfter: d, AttemptsLeft: -1}
		}
	}
	if err := s.admit(ctx, a); err != nil {
		return Challenge{}, err
	}
	c, err := s.countMessage(ctx, id, a)
	if errors.Is(err, errGone) {
		c, err = s.countMessage(ctx, "", a)
	}
	if err != nil {
		s.withdraw(ctx, a)
	}
	return c, err
}

// errGone says that a challenge ended between two looks at it.
var errGone = errors.New("challenge has ended")

// countMessage counts one more message on a challenge; without an id it makes
// a fresh one. An id is never made twice: its code would live twice as long and
// its tries begin anew.
func (s *Service) countMessage(ctx context.Context, id string, a *attempt) (Challenge, error) {
	now, fresh := s.now(), id == ""
	if fresh {
		id = newChallengeID()
	}
	return update(ctx, s.Store, challengeKey(id), func(c *Challenge, exists bool) (Write, error) {
		if fresh {
			*c = Challenge{ID: id, Phone: a.Phone, For: a.mover, Country: a.Country, Channel: a.channel(), Length: s.Settings.OTP.Length, ExpiresAt: now.Add(s.Settings.OTP.TTL)}
		} else if !exists || !s.resendable(*c, a) {
			return Write{}, errGone
		} else if d := s.resendWait(*c, now); d > 0 {
			return Write{}, &Error{Code: CodeRateLimited, RetryAfter: d, AttemptsLeft: -1}
		}
		if a.Channel != "" {
			c.Channel = a.Channel // who got no message may ask for a call, with the same code
		}
		c.SentAt, c.Delivery, c.Reported = now, DeliveryQueued, ""
		c.Sends++
		c.Suppressed, c.DeniedAt = a.suppressed, time.Time{}
		if a.tallied() {
			c.Tallied++
		}
		return Write{Expires: c.ExpiresAt}, nil
	})
}

// resendable reports whether one more message makes sense, for the same purpose.
func (s *Service) resendable(c Challenge, a *attempt) bool {
	return c.Phone == a.Phone && c.For == a.mover && c.UsedBy == "" && c.Tries < s.Settings.OTP.Attempts && s.Now().Before(c.ExpiresAt)
}

// send hands the message over. A message that is not taken, or fails later,
// is given back to the limits by done. The step lasts until then, long after
// the request.
func (s *Service) send(ctx context.Context, m Message, done func(error)) error {
	_, end := s.step(ctx, "send")
	ended := func(failure error) {
		end(failure)
		done(failure)
	}
	if err := s.Outbox.Enqueue(m, ended); err != nil {
		ended(err)
		return noDelivery(err)
	}
	return nil
}

// pretend is send for a suppressed message, which goes nowhere. When no sender
// works it is refused as any other is: else the answer would tell the numbers
// apart that are suppressed.
func (s *Service) pretend(m Message, done func(error)) error {
	outbox, able := s.Outbox.(Admitter)
	if !able {
		return nil
	}
	if err := outbox.Admits(m); err != nil {
		done(err)
		return noDelivery(err)
	}
	return nil
}

func noDelivery(err error) error {
	return &Error{Code: CodeDeliveryUnavailable, RetryAfter: retryAfterFault, AttemptsLeft: -1, Err: err}
}

// delivered notes how the sending ended. It runs after the request has been
// answered, so it has a deadline of its own. A message that was denied stays
// counted, and looks from outside as if it had been sent: who tries numbers out
// must neither learn of the verdict nor get another try for it.
func (s *Service) delivered(c Challenge, failure error, a *attempt) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	denied := errors.Is(failure, ErrDenied)
	failed := failure != nil && !denied
	switch {
	case denied:
		s.Log.Info("code not sent: the risk hook denied it", "challenge_id", c.ID)
		s.tellOfCode(EventSendBlocked, c, "risk", "")
	case failed:
		s.withdraw(ctx, a)
		s.Log.Error("code not delivered", "challenge_id", c.ID, "error", failure)
		s.tellOfCode(EventCodeUndelivered, c, "", "")
	default:
		s.tellOfCode(EventCodeDelivered, c, "", "")
	}
	_, err := update(ctx, s.Store, challengeKey(c.ID), func(now *Challenge, exists bool) (Write, error) {
		newest := now.Sends == c.Sends && now.Reported == "" // else a newer message decides, or the provider has
		untallied := failed && a.tallied() && now.Tallied > 0
		if !exists || !newest && !untallied {
			return Write{}, errUnchanged
		}
		if untallied {
			now.Tallied--
		}
		switch {
		case !newest:
		case denied:
			now.Suppressed, now.DeniedAt = true, s.now()
		case failed:
			now.Delivery = DeliveryFailed
		default:
			now.Delivery = DeliverySent
		}
		return Write{Expires: now.ExpiresAt}, nil
	})
	if err != nil {
		s.Log.Error("noting a delivery", "error", err)
	}
}

// Status tells how far a challenge has come.
func (s *Service) Status(ctx context.Context, id string) (Status, error) {
	c, exists, err := s.readChallenge(ctx, id)
	now := s.now()
	if err != nil {
		return Status{}, err
	}
	if !exists || c.UsedBy != "" || !now.Before(c.ExpiresAt) {
		return Status{}, Refuse(CodeNotFound)
	}
	if under := min(now.Sub(c.SentAt), now.Sub(c.DeniedAt)); c.Suppressed && c.Delivery == DeliveryQueued && under >= pretended(id) {
		c.Delivery = DeliverySent
	}
	left := max(0, s.Settings.OTP.Attempts-c.Tries)
	return Status{c.Delivery, c.ExpiresAt.Sub(now), s.resendWait(c, now), left}, nil
}

// pretended is how long a suppressed message seems to be under way, once a risk
// hook has had its time: about as long as a gateway takes, and not the same for
// all.
func pretended(id string) time.Duration {
	return 200*time.Millisecond + time.Duration(id[0])*8*time.Millisecond
}

// spend uses up one try, before anything is compared: however many requests
// come at once, no more than Attempts of them get a comparison (CWE-307). A
// challenge of another purpose, or of another user, is an unknown one: a code
// that proves a new number signs nobody in.
func (s *Service) spend(ctx context.Context, id string, mover uint64) (Challenge, error) {
	if !plausibleChallenge(id) {
		return Challenge{}, Refuse(CodeOTPExpired)
	}
	return update(ctx, s.Store, challengeKey(id), func(c *Challenge, exists bool) (Write, error) {
		switch {
		case !exists || c.For != mover || c.UsedBy != "" || !s.Now().Before(c.ExpiresAt):
			return Write{}, Refuse(CodeOTPExpired)
		case c.Tries >= s.Settings.OTP.Attempts:
			return Write{}, &Error{Code: CodeOTPAttemptsExhausted, AttemptsLeft: 0}
		}
		c.Tries++
		return Write{Expires: c.ExpiresAt}, nil
	})
}

// consume marks the challenge as used. Of many right codes at once, one gets
// nil.
func (s *Service) consume(ctx context.Context, id string, by SessionID) error {
	_, err := update(ctx, s.Store, challengeKey(id), func(c *Challenge, exists bool) (Write, error) {
		if !exists || c.UsedBy != "" {
			return Write{}, Refuse(CodeOTPExpired)
		}
		c.UsedBy = by.String()
		return Write{Expires: c.ExpiresAt}, nil
	})
	return err
}

// check spends a try and compares. Failures of a number and of an address are
// counted before the comparison too, and given back when the code is right.
func (s *Service) check(ctx context.Context, r VerifyRequest) (Challenge, []meter, error) {
	c, err := s.spend(ctx, r.ChallengeID, r.mover)
	if err != nil {
		return c, nil, err
	}
	meters := s.failureMeters(c.Phone, r)
	if err := s.takeAll(ctx, meters); err != nil {
		s.unspend(ctx, c.ID, SessionID{}) // nothing is compared
		if refusal, ok := errors.AsType[*Error](err); ok {
			s.tellOfCode(EventVerifyBlocked, c, refusal.Limit, r.ClientIP)
		}
		return c, nil, err
	}
	want := ""
	if test, ok := s.testNumber(c.Phone); ok {
		want = test.Code
	} else {
		want = s.Secrets.Code(c.ID, c.Length)
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(r.Code)) == 1 {
		return c, s.forgive(c.Phone, r, meters), nil
	}
	wrong := &Error{Code: CodeOTPInvalid, AttemptsLeft: s.Settings.OTP.Attempts - c.Tries}
	if wrong.AttemptsLeft <= 0 {
		wrong = &Error{Code: CodeOTPAttemptsExhausted, AttemptsLeft: 0}
	}
	s.tellOfCode(EventCodeWrong, c, string(wrong.Code), r.ClientIP)
	return c, nil, wrong
}

// unspend gives a try back that a fault of ours, or a limit, kept from being
// worth anything, and the code when it was used for that session.
func (s *Service) unspend(ctx context.Context, id string, by SessionID) {
	_, err := update(ctx, s.Store, challengeKey(id), func(c *Challenge, exists bool) (Write, error) {
		if !exists || c.Tries == 0 || c.UsedBy != "" && c.UsedBy != by.String() {
			return Write{}, errUnchanged
		}
		c.Tries--
		c.UsedBy = ""
		return Write{Expires: c.ExpiresAt}, nil
	})
	if err != nil {
		s.Log.Error("giving a try back", "error", err)
	}
}

func (s *Service) testNumber(phone string) (TestNumber, bool) {
	for _, t := range s.Settings.OTP.TestNumbers {
		if t.Phone == phone && s.Now().Before(t.Until) {
			return t, true
		}
	}
	return TestNumber{}, false
}

func (s *Service) resendWait(c Challenge, now time.Time) time.Duration {
	return max(0, c.SentAt.Add(s.Settings.OTP.ResendAfter).Sub(now))
}

func (s *Service) readChallenge(ctx context.Context, id string) (c Challenge, exists bool, err error) {
	if !plausibleChallenge(id) {
		return c, false, nil
	}
	return read[Challenge](ctx, s.Store, challengeKey(id))
}

const challengeIDLength = 22

func newChallengeID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// plausibleChallenge keeps what clients send out of the store's keys unless it
// has the form of an id.
func plausibleChallenge(id string) bool {
	_, ok := ParseSessionID(id) // the same 128 bits in the same letters
	return ok && len(id) == challengeIDLength
}

func challengeKey(id string) string { return "challenge/" + id }
