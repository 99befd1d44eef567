package metrics

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func newSet(ready func(context.Context) error) *Set {
	return New(Sources{
		Live:   func() auth.Counts { return auth.Counts{Sessions: 3, Streams: 2, Touches: 10, Written: 4} },
		Tokens: func() (busy, cached, read uint64) { return 7, 5, 1 },
		Ready:  ready,
	})
}

func good(context.Context) error { return nil }

// scrape gives the value of each series that is not zero, but for histograms,
// and how many there are of all.
func scrape(t *testing.T, r *prometheus.Registry) (values map[string]float64, series int) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values = map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			series += 1
			if h := m.GetHistogram(); h != nil {
				series += len(h.GetBucket()) + 2 // +Inf, sum, count
				continue
			}
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			if v := m.GetCounter().GetValue() + m.GetGauge().GetValue(); v != 0 {
				values[strings.TrimPrefix(f.GetName(), prefix)+"{"+strings.Join(labels, ",")+"}"] = v
			}
		}
	}
	return values, series
}

func TestCounting(t *testing.T) {
	m, r := newSet(good), prometheus.NewPedanticRegistry()
	if err := m.Register(r); err != nil {
		t.Fatal(err)
	}
	tell := func(name auth.EventName, cause string) {
		m.Event(auth.Event{Name: name, Cause: cause, Country: "SE", Channel: "sms", UserID: 7, ClientIP: "192.0.2.1", Subject: "s"})
	}
	sources := map[string]float64{
		"live_sessions{}": 3, "event_streams{}": 2, "touches_total{}": 10, "touches_written_total{}": 4, "ready{}": 1,
		"token_cache_total{result=busy}": 7, "token_cache_total{result=hit}": 5, "token_cache_total{result=miss}": 1,
	}
	for _, row := range []struct {
		name string
		act  func()
		want []string // series that grow by one
	}{
		{"nothing has happened", func() {}, nil},
		{"a code that arrives", func() { tell(auth.EventCodeRequested, ""); tell(auth.EventCodeDelivered, "") },
			[]string{"codes_requested_total{channel=sms}", "codes_delivered_total{country=SE}", "events_total{event=code_requested}", "events_total{event=code_delivered}"}},
		{"a code that nobody takes", func() { tell(auth.EventCodeUndelivered, "") },
			[]string{"codes_undelivered_total{cause=senders}", "events_total{event=code_undelivered}"}},
		{"a code that did not arrive, says the provider", func() { tell(auth.EventCodeUndelivered, "reported") },
			[]string{"codes_undelivered_total{cause=reported}", "events_total{event=code_undelivered}"}},
		{"a limit", func() { tell(auth.EventSendBlocked, "ip_sends") },
			[]string{"limit_hits_total{action=stopped,limit=ip_sends}", "events_total{event=send_blocked}"}},
		{"a limit on wrong codes", func() { tell(auth.EventVerifyBlocked, "phone_failures") },
			[]string{"limit_hits_total{action=stopped,limit=phone_failures}", "events_total{event=verify_blocked}"}},
		{"a limit that is only recorded", func() { tell(auth.EventSendRecorded, "ip_sends") },
			[]string{"limit_hits_total{action=recorded,limit=ip_sends}", "events_total{event=send_recorded}"}},
		{"the budget", func() { tell(auth.EventBudgetUsed, "80") }, []string{"budget_alarms_total{percent=80}", "events_total{event=budget_used}"}},
		{"a wrong code", func() { tell(auth.EventCodeWrong, "otp_invalid"); m.Verified(auth.Refuse(auth.CodeOTPInvalid)) },
			[]string{"codes_wrong_total{}", "verifies_total{outcome=otp_invalid}", "events_total{event=code_wrong}"}},
		{"a right code of a closed account", func() { tell(auth.EventSignInRefused, "account_disabled") },
			[]string{"codes_verified_total{country=SE}", "events_total{event=sign_in_refused}"}},
		{"a sign-in", func() { tell(auth.EventSessionStarted, ""); m.Verified(nil) },
			[]string{"codes_verified_total{country=SE}", "sessions_started_total{}", "verifies_total{outcome=right}", "events_total{event=session_started}"}},
		{"a sign-in that the store fails", func() { m.Verified(fmt.Errorf("%w: x", auth.ErrUnavailable)) }, []string{"verifies_total{outcome=store_unavailable}"}},
		{"an end", func() { tell(auth.EventSessionEnded, "idle") }, []string{"sessions_ended_total{reason=idle}", "events_total{event=session_ended}"}},
		{"a refresh", func() { tell(auth.EventTokenRefreshed, auth.CauseForgiven) },
			[]string{"refreshes_total{outcome=forgiven}", "events_total{event=token_refreshed}"}},
		{"a reuse, counted once", func() {
			tell(auth.EventTokenReused, "")
			tell(auth.EventTokenRefused, string(auth.CodeRefreshReused))
		}, []string{"refreshes_total{outcome=reused}", "events_total{event=token_reused}", "events_total{event=token_refused}"}},
		{"a refused token", func() { tell(auth.EventTokenRefused, "session_revoked") },
			[]string{"refreshes_total{outcome=session_revoked}", "events_total{event=token_refused}"}},
		{"an attempt", func() { m.Attempt("twilio", "sms", "", "failed", time.Second) },
			[]string{"sends_total{channel=sms,country=unknown,outcome=failed,sender=twilio}"}},
		{"a store that fails", func() { m.StoreCall(Swap, time.Second, auth.ErrUnavailable) }, []string{"store_errors_total{operation=swap}"}},
		{"a conflict is no failure", func() { m.StoreCall(Swap, time.Second, fmt.Errorf("x: %w", auth.ErrConflict)) }, []string{"store_conflicts_total{}"}},
		{"a subscriber", func() {
			s := m.Subscriber("webhook a.example")
			s.Dropped(DroppedOld, 1)
			s.Posted("failed")
			s.Waiting(1)
		}, []string{
			"events_dropped_total{cause=old,subscriber=webhook a.example}", "webhook_deliveries_total{outcome=failed,webhook=webhook a.example}",
			"webhook_waiting{webhook=webhook a.example}",
		}},
	} {
		before, _ := scrape(t, r)
		row.act()
		after, _ := scrape(t, r)
		grown := map[string]bool{}
		for name, v := range after {
			if by := v - before[name]; by == 1 {
				grown[name] = true
			} else if by != 0 {
				t.Errorf("%s: %s grew by %v", row.name, name, by)
			}
		}
		for _, name := range row.want {
			if !grown[name] {
				t.Errorf("%s: %s did not grow", row.name, name)
			}
			delete(grown, name)
		}
		if len(grown) > 0 {
			t.Errorf("%s: %v grew too", row.name, grown)
		}
	}
	values, _ := scrape(t, r)
	for name, want := range sources {
		if values[name] != want {
			t.Errorf("%s: got %v, want %v", name, values[name], want)
		}
	}
}

