package caddymodule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// Limits say how often things may happen. Each is a list of N/window, such as
// "5/1h" (N at most 100000, window 1s to 30d), all of which hold; ["off"] is no
// limit. They are kept in the store and survive a restart.
type Limits struct {
	// Messages to one number. Default: 5/1h 10/24h.
	PhoneSends []string `json:"phone_sends,omitempty"`
	// Wrong codes for one number, over all its challenges. After 15 in a row the
	// next try waits, longer each time; after 100 none is taken for 30 days.
	// "off" switches that off too. Default: 15/24h.
	PhoneFailures []string `json:"phone_failures,omitempty"`
	// Messages asked for by one address (IPv6: /64). Default: 10/1h.
	IPSends []string `json:"ip_sends,omitempty"`
	// Wrong codes from one address (IPv6: /64). Default: 30/1h.
	IPFailures []string `json:"ip_failures,omitempty"`
	// Wrong codes in all: somebody tries one code on many numbers. Default:
	// 1000/1h.
	GlobalFailures []string `json:"global_failures,omitempty"`
	// Messages to numbers that differ in the last four digits only. Default: 20/1h.
	PrefixSends []string `json:"prefix_sends,omitempty"`
	// Messages to the numbers of one country. Default: off.
	CountrySends []string `json:"country_sends,omitempty"`
	// Different countries whose numbers one address (IPv6: /64) asks codes for;
	// clients on this machine are not counted. Default: 3/24h.
	IPCountries []string `json:"ip_countries,omitempty"`
	// Messages in all. At 50 and 80 percent the log warns. Default: 1000/1h.
	GlobalSends []string `json:"global_sends,omitempty"`
	// The share of global_sends, from 500 on, that only numbers which have
	// signed in before may use: 0% to 90%, or off. Default: 20%.
	Reserve string `json:"reserve,omitempty"`
	// Codes to numbers that differ in the last four digits only, which were sent
	// and not brought back, beyond as many as have been. From there on a request
	// must show work; at twice as many, only numbers that have signed in before
	// get a message. Default: 20/24h, and off while every sender is free or
	// global_sends is off.
	PrefixUnverified []string `json:"prefix_unverified,omitempty"`
	// The same for the numbers of one country. Default: 50/1h, and off in the
	// same cases.
	CountryUnverified []string `json:"country_unverified,omitempty"`
	// The same in all; then the limits of prefixes and countries count a
	// sixteenth, which an attack that is spread over many countries meets.
	// Default: 150/1h, and off in the same cases.
	GlobalUnverified []string `json:"global_unverified,omitempty"`
	// "enforce", or "record": what would have stopped a message is logged and
	// stops none. Limits on wrong codes always hold. Default: enforce.
	Mode string `json:"mode,omitempty"`
}

func (l *Limits) words() words {
	check := func() error { return l.validate() }
	return words{
		"phone_sends":        checked(listWord(&l.PhoneSends), check),
		"phone_failures":     checked(listWord(&l.PhoneFailures), check),
		"ip_sends":           checked(listWord(&l.IPSends), check),
		"ip_failures":        checked(listWord(&l.IPFailures), check),
		"global_failures":    checked(listWord(&l.GlobalFailures), check),
		"prefix_sends":       checked(listWord(&l.PrefixSends), check),
		"country_sends":      checked(listWord(&l.CountrySends), check),
		"ip_countries":       checked(listWord(&l.IPCountries), check),
		"global_sends":       checked(listWord(&l.GlobalSends), check),
		"reserve":            checked(textWord(&l.Reserve), check),
		"prefix_unverified":  checked(listWord(&l.PrefixUnverified), check),
		"country_unverified": checked(listWord(&l.CountryUnverified), check),
		"global_unverified":  checked(listWord(&l.GlobalUnverified), check),
		"mode":               checked(textWord(&l.Mode), check),
	}
}

func (l Limits) validate() error {
	_, err := l.Rules()
	return err
}

