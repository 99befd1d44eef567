package auth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// kinds of numbers that nobody may tell apart by asking for a code.
var kindsOfNumbers = []string{"known", "unknown", "banned", "closed", "dormant", "suppressed"}

// enumerated is a world in which a number of the kind can ask for codes, and in
// which somebody else is signed in. Strangers have this part of the budget.
func enumerated(t testing.TB, kind string, strangers int) (*world, auth.Grant) {
	w := newWorld(t, func(s *auth.Settings) {
		s.Limits = auth.Limits{
			PhoneSends: hourly(9000), IPSends: hourly(9000), PrefixSends: hourly(9000), CountrySends: hourly(9000), IPCountries: hourly(3),
			GlobalSends: hourly(2 * strangers), Reserve: 50, PrefixUnverified: hourly(9000), CountryUnverified: hourly(9000), GlobalUnverified: hourly(9000),
		}
	})
	somebody := w.signIn(carol, "phone")
	switch kind {
	case "known":
		w.signIn(alice, "phone")
	case "banned":
		g := w.signIn(alice, "phone")
		if _, err := w.As("test").Ban(t.Context(), g.Identity.UserID, "", time.Time{}); err != nil {
			t.Fatal(err)
		}
	case "dormant":
		w.signIn(alice, "phone")
		w.clock.pass(dormant)
		somebody = w.signIn(carol, "phone")
		w.local().DormantAfter = dormant
	case "closed":
		w.Directory.(*auth.LocalDirectory).Registration = false
	case "suppressed":
		for range strangers {
			w.start(bob)
		}
	}
	// The outcome of a message comes later than the answer, as it does in truth.
	w.Outbox = outboxFunc(func(m auth.Message, _ func(error)) error {
		w.outbox.sent = append(w.outbox.sent, m)
		return nil
	})
	return w, somebody
}

// codesAsked are the ways to have a code sent to a number, and to bring it back:
// as a stranger, and as a user whose new number it would become.
var codesAsked = map[string]struct {
	start     func(w *world, g auth.Grant, r auth.StartRequest) (auth.Pending, error)
	bringBack func(w *world, g auth.Grant, id, code string) error
}{
	"sign-in": {
		func(w *world, _ auth.Grant, r auth.StartRequest) (auth.Pending, error) {
			return w.Start(w.t.Context(), r)
		},
		func(w *world, _ auth.Grant, id, code string) error { _, err := w.verify(id, code, ""); return err },
	},
	"change of number": {
		func(w *world, g auth.Grant, r auth.StartRequest) (auth.Pending, error) {
			return w.StartPhoneChange(w.t.Context(), proof(g), r)
		},
		(*world).change,
	},
}

func hourly(n int) []auth.Limit { return []auth.Limit{{N: n, Window: time.Hour}} }

// tracedStore writes down what is asked of a store, without the subjects.
type tracedStore struct {
	auth.Store
	trace []string
}

func (s *tracedStore) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	s.trace = append(s.trace, fmt.Sprint("get ", len(keys)))
	return s.Store.Get(ctx, keys...)
}

func (s *tracedStore) Swap(ctx context.Context, v auth.Version, w auth.Write) (auth.Version, error) {
	s.trace = append(s.trace, "swap")
	return s.Store.Swap(ctx, v, w)
}

func (s *tracedStore) Put(ctx context.Context, writes []auth.Write) error {
	s.trace = append(s.trace, "put")
	return s.Store.Put(ctx, writes)
}

func (s *tracedStore) Sync(ctx context.Context) error {
	s.trace = append(s.trace, "sync")
	return s.Store.Sync(ctx)
}

// Attack: asking for codes, to learn whose numbers are customers'. 200 requests
// of each kind have the same answer and cost the same work, step by step. How
// long they take is printed by BenchmarkEnumeration.
func TestRequestsTellNoNumbersApart(t *testing.T) {
	for way := range codesAsked {
		t.Run(way, func(t *testing.T) { requestsTellNoNumbersApart(t, way) })
	}
}