// A reload has a registry of its own; the totals go on.
func TestSurvivesReload(t *testing.T) {
	m := newSet(good)
	for n := range 3 {
		r := prometheus.NewPedanticRegistry()
		for range 2 { // a second time is harmless
			if err := m.Register(r); err != nil {
				t.Fatal(err)
			}
		}
		m.Event(auth.Event{Name: auth.EventCodeWrong})
		if values, _ := scrape(t, r); values["codes_wrong_total{}"] != float64(n+1) {
			t.Errorf("after %d events: %v", n+1, values["codes_wrong_total{}"])
		}
	}
	taken := prometheus.NewPedanticRegistry()
	taken.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "sends_total", Help: "another"}))
	if m.Register(taken) == nil {
		t.Error("a name that means something else was taken")
	}
}

// Attack: a stranger asks for codes to every country of the world, over every
// sender, to make the monitoring too large to be of use.
func TestSeriesAreBounded(t *testing.T) {
	m, r := newSet(good), prometheus.NewPedanticRegistry()
	if err := m.Register(r); err != nil {
		t.Fatal(err)
	}
	const attempts = 26 * 26 * 5 * 3 * 3
	for country := range 26 * 26 {
		name := string(rune('A'+country/26)) + string(rune('A'+country%26))
		for sender := range 5 {
			for _, channel := range []string{"sms", "voice", "whatsapp"} {
				for _, outcome := range []string{"delivered", "refused", "failed"} {
					m.Attempt(fmt.Sprint("sender", sender), channel, name, outcome, time.Second)
				}
			}
		}
		for _, event := range auth.EventNames {
			m.Event(auth.Event{Name: event, Country: name, Channel: "sms", Cause: "cause" + name})
		}
	}
	values, series := scrape(t, r)
	t.Logf("%d series", series)
	if series > 1700 { // and up to 300 of Caddy and Go
		t.Errorf("%d series", series)
	}
	sum := 0.0
	for name, v := range values {
		if strings.HasPrefix(name, "sends_total") {
			sum += v
		}
	}
	if sum != attempts {
		t.Errorf("%v attempts were counted of %v", sum, attempts)
	}
}

// A store that hangs must not make the scrape too late to be of use.
func TestScrapeWaitsForNoStore(t *testing.T) {
	for _, row := range []struct {
		name  string
		ready func(context.Context) error
	}{
		{"it hangs", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		{"it fails", func(context.Context) error { return errors.New("broken") }},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := prometheus.NewPedanticRegistry()
			if err := newSet(row.ready).Register(r); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			values, _ := scrape(t, r)
			if _, ready := values["ready{}"]; ready || time.Since(began) > scrapeWait {
				t.Errorf("%s: got %v after %v", row.name, values["ready{}"], time.Since(began))
			}
		})
	}
}