// Rules are the limits with the defaults filled in.
func (l Limits) Rules() (parsed auth.Limits, err error) {
	for _, limit := range []struct {
		key, standard string
		texts         []string
		parsed        *[]auth.Limit
	}{
		{"phone_sends", "5/1h 10/24h", l.PhoneSends, &parsed.PhoneSends},
		{"phone_failures", "15/24h", l.PhoneFailures, &parsed.PhoneFailures},
		{"ip_sends", "10/1h", l.IPSends, &parsed.IPSends},
		{"ip_failures", "30/1h", l.IPFailures, &parsed.IPFailures},
		{"global_failures", "1000/1h", l.GlobalFailures, &parsed.GlobalFailures},
		{"prefix_sends", "20/1h", l.PrefixSends, &parsed.PrefixSends},
		{"country_sends", "off", l.CountrySends, &parsed.CountrySends},
		{"ip_countries", "3/24h", l.IPCountries, &parsed.IPCountries},
		{"global_sends", "1000/1h", l.GlobalSends, &parsed.GlobalSends},
		{"prefix_unverified", "20/24h", l.PrefixUnverified, &parsed.PrefixUnverified},
		{"country_unverified", "50/1h", l.CountryUnverified, &parsed.CountryUnverified},
		{"global_unverified", "150/1h", l.GlobalUnverified, &parsed.GlobalUnverified},
	} {
		texts := limit.texts
		if len(texts) == 0 {
			texts = strings.Fields(limit.standard)
		}
		if *limit.parsed, err = parseLimits(texts); err != nil {
			return parsed, fmt.Errorf("%s: %w", limit.key, err)
		}
	}
	if parsed.Reserve, err = parseReserve(l.Reserve); err != nil {
		return parsed, err
	}
	switch l.Mode {
	case "", "enforce":
	case "record":
		parsed.Record = true
	default:
		return parsed, fmt.Errorf("mode %q is not known; use enforce or record", l.Mode)
	}
	return parsed, nil
}

func parseReserve(text string) (percent int, err error) {
	switch text {
	case "":
		return 20, nil
	case "off":
		return 0, nil
	}
	number, isPercent := strings.CutSuffix(text, "%")
	percent, err = strconv.Atoi(number)
	if err != nil || !isPercent || percent < 0 || percent > 90 {
		return 0, fmt.Errorf("reserve: %q is no share; write it as 20%% (up to 90%%), or off", text)
	}
	return percent, nil
}

// standFor fills in what depends on the rest: where a message costs nothing,
// or its cost is no matter, nobody waits for codes to be brought back.
func (l Limits) standFor(parsed *auth.Limits, free bool) {
	if !free && len(parsed.GlobalSends) > 0 {
		return
	}
	for _, limit := range []struct {
		texts  []string
		parsed *[]auth.Limit
	}{
		{l.PrefixUnverified, &parsed.PrefixUnverified},
		{l.CountryUnverified, &parsed.CountryUnverified},
		{l.GlobalUnverified, &parsed.GlobalUnverified},
	} {
		if len(limit.texts) == 0 {
			*limit.parsed = nil
		}
	}
}

// allFree reports whether no message costs anything.
func (a *App) allFree() bool {
	return !slices.ContainsFunc(a.senders, func(s sender.Sender) bool {
		free, ok := s.(interface{ Free() bool })
		return !ok || !free.Free()
	})
}

func parseLimits(texts []string) (limits []auth.Limit, err error) {
	if len(texts) == 1 && texts[0] == "off" {
		return nil, nil
	}
	for _, text := range texts {
		count, window, _ := strings.Cut(text, "/")
		n, err := strconv.Atoi(count)
		d, err2 := caddy.ParseDuration(window)
		if err != nil || err2 != nil || n < 1 || n > 100_000 || d < time.Second || d > 30*day {
			return nil, fmt.Errorf("%q is no limit; write it as 5/1h (from 1 to 100000, in 1s to 30d), or off", text)
		}
		limits = append(limits, auth.Limit{N: n, Window: d})
	}
	return limits, nil
}
