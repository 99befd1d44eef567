package auth_test

import (
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestReports(t *testing.T) {
	const sent, failed = auth.DeliverySent, auth.DeliveryFailed
	for _, row := range []struct {
		name    string
		reports []auth.DeliveryStatus
		want    auth.DeliveryStatus
	}{
		{"nothing is decided", []auth.DeliveryStatus{""}, sent},
		{"it never arrived", []auth.DeliveryStatus{failed}, failed},
		{"it arrived", []auth.DeliveryStatus{sent}, sent},
		{"another sender brought it after all", []auth.DeliveryStatus{failed, sent}, sent},
		{"that it arrived is final", []auth.DeliveryStatus{sent, failed}, sent},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, func(s *auth.Settings) { s.Limits.PhoneSends = []auth.Limit{{N: 2, Window: time.Hour}} })
			id, _ := w.start(alice)
			for _, outcome := range row.reports {
				wants(t, w.Report(t.Context(), auth.Report{MessageID: w.outbox.sent[0].ID, Outcome: outcome}), "")
			}
			status, err := w.Status(t.Context(), id)
			if err != nil || status.Status != row.want {
				t.Errorf("got %+v, %v; want %s", status, err, row.want)
			}

			// The next message begins anew, and late reports are not about it.
			w.clock.pass(time.Minute)
			_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice, ChallengeID: id})
			wants(t, err, "")
			wants(t, w.Report(t.Context(), auth.Report{MessageID: w.outbox.sent[0].ID, Outcome: failed}), "")
			if status, err = w.Status(t.Context(), id); err != nil || status.Status != sent {
				t.Errorf("after a resend: %+v, %v", status, err)
			}
			// Attack: numbers that are switched off, to send without limits.
			wants(t, w.Report(t.Context(), auth.Report{MessageID: w.outbox.sent[1].ID, Outcome: failed}), "")
			_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice})
			wants(t, err, auth.CodeRateLimited)
		})
	}
}

// The provider may be faster than the queue's own note that it took the message.
func TestReportBeforeTheQueueIsDone(t *testing.T) {
	w := newWorld(t)
	held := &heldOutbox{}
	w.Outbox = held
	p, err := w.Start(t.Context(), auth.StartRequest{Phone: alice})
	wants(t, err, "")
	wants(t, w.Report(t.Context(), auth.Report{MessageID: held.message.ID, Outcome: auth.DeliveryFailed}), "")
	held.done(nil)
	if status, err := w.Status(t.Context(), p.ChallengeID); err != nil || status.Status != auth.DeliveryFailed {
		t.Errorf("got %+v, %v", status, err)
	}
}

// heldOutbox leaves it to the test when a message is done.
type heldOutbox struct {
	message auth.Message
	done    func(error)
}

func (o *heldOutbox) Enqueue(m auth.Message, done func(error)) error {
	o.message, o.done = m, done
	return nil
}

func TestReportsOfNothing(t *testing.T) {
	w := newWorld(t)
	id, code := w.start(alice)
	for _, message := range []string{"", ".", "x.1", id, id + ".", id + ".2", id + ".1.1", "AAAAAAAAAAAAAAAAAAAAAA.1", "../../user/1.1"} {
		wants(t, w.Report(t.Context(), auth.Report{MessageID: message, Outcome: auth.DeliveryFailed}), "")
	}
	if status, err := w.Status(t.Context(), id); err != nil || status.Status != auth.DeliverySent {
		t.Errorf("got %+v, %v", status, err)
	}
	_, err := w.verify(id, code, "")
	wants(t, err, "")
	wants(t, w.Report(t.Context(), auth.Report{MessageID: id + ".1", Outcome: auth.DeliveryFailed}), "")
}
