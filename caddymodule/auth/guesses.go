package auth

import (
	"context"
	"time"
)

// guesses is the record of a number's wrong codes: those that phone_failures
// counts, and how many have come in a row, over all challenges, with no right
// one between (NIST SP 800-63B, section 5.2.2: at most 100).
type guesses struct {
	hits
	Row  int   `json:"row,omitempty"`
	Last int64 `json:"last,omitempty"` // when the row's last one was, in Unix milliseconds
}

const (
	slowRow   = 15               // from so many in a row on, the next try waits: not before phone_failures' own default does
	firstWait = 30 * time.Second // doubled with each further one
	mostWait  = time.Hour
	fullRow   = 100 // then none is compared any more
	// rowKept ends the stop at fullRow and forgets shorter rows. A known browser
	// that brings a right code ends it at once.
	rowKept = 30 * 24 * time.Hour
)

// rowWait says how long after its last wrong code a row allows another try.
func rowWait(row int) time.Duration {
	switch {
	case row < slowRow:
		return 0
	case row >= fullRow:
		return rowKept
	}
	return min(mostWait, firstWait<<min(row-slowRow, 10))
}

// guessing counts the wrong codes of a number.
type guessing struct {
	*bucket
	before int64 // the row's last one before ours
	right  bool  // the code was right: the row is over
}

func (s *Service) guessing(subject string) *guessing {
	return &guessing{bucket: s.bucket("phone_failures", subject, s.Settings.Limits.PhoneFailures, CodeTooManyFailures)}
}

func (g *guessing) take(ctx context.Context, s *Service) error {
	now, window := s.now(), longest(g.limits)
	g.at = now.UnixMilli()
	_, err := update(ctx, s.Store, g.key, func(v *guesses, _ bool) (Write, error) {
		v.settle(now)
		v.Last = min(v.Last, g.at)
		v.prune(now.Add(-window))
		slow := time.UnixMilli(v.Last).Add(rowWait(v.Row)).Sub(now)
		if d := max(slow, v.wait(g.limits, now)); d > 0 {
			return Write{}, &Error{Code: g.code, RetryAfter: d, AttemptsLeft: -1}
		}
		v.add(now)
		g.before, v.Last = v.Last, g.at
		v.Row++
		return Write{Expires: now.Add(max(window, rowKept))}, nil
	})
	return err
}

func (g *guessing) giveBack(ctx context.Context, s *Service) error {
	gone := g.outlived(s.Now())
	_, err := update(ctx, s.Store, g.key, func(v *guesses, exists bool) (Write, error) {
		if !exists {
			return Write{}, errUnchanged
		}
		if !gone {
			v.remove(g.at)
		}
		switch {
		case g.right:
			v.Row, v.Last = 0, 0
		case v.Row > 0:
			v.Row--
			if v.Last == g.at {
				v.Last = g.before
			}
		}
		return Write{Expires: s.Now().Add(max(longest(g.limits), rowKept))}, nil
	})
	return err
}

// failureMeters are the limits one wrong code counts against. A browser that
// has signed in on the number before has a budget of its own: strangers cannot
// use it up, and so cannot lock the owner out.
func (s *Service) failureMeters(phone string, r VerifyRequest) (meters []meter) {
	l := s.Settings.Limits
	known := s.knows(r.DeviceProof, phone)
	if len(l.PhoneFailures) > 0 {
		subject := phone
		if known {
			subject += ofKnown
		}
		meters = append(meters, s.guessing(subject))
	}
	if known {
		return meters
	}
	if network := clientNetwork(r.ClientIP); network != "" && len(l.IPFailures) > 0 {
		meters = append(meters, s.bucket("ip_failures", network, l.IPFailures, CodeTooManyFailures))
	}
	if len(l.GlobalFailures) > 0 {
		meters = append(meters, s.bucket("global_failures", "", l.GlobalFailures, CodeTooManyFailures))
	}
	return meters
}

// forgive makes what failureMeters counted ready to be given back after a right
// code: it ends the rows of wrong ones, the strangers' too.
func (s *Service) forgive(phone string, r VerifyRequest, meters []meter) []meter {
	for _, m := range meters {
		if g, ok := m.(*guessing); ok {
			g.right = true
		}
	}
	if len(s.Settings.Limits.PhoneFailures) > 0 && s.knows(r.DeviceProof, phone) {
		strangers := s.guessing(phone) // counted nothing: only its row ends
		strangers.right = true
		meters = append(meters, strangers)
	}
	return meters
}
