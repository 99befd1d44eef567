package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Sources are asked at each scrape for what is counted where it happens.
type Sources struct {
	Live   func() auth.Counts
	Tokens func() (busy, cached, read uint64)
	Ready  func(context.Context) error // whether the store takes writes
}

// scrapeWait bounds how long a scrape waits to hear whether the store works. A
// scrape that comes too late would be lost when it matters most.
const scrapeWait = time.Second

type sources struct {
	Sources
	sessions, streams, touches, written, tokens, ready *prometheus.Desc
}

func newSources(s Sources) sources {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prefix+name, help, labels, nil)
	}
	return sources{
		Sources:  s,
		sessions: desc("live_sessions", "Sessions in memory."),
		streams:  desc("event_streams", "Streams that wait for news of their session."),
		touches:  desc("touches_total", "Uses of sessions."),
		written:  desc("touches_written_total", "Writes of the store for uses of sessions: the rest was saved."),
		tokens:   desc("token_cache_total", "Access tokens, by how they were recognised.", "result"),
		ready:    desc("ready", "1 when the store takes writes, else 0."),
	}
}

// Describe implements prometheus.Collector.
func (s sources) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.sessions, s.streams, s.touches, s.written, s.tokens, s.ready} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s sources) Collect(to chan<- prometheus.Metric) {
	emit := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	live := s.Live()
	emit(s.sessions, prometheus.GaugeValue, float64(live.Sessions))
	emit(s.streams, prometheus.GaugeValue, float64(live.Streams))
	emit(s.touches, prometheus.CounterValue, float64(live.Touches))
	emit(s.written, prometheus.CounterValue, float64(live.Written))
	busy, cached, read := s.Tokens()
	emit(s.tokens, prometheus.CounterValue, float64(busy), "busy")
	emit(s.tokens, prometheus.CounterValue, float64(cached), "hit")
	emit(s.tokens, prometheus.CounterValue, float64(read), "miss")
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWait)
	defer cancel()
	ready := 0.0
	if s.Ready(ctx) == nil {
		ready = 1
	}
	emit(s.ready, prometheus.GaugeValue, ready)
}
