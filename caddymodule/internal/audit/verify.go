package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// maxLine is far more than any line of ours has.
const maxLine = 1 << 20

// Report is what Verify found.
type Report struct {
	Lines  int      // of the audit; others are passed over
	Chains int      // one for each process
	Heads  []Head   // the last line of each chain, in the order they began
	Faults []string // what is wrong, and where; none: all lines are whole and in order
}

// Verify reads a log, oldest line first: JSON lines in which the audit's stand
// as the member "audit". A log that was rotated is read as one, its files one
// after the other. want is a head that must be there, or nil when none is known:
// then lines may be missing at the end.
func Verify(log io.Reader, want *Head) (Report, error) {
	return Read(log, want, func(Entry, string) {})
}

// Read is Verify, and gives visit each line of the audit with its hash. What
// visit saw is worth something only when the report then has no faults.
func Read(log io.Reader, want *Head, visit func(line Entry, hash string)) (Report, error) {
	v := verifier{open: map[string]int{}, hashes: map[string]bool{"": true}, visit: visit}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		v.line(n, lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		return v.Report, fmt.Errorf("reading the audit: %w", err)
	}
	v.end(want)
	return v.Report, nil
}

type verifier struct {
	Report
	open   map[string]int  // the place of a chain in Heads
	hashes map[string]bool // of all lines so far
	visit  func(Entry, string)
}

func (v *verifier) fault(format string, args ...any) {
	v.Faults = append(v.Faults, fmt.Sprintf(format, args...))
}

// line judges one line of the log. A line that is cut off or was altered may be
// no JSON any more: it is taken for ours when it speaks of an audit.
func (v *verifier) line(n int, text []byte) {
	var outer struct {
		Audit json.RawMessage `json:"audit"`
		Hash  string          `json:"hash"`
	}
	if !bytes.Contains(text, []byte(`"audit"`)) {
		return
	}
	var entry Entry
	if json.Unmarshal(text, &outer) != nil || json.Unmarshal(outer.Audit, &entry) != nil || entry.N == 0 {
		v.fault("line %d: not whole", n)
		return
	}
	v.Lines++
	if hash := hashOf(outer.Audit); hash != outer.Hash {
		v.fault("line %d: altered", n)
	}
	v.hashes[outer.Hash] = true
	v.visit(entry, outer.Hash)
	place, known := v.open[entry.Chain]
	if !known {
		v.begin(n, entry)
		place = v.open[entry.Chain]
	}
	head := &v.Heads[place]
	switch {
	case !known: // begin has judged it
	case entry.N != head.N+1:
		v.fault("line %d: line %d of chain %s is followed by %d", n, head.N, entry.Chain, entry.N)
	case entry.Prev != head.Hash:
		v.fault("line %d: does not follow the line before it", n)
	}
	*head = Head{Chain: entry.Chain, N: entry.N, Hash: outer.Hash}
}

// begin opens a chain. Its first line names a line that must be there, unless
// that one is older than the log.
func (v *verifier) begin(n int, entry Entry) {
	v.open[entry.Chain] = len(v.Heads)
	v.Heads = append(v.Heads, Head{Chain: entry.Chain})
	v.Chains++
	switch {
	case entry.N != 1 && v.Lines > 1:
		v.fault("line %d: chain %s begins with line %d", n, entry.Chain, entry.N)
	case entry.N == 1 && len(v.Heads) > 1 && !v.hashes[entry.Prev]:
		v.fault("line %d: the line that ended the chain before %s is missing", n, entry.Chain)
	}
}

func (v *verifier) end(want *Head) {
	if want != nil && !v.hashes[want.Hash] {
		v.fault("the end is missing: line %d of chain %s is not there", want.N, want.Chain)
	}
}