func requestsTellNoNumbersApart(t *testing.T, way string) {
	var first auth.Pending
	var steps []string
	for _, kind := range kindsOfNumbers {
		w, g := enumerated(t, kind, 250)
		traced := &tracedStore{Store: w.store}
		w.Service.Store = traced
		before := len(w.outbox.sent)
		for i := range 200 {
			traced.trace = nil
			p, err := codesAsked[way].start(w, g, auth.StartRequest{Phone: alice, Country: "SE", ClientIP: "192.0.2.1"})
			wants(t, err, "")
			asked := slices.Clone(traced.trace)
			status, err := w.Status(t.Context(), p.ChallengeID)
			if wants(t, err, ""); status.Status != auth.DeliveryQueued {
				t.Errorf("%s: %+v", kind, status)
			}
			wants(t, codesAsked[way].bringBack(w, g, p.ChallengeID, "wrong"), auth.CodeOTPInvalid)
			if len(p.ChallengeID) != 22 {
				t.Errorf("%s: id %q", kind, p.ChallengeID)
			}
			if p.ChallengeID = ""; steps == nil {
				first, steps = p, asked
			}
			if p != first || !slices.Equal(asked, steps) {
				t.Fatalf("%s, request %d: %+v by %q; others: %+v by %q", kind, i+1, p, asked, first, steps)
			}
		}
		if sent := len(w.outbox.sent) - before; sent != 200 && kind != "suppressed" || sent != 0 && kind == "suppressed" {
			t.Errorf("%s: %d messages went out", kind, sent)
		}
	}
}

// downOutbox is an outbox whose senders are all known to be down.
type downOutbox struct{}

func (downOutbox) Enqueue(auth.Message, func(error)) error { return errors.New("every sender is down") }
func (d downOutbox) Admits(auth.Message) error             { return d.Enqueue(auth.Message{}, nil) }

// Attack: while no sender works, asking which numbers are answered all the same,
// to learn which are suppressed.
func TestNumbersAreAlikeWhenNoSenderWorks(t *testing.T) {
	for way := range codesAsked {
		var steps []string
		for _, kind := range kindsOfNumbers {
			w, g := enumerated(t, kind, 250)
			working, request := w.Outbox, auth.StartRequest{Phone: alice, Country: "SE", ClientIP: "192.0.2.1"}
			p, err := codesAsked[way].start(w, g, request)
			wants(t, err, "")
			w.clock.pass(time.Minute)
			traced := &tracedStore{Store: w.store}
			w.Service.Store, w.Outbox = traced, downOutbox{}
			for _, id := range []string{"", p.ChallengeID} {
				request.ChallengeID = id
				_, err = codesAsked[way].start(w, g, request)
				wants(t, err, auth.CodeDeliveryUnavailable)
			}
			if asked := traced.trace; steps == nil {
				steps = asked
			} else if !slices.Equal(asked, steps) {
				t.Errorf("%s, %s: asked %q; others: %q", way, kind, asked, steps)
			}
			w.clock.pass(10 * time.Second) // longer than a message seems to be under way
			status, err := w.Status(t.Context(), p.ChallengeID)
			if wants(t, err, ""); status.Status != auth.DeliveryFailed {
				t.Errorf("%s, %s: a resend that nobody took is %s", way, kind, status.Status)
			}
			w.Outbox = working
			if _, err = codesAsked[way].start(w, g, auth.StartRequest{Phone: alice, Country: "SE", ClientIP: "192.0.2.1"}); err != nil {
				t.Errorf("%s, %s: when a sender works again: %v", way, kind, err)
			}
		}
	}
}

// BenchmarkEnumeration prints the median time of an answer of each kind.
func BenchmarkEnumeration(b *testing.B) {
	for _, kind := range kindsOfNumbers {
		b.Run(kind, func(b *testing.B) {
			w, _ := enumerated(b, kind, 4000)
			var took []time.Duration
			for b.Loop() {
				w.clock.pass(time.Second)
				begin := time.Now()
				_, err := w.Start(b.Context(), auth.StartRequest{Phone: alice, Country: "SE", ClientIP: "192.0.2.1"})
				if took = append(took, time.Since(begin)); err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "median-ns")
		})
	}
}
