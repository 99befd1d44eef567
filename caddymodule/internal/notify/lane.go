package notify

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// lane is the record of notices that wait, the oldest first. All that may
// happen to it is a function here, carried out as one compare-and-swap.
type lane struct {
	Notices []Notice `json:"notices"`
	// Holder delivers them until Until, in Unix milliseconds; then another may,
	// since it has crashed.
	Holder string `json:"holder,omitempty"`
	Until  int64  `json:"until,omitempty"`
}

const (
	// laneBytes is a little less than a record may have: about 250 notices, and
	// 24 000 in the lanes of one receiver for those who have signed in.
	laneBytes = 60 << 10
	// keptFor is how long a notice waits for its receiver.
	keptFor = 72 * time.Hour
	// batch is how many notices are delivered under one lease.
	batch = 20
)

// age drops what has waited for too long.
func (l *lane) age(now time.Time) (dropped int) {
	for len(l.Notices) > dropped && now.Sub(l.Notices[dropped].At) >= keptFor {
		dropped++
	}
	l.Notices = l.Notices[dropped:]
	return dropped
}

// lease takes the lane for a holder, unless another has it or nothing waits.
func (l *lane) lease(holder string, now time.Time, last time.Duration) bool {
	if len(l.Notices) == 0 || l.Holder != "" && l.Holder != holder && now.UnixMilli() < l.Until {
		return false
	}
	l.Holder, l.Until = holder, now.Add(last).UnixMilli()
	return true
}

// settle takes out what is done, and gives the lane back. What is done is done,
// also when the lease has run out meanwhile; another holder keeps its own.
func (l *lane) settle(holder string, done map[string]bool) {
	left := l.Notices[:0]
	for _, n := range l.Notices {
		if !done[n.ID] {
			left = append(left, n)
		}
	}
	l.Notices = left
	if l.Holder == holder {
		l.Holder, l.Until = "", 0
	}
}

const recordFormat = 1

// encode gives the record's value: nil, which deletes it, when nothing waits.
// When more waits than fits, the oldest go.
func (l *lane) encode() (value []byte, dropped int, err error) {
	for len(l.Notices) > 0 {
		body, err := json.Marshal(l)
		if err != nil {
			return nil, 0, fmt.Errorf("encoding notices: %w", err)
		}
		over := len(body) - laneBytes
		if over <= 0 {
			return append([]byte{recordFormat}, body...), dropped, nil
		}
		n := min(len(l.Notices), 1+over*len(l.Notices)/len(body))
		l.Notices = l.Notices[n:]
		dropped += n
	}
	return nil, dropped, nil
}

func decode(r auth.Record) (l lane, err error) {
	if r.Version == 0 {
		return l, nil
	}
	if len(r.Value) == 0 || r.Value[0] != recordFormat || json.Unmarshal(r.Value[1:], &l) != nil {
		return l, fmt.Errorf("%w: reading notices: unknown record format", auth.ErrUnavailable)
	}
	return l, nil
}
