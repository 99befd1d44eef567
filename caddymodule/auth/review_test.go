package auth_test

import (
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const reviewer = "+15555550100"

func withReviewer(s *auth.Settings) {
	s.OTP.TestNumbers = []auth.TestNumber{{Phone: reviewer, Code: "424242", Until: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}}
}

// review signs in with the fixed code.
func (w *world) review() error {
	w.t.Helper()
	id, _ := w.start(reviewer)
	_, err := w.verify(id, "424242", "")
	return err
}

// Attack: a review number whose account was given a role, or which is an
// administrator's own: its code stands in a form of an app store.
func TestReviewNumbersHaveNoMoreThanTheDefaultRoles(t *testing.T) {
	w := newWorld(t, withReviewer)
	wants(t, w.review(), "")
	wants(t, auth.ChangeUser(t.Context(), w.store, 1, func(u *auth.User) { u.Roles = []string{"customer", "admin"} }), "")
	wants(t, w.review(), auth.CodeAccountDisabled)
	wants(t, auth.ChangeUser(t.Context(), w.store, 1, func(u *auth.User) { u.Roles = nil }), "")
	wants(t, w.review(), "")

	directory := &rolesDirectory{roles: []string{"customer"}}
	w.Directory = directory
	wants(t, w.review(), "")
	directory.roles = []string{"admin"}
	wants(t, w.review(), auth.CodeAccountDisabled)
	w.signIn(alice, "phone") // others may have any role
}

// Review numbers are exempt from limits of messages, and never from those of
// wrong codes.
func TestReviewNumbersAndLimits(t *testing.T) {
	one := []auth.Limit{{N: 1, Window: time.Hour}}
	w := newWorld(t, withReviewer, func(s *auth.Settings) {
		s.Limits = auth.Limits{
			PhoneSends: one, IPSends: one, PrefixSends: one, GlobalSends: one, CountrySends: one, IPCountries: one,
			PrefixUnverified: one, CountryUnverified: one, GlobalUnverified: one, PhoneFailures: one,
		}
	})
	for _, country := range []string{"US", "SE", "NO"} {
		_, err := w.Start(t.Context(), auth.StartRequest{Phone: reviewer, Country: country, ClientIP: "192.0.2.1"})
		wants(t, err, "")
	}
	for range 3 {
		wants(t, w.review(), "")
	}
	if len(w.outbox.sent) != 0 {
		t.Error("a message went out")
	}
	wants(t, w.guess(reviewer), auth.CodeOTPInvalid)
	wants(t, w.review(), auth.CodeTooManyFailures)
}
