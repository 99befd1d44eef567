package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Operation is a method of a store.
type Operation int

// The operations of auth.Store, auth.Lister and auth.Eraser.
const (
	Get Operation = iota
	Swap
	Put
	Sync
	List
	Erase
)

var operationNames = [...]string{"get", "swap", "put", "sync", "list", "erase"}

func (o Operation) String() string { return operationNames[o] }

// operation is found once, so that a call of the store looks nothing up.
type operation struct {
	took   prometheus.Observer
	failed prometheus.Counter
}

func (m *Set) makeStore() {
	m.storeTime = m.histogram("store_duration_seconds", "How long calls of the store took.",
		[]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}, "operation")
	m.storeErrors = m.counter("store_errors_total", "Calls of the store that it could not answer.", "operation")
	m.conflicts = m.counter("store_conflicts_total", "Writes that came too late, and were decided anew.").WithLabelValues()
	for i, name := range operationNames {
		m.operations[i] = operation{m.storeTime.WithLabelValues(name), m.storeErrors.WithLabelValues(name)}
	}
}

// StoreCall counts a call of the store.
func (m *Set) StoreCall(o Operation, took time.Duration, err error) {
	m.operations[o].took.Observe(took.Seconds())
	switch {
	case err == nil:
	case errors.Is(err, auth.ErrConflict):
		m.conflicts.Inc()
	default:
		m.operations[o].failed.Inc()
	}
}
