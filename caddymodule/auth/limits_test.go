package auth_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestLimitsCountWhatTheySay(t *testing.T) {
	hour := []auth.Limit{{N: 2, Window: time.Hour}}
	tests := map[string]struct {
		limits auth.Limits
		second auth.StartRequest // a third send, after two of alice from 192.0.2.1
		want   auth.Code
	}{
		"a number over its sends is refused":            {auth.Limits{PhoneSends: hour}, auth.StartRequest{Phone: alice}, auth.CodeRateLimited},
		"another number is not":                         {auth.Limits{PhoneSends: hour}, auth.StartRequest{Phone: bob}, ""},
		"an address over its sends is refused":          {auth.Limits{IPSends: hour}, auth.StartRequest{Phone: bob, ClientIP: "192.0.2.1"}, auth.CodeRateLimited},
		"the same address as IPv6 is the same":          {auth.Limits{IPSends: hour}, auth.StartRequest{Phone: bob, ClientIP: "::ffff:192.0.2.1"}, auth.CodeRateLimited},
		"another address is not":                        {auth.Limits{IPSends: hour}, auth.StartRequest{Phone: bob, ClientIP: "192.0.2.2"}, ""},
		"an unknown address shares no limit":            {auth.Limits{IPSends: hour}, auth.StartRequest{Phone: bob}, ""},
		"a neighbour of the number's prefix is":         {auth.Limits{PrefixSends: hour}, auth.StartRequest{Phone: alice[:len(alice)-4] + "9999"}, auth.CodeRateLimited},
		"everybody is over the global limit":            {auth.Limits{GlobalSends: hour}, auth.StartRequest{Phone: bob}, auth.CodeRateLimited},
		"a country over its sends is refused":           {auth.Limits{CountrySends: hour}, auth.StartRequest{Phone: bob, Country: "SE"}, auth.CodeRateLimited},
		"another country is not":                        {auth.Limits{CountrySends: hour}, auth.StartRequest{Phone: "+4791234567", Country: "NO"}, ""},
		"an unknown country shares no limit":            {auth.Limits{CountrySends: hour}, auth.StartRequest{Phone: bob}, ""},
		"the longer of two windows holds on its own":    {auth.Limits{PhoneSends: []auth.Limit{{N: 9, Window: time.Hour}, {N: 2, Window: 24 * time.Hour}}}, auth.StartRequest{Phone: alice}, auth.CodeRateLimited},
		"without limits nothing is refused":             {auth.Limits{}, auth.StartRequest{Phone: alice}, ""},
		"an address of the same /56 but not /64 is not": {auth.Limits{IPSends: hour}, auth.StartRequest{Phone: bob, ClientIP: "2001:db8:0:1::1"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(s *auth.Settings) { s.Limits = test.limits })
			for range 2 {
				if _, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, Country: "SE", ClientIP: "192.0.2.1"}); err != nil {
					t.Fatal(err)
				}
			}
			_, err := w.Start(t.Context(), test.second)
			wants(t, err, test.want)
			if test.want == "" {
				return
			}
			w.clock.pass(auth.AsError(err).RetryAfter)
			_, err = w.Start(t.Context(), test.second)
			wants(t, err, "")
		})
	}
}

// Attack: an IPv6 customer has 2^64 addresses.
func TestAddressesOfOneNetworkCountTogether(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.IPSends = []auth.Limit{{N: 1, Window: time.Hour}} })
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, ClientIP: "2001:db8::1"})
	wants(t, err, "")
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: bob, ClientIP: "2001:db8::ffff:2"})
	wants(t, err, auth.CodeRateLimited)
}

// Attack: a fresh challenge as a way to fresh guesses at the same number.
func TestFailuresOfANumberSurviveNewChallengesAndRestarts(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneFailures = []auth.Limit{{N: 7, Window: 24 * time.Hour}} })
	for range 7 {
		id, _ := w.start(alice)
		_, err := w.verify(id, "wrong", "")
		wants(t, err, auth.CodeOTPInvalid)
	}
	w.restart()
	id, code := w.start(alice)
	compared := w.codes.Load()
	_, err := w.verify(id, code, "")
	wants(t, err, auth.CodeTooManyFailures)
	if w.codes.Load() != compared {
		t.Error("a code was compared beyond the limit")
	}
	w.clock.pass(24 * time.Hour)
	id, code = w.start(alice)
	_, err = w.verify(id, code, "")
	wants(t, err, "")
}

func TestFailuresOfAnAddressCount(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.IPFailures = []auth.Limit{{N: 1, Window: time.Hour}} })
	for i, want := range []auth.Code{auth.CodeOTPInvalid, auth.CodeTooManyFailures} {
		id, _ := w.start([]string{alice, bob}[i])
		_, err := w.Verify(t.Context(), auth.VerifyRequest{ChallengeID: id, Code: "wrong", ClientIP: "192.0.2.1", Kind: auth.RefreshTicket})
		wants(t, err, want)
	}
}

func TestRightCodesAreNoFailures(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneFailures = []auth.Limit{{N: 1, Window: time.Hour}} })
	for range 5 {
		w.signIn(alice, "phone")
	}
}

// Against the plain definition: in no window of the length are there more than
// N events, and below 512 events nothing is refused that would fit.
func TestLimitProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := auth.Limit{N: rapid.IntRange(1, 700).Draw(rt, "n"), Window: time.Hour}
		w := newWorld(t, func(s *auth.Settings) { s.Limits.GlobalSends = []auth.Limit{limit} })
		var passed []time.Time
		for _, gap := range rapid.SliceOfN(rapid.IntRange(0, 600), 1, 60).Draw(rt, "gaps") {
			w.clock.pass(time.Duration(gap) * time.Second)
			for range rapid.IntRange(1, 20).Draw(rt, "burst") {
				now := w.clock.Now()
				inWindow := len(passed) - slices.IndexFunc(append(passed, now), func(at time.Time) bool { return at.After(now.Add(-time.Hour)) })
				_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice})
				if err == nil {
					passed = append(passed, now)
				}
				if err == nil && inWindow >= limit.N {
					rt.Fatalf("event %d of %d in the window passed", inWindow+1, limit.N)
				}
				if err != nil && inWindow < limit.N && len(passed) < 500 {
					rt.Fatalf("event %d of %d in the window was refused", inWindow+1, limit.N)
				}
			}
		}
	})
}
