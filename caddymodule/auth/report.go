package auth

import (
	"context"
	"strconv"
	"strings"
)

// Report is what a provider says later of a message that it has taken.
type Report struct {
	MessageID string         // as in Message
	Outcome   DeliveryStatus // DeliverySent: it arrived; DeliveryFailed: it never will; empty: nothing is decided
	Reason    string         // of a failure, for the log; neither the number nor the code
}

// Report notes what has become of a challenge's last message: the provider
// knows better than the queue, which saw the message taken. Nothing is given
// back to the limits, since the message was paid for: a stranger could send to
// numbers that are switched off without end. A report about a message or a
// challenge that is gone says nothing.
func (s *Service) Report(ctx context.Context, r Report) error {
	id, number, _ := strings.Cut(r.MessageID, ".")
	sends, err := strconv.Atoi(number)
	if err != nil || !plausibleChallenge(id) || r.Outcome == "" {
		return nil
	}
	changed := false
	c, err := update(ctx, s.Store, challengeKey(id), func(c *Challenge, exists bool) (Write, error) {
		// That it arrived is final: reports come in any order, and two senders
		// may have had the message.
		changed = exists && c.Sends == sends && c.Reported != r.Outcome && c.Reported != DeliverySent
		if !changed {
			return Write{}, errUnchanged
		}
		c.Reported, c.Delivery = r.Outcome, r.Outcome
		return Write{Expires: c.ExpiresAt}, nil
	})
	if err == nil && changed && r.Outcome == DeliveryFailed {
		s.tellOfCode(EventCodeUndelivered, c, "reported", "")
		s.Log.Warn("code not delivered, says the provider that took it", "challenge_id", id, "reason", r.Reason)
	}
	return err
}
