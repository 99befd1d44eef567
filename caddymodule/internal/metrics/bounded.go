package metrics

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// bounded is a counter that has a label with many values. When it has so many
// series, further values of that label count together.
type bounded struct {
	vec  *prometheus.CounterVec
	free int // the place of that label
	most int // series

	mu   sync.Mutex
	seen map[string]bool
}

func (b *bounded) inc(values ...string) { b.add(1, values...) }

func (b *bounded) add(n float64, values ...string) {
	key := strings.Join(values, "\x00")
	b.mu.Lock()
	if b.seen == nil {
		b.seen = map[string]bool{}
	}
	if !b.seen[key] && len(b.seen) >= b.most {
		values[b.free] = other
	} else {
		b.seen[key] = true
	}
	b.mu.Unlock()
	b.vec.WithLabelValues(values...).Add(n)
}
