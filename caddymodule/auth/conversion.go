package auth

import (
	"context"
	"slices"
	"time"
)

// conversion is the record of how many of the codes that were sent somewhere
// have been brought back. Whoever earns by messages never brings one back.
type conversion struct {
	Slots []share `json:"slots"` // oldest first
}

// share is what happened in a part of a window that begins at At, in Unix
// milliseconds.
type share struct {
	At       int64 `json:"t"`
	Sent     int   `json:"s,omitempty"`
	Verified int   `json:"v,omitempty"`
}

const (
	sharesOfWindow = 4
	historyWindows = 24 // how many windows back a place's own history goes
	hardFactor     = 2  // a stage is hard at so many times the limit
	// alarmDivisor makes the limit of a place small while codes are not brought
	// back in all: then an attack is spread over many places.
	alarmDivisor = 16
	leastLimit   = 3
	// alarmShare of the codes brought back explain one that is out, where all
	// places are counted together: one with many sign-ins must not hide an
	// attack on the others. Where four of five codes come back, all is well.
	alarmShare = 4
)

// tally counts codes that are sent and not brought back, in one place: a
// country, a block of numbers, or everywhere.
type tally struct {
	name    string
	key     string
	window  Limit
	attempt *attempt // nil: for credit alone
	country string   // for the log; empty: not a country's
	alarm   bool     // everywhere: it stops nothing, and sharpens the others

	at int64 // the part in which ours was counted
}

// tallies are those that a number counts in.
func (s *Service) tallies(phone, country string, a *attempt) (tallies []*tally) {
	l := s.Settings.Limits
	add := func(name, subject string, limits []Limit) {
		for _, limit := range limits {
			key := "conversion/" + name + "/" + limit.Window.String() + "/" + s.Secrets.Index(name, subject)
			tallies = append(tallies, &tally{name: name, key: key, window: limit, attempt: a})
		}
	}
	add("global_unverified", "", l.GlobalUnverified)
	for _, t := range tallies {
		t.alarm = true
	}
	add("prefix_unverified", prefixOf(phone), l.PrefixUnverified)
	if country == "" {
		return tallies
	}
	before := len(tallies)
	add("country_unverified", country, l.CountryUnverified)
	for _, t := range tallies[before:] {
		t.country = country
	}
	return tallies
}

func (t *tally) limit() string { return t.name }

// take counts a message, or refuses it for want of work. One that is suppressed
// counts as any other: while an attack goes on, its place stays shut.
func (t *tally) take(ctx context.Context, s *Service) error {
	now := s.now()
	var over int
	v, err := update(ctx, s.Store, t.key, func(v *conversion, _ bool) (Write, error) {
		v.settle(now, t.window.Window)
		over = v.over(now, t.window.Window, t.divisor())
		if err := t.judge(ctx, s, over); err != nil {
			return Write{}, err
		}
		v.part(now, t.window.Window).Sent++
		return Write{Expires: now.Add((historyWindows + 2) * t.window.Window)}, nil
	})
	if err != nil {
		return err
	}
	t.at = v.Slots[len(v.Slots)-1].At
	if over+1 == t.n() && !t.alarm {
		s.Log.Warn("codes are sent and not brought back: requests must show work from now on", "limit", t.name, "country", t.country)
	}
	return nil
}

// judge decides on the next message to a place that is that far over what its
// history explains.
func (t *tally) judge(ctx context.Context, s *Service, over int) error {
	a, n := t.attempt, t.n()
	if t.alarm {
		a.alarm = over >= n
		return nil
	}
	if over < n || a.suppressed {
		return nil
	}
	if s.Settings.Limits.Record {
		s.recorded(a, t)
		return nil
	}
	if worked, err := s.redeem(ctx, a); !worked || err != nil {
		if err == nil {
			err = &Error{Code: CodeRateLimited, RetryAfter: puzzleRetry, AttemptsLeft: -1, Puzzle: s.puzzle(a.Phone, bitsFor(over, n))}
		}
		return err
	}
	if over >= hardFactor*n && !a.member {
		a.suppressed = true
	}
	return nil
}

