package auth

import (
	"context"
	"errors"
	"time"
)

// attempt is one request for a code on its way through the limits.
type attempt struct {
	StartRequest
	member bool // the number has signed in before

	requests []meter // count what was asked for
	messages []meter // count what goes out

	alarm      bool // everywhere, codes are not brought back
	worked     bool // its solution was good, and is used up
	suppressed bool // it is answered as any other, and nothing goes out
}

// attempt says what the request counts against. A browser that has signed in on
// the number before has a budget of its own: strangers who ask for code after
// code cannot keep the owner from one.
func (s *Service) attempt(ctx context.Context, r StartRequest, isTest bool) (*attempt, error) {
	if isTest {
		return s.testAttempt(r), nil
	}
	if s.Live.isBlocked(r.Phone, r.Country) {
		s.tellOfStart(EventSendBlocked, &attempt{StartRequest: r}, "blocked")
		return nil, Refuse(CodePhoneNotSupported)
	}
	member, err := s.isMember(ctx, r.Phone)
	if err != nil {
		return nil, err
	}
	a, l := &attempt{StartRequest: r, member: member}, s.Settings.Limits
	if known := s.knows(r.DeviceProof, r.Phone); known {
		a.member = true
		a.count(s, "phone_sends", r.Phone+ofKnown, l.PhoneSends)
	} else {
		s.countStranger(a)
	}
	if len(l.GlobalSends) > 0 {
		a.messages = append(a.messages, &budget{bucket: s.bucket("global_sends", "", l.GlobalSends, CodeRateLimited), attempt: a})
	}
	return a, nil
}

func (s *Service) countStranger(a *attempt) {
	l := s.Settings.Limits
	a.count(s, "phone_sends", a.Phone, l.PhoneSends)
	if network := clientNetwork(a.ClientIP); network != "" {
		a.count(s, "ip_sends", network, l.IPSends)
		if v := s.variety(a.StartRequest, network); v != nil {
			a.requests = append(a.requests, v)
		}
	}
	a.count(s, "prefix_sends", prefixOf(a.Phone), l.PrefixSends)
	if a.Country != "" {
		a.count(s, "country_sends", a.Country, l.CountrySends)
	}
	for _, t := range s.tallies(a.Phone, a.Country, a) {
		a.messages = append(a.messages, t)
	}
}

// How many challenges a test number gets, for all and for one address. Nothing is
// paid for them, and many people may share the number; but everybody may know it,
// and each challenge stays in the store until it expires.
var (
	testSends      = []Limit{{N: 1000, Window: 10 * time.Minute}}
	testSendsOfOne = []Limit{{N: 300, Window: 10 * time.Minute}}
)

// testAttempt is attempt for a test number. No message goes out, so that the
// limits of messages do not hold; where they are off, so is this.
func (s *Service) testAttempt(r StartRequest) *attempt {
	a, l := &attempt{StartRequest: r}, s.Settings.Limits
	if network := clientNetwork(r.ClientIP); network != "" && len(l.IPSends) > 0 {
		a.count(s, "test_sends", r.Phone+" "+network, testSendsOfOne)
	}
	if len(l.PhoneSends) > 0 {
		a.count(s, "test_sends", r.Phone, testSends)
	}
	return a
}

func (a *attempt) count(s *Service, name, subject string, limits []Limit) {
	if len(limits) > 0 {
		a.requests = append(a.requests, s.bucket(name, subject, limits, CodeRateLimited))
	}
}

// prefixOf is a number without its last four digits: operators get, and those
// who earn by messages rent, numbers in blocks of ten thousand.
func prefixOf(phone string) string { return phone[:max(0, len(phone)-4)] }

// admit counts the attempt against all its limits, or against none. For one that
// is suppressed the store does the same work: the time it takes tells nothing.
func (s *Service) admit(ctx context.Context, a *attempt) (err error) {
	if a.requests, err = s.takeSends(ctx, a, a.requests); err != nil {
		return err
	}
	if a.messages, err = s.takeSends(ctx, a, a.messages); err != nil {
		s.giveAllBack(ctx, a.requests)
		return err
	}
	return nil
}

// takeSends is takeAll, but where limits are only recorded a refusal is one for
// the log. It returns what was counted.
func (s *Service) takeSends(ctx context.Context, a *attempt, meters []meter) (taken []meter, err error) {
	for _, m := range meters {
		err := m.take(ctx, s)
		var refusal *Error
		switch {
		case err == nil:
			taken = append(taken, m)
		case errors.As(err, &refusal) && s.Settings.Limits.Record:
			s.recorded(a, m)
		default:
			if refusal != nil {
				refusal.Limit = m.limit()
				s.tellOfStart(EventSendBlocked, a, m.limit())
			}
			s.giveAllBack(ctx, taken)
			return nil, err
		}
	}
	return taken, nil
}

func (s *Service) recorded(a *attempt, m meter) {
	s.tellOfStart(EventSendRecorded, a, m.limit())
	s.Log.Info("a limit would have stopped a message", "limit", m.limit())
}

// withdraw takes an attempt that came to nothing out of all its limits.
func (s *Service) withdraw(ctx context.Context, a *attempt) {
	s.giveAllBack(ctx, a.requests)
	s.giveAllBack(ctx, a.messages)
}

// tallied reports whether the attempt's message waits to be brought back.
func (a *attempt) tallied() bool {
	for _, m := range a.messages {
		if _, ok := m.(*tally); ok {
			return true
		}
	}
	return false
}

// membership is the record of a number that has signed in.
type membership struct {
	At time.Time `json:"at"` // when last
}

// memberFor is how long after its last sign-in a number counts as a customer's.
const memberFor = DeviceProofLife

func (s *Service) memberKey(phone string) string { return memberKey(s.Secrets, phone) }

func memberKey(s Secrets, phone string) string { return "member/" + s.Index("member", phone) }

func (s *Service) isMember(ctx context.Context, phone string) (bool, error) {
	_, exists, err := read[membership](ctx, s.Store, s.memberKey(phone))
	return exists, err
}

// enroll notes that a user's number has signed in. Losing the note costs the
// number its place in the reserve until its next sign-in, and nothing else.
func (s *Service) enroll(ctx context.Context, user uint64, phone string) {
	now := s.now()
	w, err := writing(s.memberKey(phone), membership{now}, Write{Expires: now.Add(memberFor), Owner: user})
	if err == nil {
		err = s.Store.Put(ctx, []Write{w})
	}
	if err != nil {
		s.Log.Error("noting that a number has signed in", "error", err)
	}
}

// dismiss forgets that a number has signed in.
func (s *Service) dismiss(ctx context.Context, phone string) {
	if err := s.Store.Put(ctx, []Write{{Key: s.memberKey(phone)}}); err != nil {
		s.Log.Error("forgetting that a number has signed in", "error", err)
	}
}
