package auth

import (
	"context"
	"strconv"
	"time"
)

// spending is the record of global_sends: its messages, and when it last told
// that so much of the budget is used.
type spending struct {
	hits
	Warned [len(alarms)]int64 `json:"warned"` // in Unix milliseconds
}

// alarms are the shares of the budget, in percent, that are told.
var alarms = [...]int{50, 80}

// leastReserved is the smallest budget that keeps a reserve.
const leastReserved = 500

// budget counts messages in all. Its last part is for numbers that have signed
// in before: an attack that uses the rest up keeps no customer out.
type budget struct {
	*bucket
	attempt *attempt
	counted bool
}

func (b *budget) take(ctx context.Context, s *Service) error {
	now, window := s.now(), longest(b.limits)
	b.at = now.UnixMilli()
	told := 0
	_, err := update(ctx, s.Store, b.key, func(v *spending, _ bool) (Write, error) {
		v.settle(now)
		v.prune(now.Add(-window))
		if d := v.wait(b.limits, now); d > 0 {
			return Write{}, &Error{Code: b.code, RetryAfter: d, AttemptsLeft: -1}
		}
		b.keepReserve(s, v, now)
		if !b.attempt.suppressed {
			v.add(now)
			told = v.tell(b.limits, now)
		}
		return Write{Expires: now.Add(window)}, nil // also when nothing has changed: it takes as long
	})
	if err != nil || b.attempt.suppressed {
		return err
	}
	b.counted = true
	if told > 0 {
		s.Log.Warn("the budget of messages is being used up", "limit", "global_sends", "used_percent", told)
		s.tell(Event{Name: EventBudgetUsed, Cause: strconv.Itoa(told)})
	}
	return nil
}

// keepReserve suppresses a stranger's message when only the reserve is left.
// The answer is the same as for a customer's: else it would tell them apart.
func (b *budget) keepReserve(s *Service, v *spending, now time.Time) {
	if b.attempt.member {
		return
	}
	open := make([]Limit, len(b.limits))
	for i, l := range b.limits {
		if open[i] = l; l.N >= leastReserved {
			open[i].N -= l.N * s.Settings.Limits.Reserve / 100
		}
	}
	if v.wait(open, now) <= 0 {
		return
	}
	if s.Settings.Limits.Record {
		s.recorded(b.attempt, b)
		return
	}
	b.attempt.suppressed = true
}

// tell gives the share that is used, when it has not been told in this window.
func (v *spending) tell(limits []Limit, now time.Time) (told int) {
	for _, l := range limits {
		used := v.count(now.Add(-l.Window))
		for i, percent := range alarms {
			v.Warned[i] = min(v.Warned[i], now.UnixMilli())
			if used*100 >= l.N*percent && v.Warned[i] <= now.Add(-l.Window).UnixMilli() {
				v.Warned[i], told = now.UnixMilli(), percent
			}
		}
	}
	return told
}

func (h hits) count(since time.Time) (n int) {
	for _, s := range h.Slots {
		if s.At > since.UnixMilli() {
			n += s.N
		}
	}
	return n
}

// giveBack takes the message out again. For one that was suppressed, and never
// counted, the store does the same work.
func (b *budget) giveBack(ctx context.Context, s *Service) error {
	if b.outlived(s.Now()) {
		return nil
	}
	_, err := update(ctx, s.Store, b.key, func(v *spending, _ bool) (Write, error) {
		if b.counted && !v.remove(b.at) {
			return Write{}, errUnchanged
		}
		return Write{Expires: s.Now().Add(longest(b.limits))}, nil
	})
	return err
}
