package caddymodule

import (
	"context"
	"log/slog"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/phone"
)

// reach says how far codes go: what the domain cannot know of a number and of a
// client.
type reach struct {
	*auth.Service
	app *App
	log *slog.Logger
}

type nearKey struct{}

// Start sends a code to whom one can be sent.
func (s *reach) Start(ctx context.Context, r auth.StartRequest) (auth.Pending, error) {
	if err := s.check(ctx, &r); err != nil {
		return auth.Pending{}, err
	}
	return s.Service.Start(ctx, r)
}

// Verify counts the answers.
func (s *reach) Verify(ctx context.Context, r auth.VerifyRequest) (auth.Grant, error) {
	g, err := s.Service.Verify(ctx, r)
	meters.Verified(err)
	return g, err
}

// StartPhoneChange does so for a new number.
func (s *reach) StartPhoneChange(ctx context.Context, owner auth.Proof, r auth.StartRequest) (auth.Pending, error) {
	if err := s.check(ctx, &r); err != nil {
		return auth.Pending{}, err
	}
	return s.Service.StartPhoneChange(ctx, owner, r)
}

// check refuses clients from elsewhere while no sender is configured: the codes
// stand in Caddy's log, and a stranger must not fill it. And it refuses numbers
// that the channel does not reach. It adds the number's country.
func (s *reach) check(ctx context.Context, r *auth.StartRequest) error {
	if near, _ := ctx.Value(nearKey{}).(bool); s.app.localOnly && !near {
		s.log.Error("a client not on this machine asked for a code, but no sender is configured: add one to the sidegate global option, such as: sender webhook https://sms.internal/send")
		return &auth.Error{Code: auth.CodeDeliveryUnavailable, RetryAfter: time.Minute, AttemptsLeft: -1}
	}
	if r.Channel != "voice" && !s.app.isTestNumber(r.Phone) && phone.OnlyCalls(r.Phone) {
		return auth.Refuse(auth.CodePhoneNotSupported)
	}
	r.Country = phone.Country(r.Phone)
	return nil
}
