package auth

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// visited is the record of the countries that one address has asked codes for.
// People have numbers of one country or two; whoever tries out where messages
// earn something has many.
type visited struct {
	Countries map[string]int64 `json:"countries"` // when last, in Unix milliseconds
}

// variety counts the different countries of one address.
type variety struct {
	key     string
	limits  []Limit
	country string

	at, before int64 // when it was counted, and the time before that; 0: never
}

// variety is nil when nothing is to be counted: without a limit or a country,
// and for this very machine, which is a developer's or has a proxy on it.
func (s *Service) variety(r StartRequest, network string) *variety {
	addr, err := netip.ParseAddr(r.ClientIP)
	limits := s.Settings.Limits.IPCountries
	if err != nil || addr.Unmap().IsLoopback() || len(limits) == 0 || r.Country == "" {
		return nil
	}
	return &variety{key: "limit/ip_countries/" + s.Secrets.Index("ip_countries", network), limits: limits, country: r.Country}
}

func (*variety) limit() string { return "ip_countries" }

func (c *variety) take(ctx context.Context, s *Service) error {
	now, window := s.now(), longest(c.limits)
	c.at = now.UnixMilli()
	_, err := update(ctx, s.Store, c.key, func(v *visited, _ bool) (Write, error) {
		v.settle(now, window)
		if d := v.wait(c.country, c.limits, now); d > 0 {
			return Write{}, &Error{Code: CodeRateLimited, RetryAfter: d, AttemptsLeft: -1}
		}
		c.before = v.Countries[c.country]
		v.Countries[c.country] = c.at
		return Write{Expires: now.Add(window)}, nil
	})
	return err
}

func (c *variety) giveBack(ctx context.Context, s *Service) error {
	_, err := update(ctx, s.Store, c.key, func(v *visited, _ bool) (Write, error) {
		if v.Countries[c.country] != c.at {
			return Write{}, errUnchanged // asked for again since
		}
		delete(v.Countries, c.country)
		if c.before > 0 {
			v.Countries[c.country] = c.before
		}
		return Write{Expires: s.Now().Add(longest(c.limits))}, nil
	})
	return err
}

// settle forgets what no window reaches, and takes the future for now.
func (v *visited) settle(now time.Time, window time.Duration) {
	if v.Countries == nil {
		v.Countries = map[string]int64{}
	}
	for country, at := range v.Countries {
		if v.Countries[country] = min(at, now.UnixMilli()); at <= now.Add(-window).UnixMilli() {
			delete(v.Countries, country)
		}
	}
}

// wait says how long until the country fits; 0 means now.
func (v *visited) wait(country string, limits []Limit, now time.Time) (d time.Duration) {
	for _, l := range limits {
		var others []int64
		for other, at := range v.Countries {
			if other != country && at > now.Add(-l.Window).UnixMilli() {
				others = append(others, at)
			}
		}
		if len(others) < l.N {
			continue
		}
		slices.Sort(others)
		leaves := others[len(others)-l.N] // after it, one fewer than N are left
		d = max(d, time.UnixMilli(leaves).Add(l.Window).Sub(now))
	}
	return d
}
