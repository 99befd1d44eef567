package sender

import (
	"slices"
	"sync"
	"time"
)

const (
	failuresToDown = 3                // consecutive
	downFor        = 30 * time.Second // until one message may try the sender again
)

// health remembers which party works: a circuit breaker for each.
type health struct {
	now func() time.Time

	mu     sync.Mutex
	states []state
}

type state struct {
	failures  int
	downUntil time.Time
	probing   bool // one message is trying whether it works again
}

func (s *state) down() bool { return s.failures >= failuresToDown }

// none is the probe of a message that takes none.
const none = -1

// admit says whether a new message has a chance with the senders of its route.
// When every one is down but the time of one has passed, that message is its
// probe: no other is admitted until the probe has ended.
func (h *health) admit(route []int) (probe int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range route {
		if !h.states[i].down() {
			return none, true
		}
	}
	for _, i := range route {
		if h.try(i) {
			return i, true
		}
	}
	return none, false
}

// begin says whether a message may try sender i now, and whether that is the
// sender's probe. reserved are those whose probe the message holds already.
func (h *health) begin(i int, reserved []int) (ok, probing bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Contains(reserved, i) {
		return true, true
	}
	if !h.states[i].down() {
		return true, false
	}
	probing = h.try(i)
	return probing, probing
}

// try takes the one probe of a sender that is down. The caller holds the lock.
func (h *health) try(i int) bool {
	s := &h.states[i]
	if s.probing || h.now().Before(s.downUntil) {
		return false
	}
	s.probing = true
	return true
}

// release gives probes back that proved nothing.
func (h *health) release(probes ...int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range probes {
		h.states[i].probing = false
	}
}

// end notes how an attempt went, and reports whether the sender has come up or
// gone down by it. Attempts that began before a sender went down may end during
// its probe: they neither end the probe nor lengthen the wait.
func (h *health) end(i int, worked, probing bool) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &h.states[i]
	before := s.down()
	if probing {
		s.probing = false
	}
	if worked {
		s.failures = 0
		return before
	}
	s.failures++
	if s.down() && (!before || probing) {
		s.downUntil = h.now().Add(downFor)
	}
	return s.down() != before
}
