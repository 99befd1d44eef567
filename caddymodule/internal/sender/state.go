package sender

import "time"

// Health is how a sender does.
type Health struct {
	Name     string
	Failures int       // in a row
	Down     bool      // no message goes to it
	RetryAt  time.Time // when one tries it again; zero unless it is down
}

// Health tells how each sender does, in their order.
func (q *Queue) Health() []Health {
	q.health.mu.Lock()
	defer q.health.mu.Unlock()
	all := make([]Health, len(q.options.Senders))
	for i, s := range q.options.Senders {
		state := &q.health.states[i]
		all[i] = Health{Name: s.Name(), Failures: state.failures, Down: state.down()}
		if all[i].Down {
			all[i].RetryAt = state.downUntil
		}
	}
	return all
}
