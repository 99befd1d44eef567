package metrics

// Why an event did not reach a subscriber.
const (
	DroppedFull  = "full"  // too many were waiting
	DroppedOld   = "old"   // it waited for too long
	DroppedStore = "store" // the store would not keep it
)

func (m *Set) makeSubscribers() {
	m.dropped = m.counter("events_dropped_total", "Events that a subscriber did not get.", "subscriber", "cause")
	m.notices = m.counter("webhook_deliveries_total", "Attempts to post an event to a webhook.", "webhook", "outcome")
	m.waiting = m.gauge("webhook_waiting", "Events that wait for a webhook, as this node last saw it.", "webhook")
}

// Subscriber counts what one of those who hear of events gets and does not get.
type Subscriber struct {
	set  *Set
	name string
}

// Subscriber returns the counters of one. Its name is one of a configuration's.
func (m *Set) Subscriber(name string) Subscriber {
	for _, cause := range []string{DroppedFull, DroppedOld, DroppedStore} {
		m.dropped.WithLabelValues(name, cause)
	}
	return Subscriber{m, name}
}

// Dropped counts events that it will not get.
func (s Subscriber) Dropped(cause string, n int) {
	s.set.dropped.WithLabelValues(s.name, cause).Add(float64(n))
}

// Posted counts an attempt to deliver an event to a webhook.
func (s Subscriber) Posted(outcome string) { s.set.notices.WithLabelValues(s.name, outcome).Inc() }

// Waiting tells how many events wait for a webhook.
func (s Subscriber) Waiting(n int) { s.set.waiting.WithLabelValues(s.name).Set(float64(n)) }

// Gone ends the gauge of a webhook that is no more in the configuration.
func (s Subscriber) Gone() { s.set.waiting.DeleteLabelValues(s.name) }
