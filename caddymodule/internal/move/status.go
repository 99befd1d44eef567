package move

import "time"

// Status is how a move does, for people and for scripts.
type Status struct {
	Phase       Phase        `json:"phase"`
	From        string       `json:"from"`
	To          string       `json:"to"`
	BeganAt     time.Time    `json:"began_at"`
	PhaseAt     time.Time    `json:"phase_at"`     // when the phase began
	Copied      int64        `json:"copied"`       // records
	Checked     int64        `json:"checked"`      // both sides of them
	Expected    int64        `json:"expected"`     // about how many records there are to copy
	Rate        int64        `json:"rate"`         // records a second, in this phase
	SecondsLeft int64        `json:"seconds_left"` // of this phase, about
	Doubts      int          `json:"doubts"`       // records that a fault has left in doubt
	Differences []Difference `json:"differences"`
	Error       string       `json:"error,omitempty"`
}

// Status tells how the move does.
func (v *Move) Status() Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := Status{
		Phase: v.phase, From: v.opt.From, To: v.opt.To, BeganAt: v.began, PhaseAt: v.since,
		Copied: v.copied.Load(), Checked: v.checked.Load(), Expected: v.expected.Load(),
		Doubts: v.pair.doubts.count(), Differences: append([]Difference{}, v.differences.list()...),
	}
	s.Expected = max(s.Expected, s.Copied)
	if v.why != nil {
		s.Error = v.why.Error()
	}
	done, all := s.Copied, s.Expected
	if v.phase == Checking {
		done, all = s.Checked, 2*s.Copied
	}
	if took := v.opt.Now().Sub(v.since); took > 0 && (v.phase == Copying || v.phase == Checking) {
		s.Rate = int64(float64(done) / took.Seconds())
	}
	switch {
	case s.Rate > 0:
		s.SecondsLeft = max(0, all-done) / s.Rate
	case v.phase == Waiting:
		s.SecondsLeft = int64(max(0, v.began.Add(v.opt.Hold).Sub(v.opt.Now())).Seconds())
	}
	return s
}

// Phase is how far the move has come.
func (v *Move) Phase() Phase {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.phase
}

func (v *Move) enter(p Phase) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.phase, v.since = p, v.opt.Now()
}
