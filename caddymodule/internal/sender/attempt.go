package sender

import (
	"errors"
	"time"
)

// Attempt is one try to deliver a message with one sender, for who counts. It
// says nothing of the person.
type Attempt struct {
	Sender  string // its name
	Country string // of the number; empty: none
	Channel string
	Outcome Outcome
	Took    time.Duration
}

// Outcome is how an Attempt has ended.
type Outcome string

const (
	OutcomeDelivered Outcome = "delivered" // the sender took the message over
	OutcomeRefused   Outcome = "refused"   // it works, and does not want this message
	OutcomeFailed    Outcome = "failed"
	OutcomeCut       Outcome = "cut" // by us: the code expired, or Caddy stops
)

func outcomeOf(err error, cut bool) Outcome {
	switch {
	case err == nil:
		return OutcomeDelivered
	case cut:
		return OutcomeCut
	case errors.Is(err, ErrRefused):
		return OutcomeRefused
	}
	return OutcomeFailed
}
