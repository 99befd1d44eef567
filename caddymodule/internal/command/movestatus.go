package command

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// moveStatus is how a move does.
type moveStatus struct {
	Phase       string
	From, To    string
	BeganAt     time.Time `json:"began_at"`
	PhaseAt     time.Time `json:"phase_at"`
	Copied      int64
	Checked     int64
	Expected    int64
	Rate        int64
	SecondsLeft int64 `json:"seconds_left"`
	Doubts      int
	Differences []struct {
		Kind, What string
		Records    int
	}
	Error string
}

// underWay reports whether the copy is still to become one.
func (s *moveStatus) underWay() bool {
	return slices.Contains([]string{"emptying", "copying", "checking", "waiting"}, s.Phase)
}

// progress is one line.
func (s *moveStatus) progress() string {
	if s.Phase == "waiting" {
		return fmt.Sprintf("waiting until the codes sent before are over: about %v", time.Duration(s.SecondsLeft)*time.Second)
	}
	done, all := s.Copied, s.Expected
	if s.Phase == "checking" {
		done, all = s.Checked, 2*s.Copied // both sides of each
	}
	text := fmt.Sprintf("%s: %d of about %d records", s.Phase, done, max(all, done))
	if s.Rate > 0 {
		text += fmt.Sprintf(", %d/s, about %v left", s.Rate, time.Duration(s.SecondsLeft)*time.Second)
	}
	return text
}

// next is what the operator does now.
func (s *moveStatus) next() string {
	switch s.Phase {
	case "in_step":
		if s.Doubts > 0 {
			return "A fault has left records in doubt; they are brought over again. Wait until there are none."
		}
		return "Both stores hold the same, and stay in step. Now reload Caddy with the new configuration: the new store takes over."
	case "moved":
		return "The new store has taken over. The former one is marked, and may be deleted."
	}
	return ""
}

func (s *moveStatus) print(cmd *cobra.Command) error {
	t := table{names: []string{"WHAT", "VALUE"}, note: s.next()}
	row := func(what, value string) { t.rows = append(t.rows, []string{what, value}) }
	row("phase", s.Phase+", since "+when(s.PhaseAt))
	row("from", s.From)
	row("to", s.To)
	row("began", when(s.BeganAt))
	row("records copied", strconv.FormatInt(s.Copied, 10))
	row("records compared", strconv.FormatInt(s.Checked, 10))
	if s.underWay() {
		row("progress", s.progress())
	}
	if s.Doubts > 0 {
		row("records in doubt", strconv.Itoa(s.Doubts))
	}
	for _, d := range s.Differences {
		row("different: "+d.Kind+", "+d.What, strconv.Itoa(d.Records))
	}
	if s.Error != "" {
		row("why", s.Error)
	}
	return t.print(cmd)
}

// statusLine is a line that is written over while somebody looks. Elsewhere only
// what begins anew is written.
type statusLine struct {
	to       io.Writer
	terminal bool
	width    int
}

func startLine(to io.Writer) *statusLine { return &statusLine{to: to, terminal: isTerminal(to)} }

func (l *statusLine) show(text string) {
	if l.terminal {
		fmt.Fprintf(l.to, "\r%-*s", l.width, plain(text))
		l.width = len(text)
	}
}

func (l *statusLine) end() {
	if l.width > 0 {
		fmt.Fprintln(l.to)
	}
}
