// Package metrics counts what happens, for Prometheus. It alone knows that.
//
// No label holds a person, a session or an address, and none has more values
// than can be listed: what a stranger sends must not grow a scrape.
package metrics

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Set is all metrics of a process. It outlives configurations: Caddy has a new
// registry for each, and the same Set goes into all of them. It is safe for
// concurrent use.
type Set struct {
	sends, delivered, verified, limits    bounded
	undelivered, alarms, refreshes, ended bounded

	requested, verifies, events   *prometheus.CounterVec
	wrong, started, conflicts     prometheus.Counter
	sendTime, storeTime           *prometheus.HistogramVec
	storeErrors, dropped, notices *prometheus.CounterVec
	waiting                       *prometheus.GaugeVec
	operations                    [len(operationNames)]operation
	sources                       sources
	collectors                    []prometheus.Collector
}

const prefix = "caddy_sidegate_"

// How many series a counter by country may have. All together stay far below
// 2000, whatever the world does.
const (
	mostSends     = 600 // sender, channel, country, outcome
	mostCountries = 260 // ISO 3166 has 249
	mostCauses    = 40  // a dozen limits, a dozen codes
)

// New makes the metrics, all at zero.
func New(s Sources) *Set {
	m := &Set{sources: newSources(s)}
	m.makeCodes()
	m.makeSessions()
	m.makeStore()
	m.makeSubscribers()
	m.collectors = append(m.collectors, m.sources)
	return m
}

func (m *Set) makeCodes() {
	m.sends = bounded{vec: m.counter("sends_total", "Attempts to deliver a code, by sender.", "sender", "channel", "country", "outcome"), free: 2, most: mostSends}
	m.delivered = bounded{vec: m.counter("codes_delivered_total", "Codes that a sender took over.", "country"), most: mostCountries}
	m.verified = bounded{vec: m.counter("codes_verified_total", "Codes that were brought back.", "country"), most: mostCountries}
	m.limits = bounded{vec: m.counter("limit_hits_total", "Requests that a limit stopped, or would have.", "limit", "action"), most: mostCauses}
	m.requested = m.counter("codes_requested_total", "Codes that were asked for and not refused.", "channel")
	m.undelivered = bounded{vec: m.counter("codes_undelivered_total", "Codes that did not arrive.", "cause"), most: mostCauses}
	m.verifies = m.counter("verifies_total", "Answers to codes that were brought back.", "outcome")
	m.wrong = m.counter("codes_wrong_total", "Wrong codes.").WithLabelValues()
	m.alarms = bounded{vec: m.counter("budget_alarms_total", "Times that so much of global_sends was used.", "percent"), most: mostCauses}
	m.sendTime = m.histogram("send_duration_seconds", "How long attempts to deliver took.", []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "sender")
	begin(m.undelivered.vec, causeSenders, causeReported)
	begin(m.verifies, outcomeRight, string(auth.CodeOTPInvalid))
	begin(m.alarms.vec, "50", "80")
}

func (m *Set) makeSessions() {
	m.refreshes = bounded{vec: m.counter("refreshes_total", "Refresh tokens and session cookies that were due, by what became of them.", "outcome"), most: mostCauses}
	m.started = m.counter("sessions_started_total", "Sign-ins.").WithLabelValues()
	m.ended = bounded{vec: m.counter("sessions_ended_total", "Sessions that have ended.", "reason"), most: mostCauses}
	m.events = m.counter("events_total", "Events of all kinds.", "event")
	begin(m.refreshes.vec, auth.CauseRotated, auth.CauseRepeated, auth.CauseForgiven, outcomeReused)
	begin(m.ended.vec, endReasons...)
	for _, name := range auth.EventNames {
		begin(m.events, string(name))
	}
}

func (m *Set) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	m.collectors = append(m.collectors, v)
	return v
}

func (m *Set) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets}, labels)
	m.collectors = append(m.collectors, v)
	return v
}

func (m *Set) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, labels)
	m.collectors = append(m.collectors, v)
	return v
}

// begin has series start at zero. One that appears with its first event hides
// that event from an alert, which sees increases alone.
func begin(v *prometheus.CounterVec, values ...string) {
	for _, value := range values {
		v.WithLabelValues(value)
	}
}

// Register adds the metrics to a registry. A second time is harmless.
func (m *Set) Register(r prometheus.Registerer) error {
	for _, c := range m.collectors {
		err := r.Register(c)
		if _, again := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !again {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

const (
	causeSenders  = "senders"  // none of them took it
	causeReported = "reported" // one did, and its provider says later that it did not arrive
	outcomeRight  = "right"
	outcomeReused = "reused"
	other         = "other"
	unknown       = "unknown"
)

var endReasons = []string{
	string(auth.EndLogout), string(auth.EndIdle), string(auth.EndExpired), string(auth.EndRevoked),
	string(auth.EndReplaced), string(auth.EndEvicted), string(auth.EndReused), string(auth.EndBanned),
}

// Attempt counts one try to deliver a code.
func (m *Set) Attempt(sender, channel, country, outcome string, took time.Duration) {
	m.sends.inc(sender, channel, orUnknown(country), outcome)
	m.sendTime.WithLabelValues(sender).Observe(took.Seconds())
}

// Verified counts the answer to a code that was brought back.
func (m *Set) Verified(err error) {
	outcome := outcomeRight
	if err != nil {
		outcome = string(auth.AsError(err).Code)
	}
	m.verifies.WithLabelValues(outcome).Inc()
}

func orUnknown(country string) string {
	if country == "" {
		return unknown
	}
	return country
}
