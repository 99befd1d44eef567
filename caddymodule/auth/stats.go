package auth

import (
	"context"
	"time"
)

// LimitState is how far one of the limits on everybody is used up. The others
// count for numbers and addresses, which stand in no record in the clear.
type LimitState struct {
	Limit  string
	N      int
	Window time.Duration
	Used   int // in the window that ends now
}

// LimitStates shows the limits on everybody.
func (o Operator) LimitStates(ctx context.Context) (states []LimitState, err error) {
	s := o.service
	now, l := s.now(), s.Settings.Limits
	for _, of := range []struct {
		name   string
		limits []Limit
	}{{"global_sends", l.GlobalSends}, {"global_failures", l.GlobalFailures}} {
		h, _, err := read[hits](ctx, s.Store, s.bucket(of.name, "", of.limits, "").key)
		if err != nil {
			return nil, err
		}
		for _, limit := range of.limits {
			states = append(states, LimitState{of.name, limit.N, limit.Window, h.count(now.Add(-limit.Window))})
		}
	}
	for _, t := range s.tallies("", "", nil) {
		if !t.alarm {
			continue
		}
		v, _, err := read[conversion](ctx, s.Store, t.key)
		if err != nil {
			return nil, err
		}
		states = append(states, LimitState{t.name, t.window.N, t.window.Window, max(0, v.over(now, t.window.Window, t.divisor()))})
	}
	return states, nil
}

// countFor is how long users are counted before a part is good enough.
const countFor = 2 * time.Second

// CountUsers counts the users by walking their records; exact is false when that
// took too long, and there are at least so many.
func (o Operator) CountUsers(ctx context.Context) (n int, exact bool, err error) {
	after, until := "", time.Now().Add(countFor) // how long it takes is no matter of the service's clock
	for {
		records, err := o.service.list(ctx, "user/", after, countBatch)
		if err != nil {
			return n, false, err
		}
		if n += len(records); len(records) < countBatch {
			return n, true, nil
		}
		if after = records[len(records)-1].Key; time.Now().After(until) {
			return n, false, nil
		}
	}
}

const countBatch = 5000

// LiveSessions counts the sessions in memory: those that were used since the
// start, and have not had to make room.
func (o Operator) LiveSessions() int { return o.service.Live.Len() }
