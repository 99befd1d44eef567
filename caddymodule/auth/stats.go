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
		for _, r := range records {
			var u struct {
				Deleted time.Time `json:"deleted"`
			}
			if err := decode(r.Value, &u); err != nil {
				return n, false, err
			}
			if u.Deleted.IsZero() {
				n++
			}
		}
		if len(records) < countBatch {
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

// futureSample is how many records of a kind Future looks at. Sessions have
// random ids, so the first ones are as good as any.
const futureSample = 1000

// Future counts records that were made in the future, of a sample, and tells by
// how much at most. Clocks of nodes may differ by a little.
func (o Operator) Future(ctx context.Context) (records int, ahead time.Duration, err error) {
	now := o.service.Now()
	for _, prefix := range []string{"session/", "user/"} {
		list, err := o.service.list(ctx, prefix, "", futureSample)
		if err != nil {
			return 0, 0, err
		}
		for _, r := range list {
			var made struct {
				At time.Time `json:"created_at"`
			}
			if err := decode(r.Value, &made); err != nil {
				return 0, 0, err
			}
			if d := made.At.Sub(now); d > time.Minute {
				records, ahead = records+1, max(ahead, d)
			}
		}
	}
	return records, ahead, nil
}
