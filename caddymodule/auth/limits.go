package auth

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Limit allows N events in any window of that length.
type Limit struct {
	N      int
	Window time.Duration
}

// Limits are the limits of one configuration. Several windows of one limit all
// hold; none means no limit.
type Limits struct {
	PhoneSends, PhoneFailures []Limit
	IPSends, IPFailures       []Limit
	PrefixSends, GlobalSends  []Limit
	GlobalFailures            []Limit
	CountrySends              []Limit // messages to the numbers of one country
	IPCountries               []Limit // different countries that one address asks for

	// Codes sent and not brought back, beyond as many as have been.
	PrefixUnverified, CountryUnverified, GlobalUnverified []Limit
	Reserve                                               int  // percent of GlobalSends for numbers that have signed in before
	Record                                                bool // what limits messages is logged and stops none
}

// meter is one limit on one subject. Its decision is one swap on one record.
type meter interface {
	// limit is the name of the limit, for the log.
	limit() string
	// take counts one event, or refuses it and counts nothing.
	take(ctx context.Context, s *Service) error
	// giveBack takes the event that was counted out again.
	giveBack(ctx context.Context, s *Service) error
}

// hits is a limit's record: when its events were, oldest first. Counting is
// exact up to hitSlots entries; beyond them neighbours are counted together at
// the later one's time, so that no more than N ever pass.
type hits struct {
	Slots []slot `json:"slots"`
}

// slot is N events at or before At, in Unix milliseconds.
type slot struct {
	At int64 `json:"t"`
	N  int   `json:"n"`
}

const hitSlots = 512

func longest(limits []Limit) (d time.Duration) {
	for _, l := range limits {
		d = max(d, l.Window)
	}
	return d
}

// wait says how long until one more event fits; 0 means now.
func (h hits) wait(limits []Limit, now time.Time) (d time.Duration) {
	for _, l := range limits {
		count := 0
		for _, s := range slices.Backward(h.Slots) {
			if count += s.N; count >= l.N {
				d = max(d, time.UnixMilli(s.At).Add(l.Window).Sub(now))
				break
			}
		}
	}
	return d
}

func (h *hits) add(now time.Time) {
	if len(h.Slots) >= hitSlots {
		h.merge()
	}
	h.Slots = append(h.Slots, slot{now.UnixMilli(), 1})
}

func (h *hits) merge() {
	merged := h.Slots[:0]
	for pair := range slices.Chunk(h.Slots, 2) {
		both := pair[len(pair)-1]
		if len(pair) == 2 {
			both.N += pair[0].N
		}
		merged = append(merged, both)
	}
	h.Slots = merged
}

// remove takes one event of that instant out again, if it is still there. A
// later one goes in its place only where events were merged: after a step of
// the clock an event may be gone, and another's must stay.
func (h *hits) remove(at int64) bool {
	i := slices.IndexFunc(h.Slots, func(s slot) bool { return s.At == at || s.At > at && s.N > 1 })
	if i < 0 {
		return false
	}
	if h.Slots[i].N--; h.Slots[i].N == 0 {
		h.Slots = slices.Delete(h.Slots, i, i+1)
	}
	return true
}

// settle takes events of the future for present ones: after a clock that was
// years ahead is set right, a limit would else hold for years.
func (h *hits) settle(now time.Time) {
	for i := range h.Slots {
		h.Slots[i].At = min(h.Slots[i].At, now.UnixMilli())
	}
}

func (h *hits) prune(until time.Time) {
	h.Slots = slices.DeleteFunc(h.Slots, func(s slot) bool { return s.At <= until.UnixMilli() })
}

// bucket is a meter of events that are all alike.
type bucket struct {
	name   string
	key    string
	limits []Limit
	code   Code
	owner  uint64 // the user whom it is about, where that is known
	at     int64  // of the event that was counted, in Unix milliseconds
}

func (s *Service) bucket(name, subject string, limits []Limit, code Code) *bucket {
	return &bucket{name: name, key: "limit/" + name + "/" + s.Secrets.Index(name, subject), limits: limits, code: code}
}

func (b *bucket) limit() string { return b.name }

func (b *bucket) take(ctx context.Context, s *Service) error {
	now, window := s.now(), longest(b.limits)
	b.at = now.UnixMilli()
	_, err := update(ctx, s.Store, b.key, func(h *hits, _ bool) (Write, error) {
		h.settle(now)
		h.prune(now.Add(-window))
		if d := h.wait(b.limits, now); d > 0 {
			return Write{}, &Error{Code: b.code, RetryAfter: d, AttemptsLeft: -1}
		}
		h.add(now)
		return Write{Expires: now.Add(window), Owner: b.owner}, nil
	})
	return err
}

// room refuses as take would, and counts nothing.
func (b *bucket) room(ctx context.Context, s *Service) error {
	h, _, err := read[hits](ctx, s.Store, b.key)
	if err != nil {
		return err
	}
	now := s.now()
	h.settle(now)
	if d := h.wait(b.limits, now); d > 0 {
		return &Error{Code: b.code, RetryAfter: d, AttemptsLeft: -1}
	}
	return nil
}

// outlived reports whether no window reaches the event any more. Then it is
// gone, and another's must not go in its place.
func (b *bucket) outlived(now time.Time) bool {
	return !now.Before(time.UnixMilli(b.at).Add(longest(b.limits)))
}

func (b *bucket) giveBack(ctx context.Context, s *Service) error {
	if b.outlived(s.Now()) {
		return nil
	}
	_, err := update(ctx, s.Store, b.key, func(h *hits, _ bool) (Write, error) {
		if !h.remove(b.at) {
			return Write{}, errUnchanged
		}
		return Write{Expires: s.Now().Add(longest(b.limits)), Owner: b.owner}, nil
	})
	return err
}

// takeAll counts one event in every meter, or in none.
func (s *Service) takeAll(ctx context.Context, meters []meter) error {
	for i, c := range meters {
		if err := c.take(ctx, s); err != nil {
			s.giveAllBack(ctx, meters[:i])
			if refusal, ok := errors.AsType[*Error](err); ok {
				refusal.Limit = c.limit()
			}
			return err
		}
	}
	return nil
}

func (s *Service) giveAllBack(ctx context.Context, meters []meter) {
	for _, c := range meters {
		if err := c.giveBack(ctx, s); err != nil {
			s.Log.Error("giving a counted event back", "limit", c.limit(), "error", err)
		}
	}
}

// clientNetwork is what an address counts as. An IPv6 customer has a /64 and
// may use a fresh address for every request. An address that cannot be read
// gives "": then no limit counts, since all such clients would share it.
func clientNetwork(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return ""
	}
	return network.String()
}
