package auth_test

import (
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Attack: trying out, from one address, in which country a message earns
// something.
func TestCountriesOfAnAddress(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.IPCountries = []auth.Limit{{N: 3, Window: 24 * time.Hour}} })
	ask := func(country, ip string) error {
		_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, Country: country, ClientIP: ip})
		return err
	}
	for _, row := range []struct {
		name        string
		country, ip string
		want        auth.Code
	}{
		{"the first country", "SE", "192.0.2.1", ""},
		{"the second", "NO", "192.0.2.1", ""},
		{"the third", "GB", "::ffff:192.0.2.1", ""},
		{"the fourth is refused", "LV", "192.0.2.1", auth.CodeRateLimited},
		{"one of the three is not", "SE", "192.0.2.1", ""},
		{"another address has countries of its own", "LV", "192.0.2.2", ""},
		{"a country that nobody knows is none", "", "192.0.2.1", ""},
	} {
		t.Log(row.name)
		wants(t, ask(row.country, row.ip), row.want)
		w.clock.pass(time.Hour)
	}
	for _, country := range []string{"SE", "NO", "GB", "LV", "DE"} {
		wants(t, ask(country, "127.0.0.1"), "")
		wants(t, ask(country, "::1"), "")
	}
	// 7 hours have gone. SE was asked for again 4 hours after its first time,
	// so NO leaves first.
	err := ask("LV", "192.0.2.1")
	wants(t, err, auth.CodeRateLimited)
	if got := auth.AsError(err).RetryAfter; got != 18*time.Hour {
		t.Errorf("retry after %v, want 18h", got)
	}
	w.clock.pass(18 * time.Hour)
	wants(t, ask("LV", "192.0.2.1"), "")
	wants(t, ask("NO", "192.0.2.1"), auth.CodeRateLimited)
}

// A message that did not go out was no country.
func TestCountryOfAFailedMessageIsForgotten(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.IPCountries = []auth.Limit{{N: 1, Window: time.Hour}} })
	ask := func(country string) error {
		_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, Country: country, ClientIP: "192.0.2.1"})
		return err
	}
	w.outbox.refuse = errNetwork
	wants(t, ask("SE"), auth.CodeDeliveryUnavailable)
	w.outbox.refuse = nil
	wants(t, ask("NO"), "")
	w.clock.pass(30 * time.Minute)
	w.outbox.refuse = errNetwork
	wants(t, ask("NO"), auth.CodeDeliveryUnavailable)
	w.outbox.refuse = nil
	w.clock.pass(30 * time.Minute) // an hour after the one that went out
	wants(t, ask("GB"), "")
}

// A clock that was a year ahead shuts no address out for a year.
func TestCountriesOutliveNoWrongClock(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) { s.Limits.IPCountries = []auth.Limit{{N: 1, Window: time.Hour}} })
	w.clock.pass(365 * 24 * time.Hour)
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, Country: "SE", ClientIP: "192.0.2.1"})
	wants(t, err, "")
	w.clock.pass(-365 * 24 * time.Hour)
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice, Country: "NO", ClientIP: "192.0.2.1"})
	wants(t, err, auth.CodeRateLimited)
	if got := auth.AsError(err).RetryAfter; got != time.Hour {
		t.Errorf("retry after %v, want an hour", got)
	}
}