// divisor is how many codes that were brought back explain one that is out.
func (t *tally) divisor() int {
	if t.alarm {
		return alarmShare
	}
	return 1
}

// n is the limit as it is now.
func (t *tally) n() int {
	if t.attempt != nil && t.attempt.alarm && !t.alarm {
		return max(min(leastLimit, t.window.N), t.window.N/alarmDivisor)
	}
	return t.window.N
}

func (t *tally) giveBack(ctx context.Context, s *Service) error {
	if t.at == 0 {
		return nil
	}
	return t.change(ctx, s, func(v *conversion) bool {
		i := slices.IndexFunc(v.Slots, func(p share) bool { return p.At == t.at })
		if i < 0 || v.Slots[i].Sent == 0 {
			return false
		}
		v.Slots[i].Sent--
		return true
	})
}

// credit notes that the codes of so many messages have been brought back.
func (t *tally) credit(ctx context.Context, s *Service, messages int) error {
	return t.change(ctx, s, func(v *conversion) bool {
		v.part(s.now(), t.window.Window).Verified += messages
		return true
	})
}

func (t *tally) change(ctx context.Context, s *Service, apply func(*conversion) bool) error {
	now := s.now()
	_, err := update(ctx, s.Store, t.key, func(v *conversion, _ bool) (Write, error) {
		v.settle(now, t.window.Window)
		if !apply(v) {
			return Write{}, errUnchanged
		}
		return Write{Expires: now.Add((historyWindows + 2) * t.window.Window)}, nil
	})
	return err
}

// credit notes a right code where its messages were counted.
func (s *Service) credit(ctx context.Context, c Challenge) {
	if c.Tallied == 0 {
		return
	}
	for _, t := range s.tallies(c.Phone, c.Country, nil) {
		if err := t.credit(ctx, s, c.Tallied); err != nil {
			s.Log.Error("noting a code that was brought back", "limit", t.name, "error", err)
		}
	}
}

// settle takes the future for now and forgets what is older than the history.
func (v *conversion) settle(now time.Time, window time.Duration) {
	oldest := now.Add(-(historyWindows + 1) * window).UnixMilli()
	v.Slots = slices.DeleteFunc(v.Slots, func(p share) bool { return p.At <= oldest })
	present := startOfPart(now, window)
	for i := range v.Slots {
		v.Slots[i].At = min(v.Slots[i].At, present)
	}
}

func startOfPart(now time.Time, window time.Duration) int64 {
	width := max(1, window.Milliseconds()/sharesOfWindow)
	return now.UnixMilli() - now.UnixMilli()%width
}

// part is the present one, which it begins when there is none yet.
func (v *conversion) part(now time.Time, window time.Duration) *share {
	at := startOfPart(now, window)
	if n := len(v.Slots); n == 0 || v.Slots[n-1].At < at {
		v.Slots = append(v.Slots, share{At: at})
	}
	return &v.Slots[len(v.Slots)-1]
}

// over is how many of the window's codes are out, beyond as many as have been
// brought back, in this window or in the busiest of the history: a place where
// every second code comes back is never over.
func (v *conversion) over(now time.Time, window time.Duration, divisor int) int {
	width := time.Duration(max(1, window.Milliseconds()/sharesOfWindow)) * time.Millisecond
	sum := func(from, to time.Time) (total share) {
		for _, p := range v.Slots {
			if at := time.UnixMilli(p.At); at.After(from) && !at.After(to) {
				total.Sent += p.Sent
				total.Verified += p.Verified
			}
		}
		return total
	}
	from := now.Add(-window - width) // a part that reaches into the window counts whole
	present := sum(from, now)
	explained := present.Verified
	for range historyWindows {
		to := from
		from = to.Add(-window)
		explained = max(explained, sum(from, to).Verified)
	}
	return max(0, present.Sent-present.Verified) - explained/divisor
}
