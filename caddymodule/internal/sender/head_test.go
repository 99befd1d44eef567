package sender

import (
	"io"
	"strings"
	"testing"
)

// Attack: a command that complains without end fills the memory.
func TestHeadKeepsTheBeginningAlone(t *testing.T) {
	h := &head{max: 10}
	// As os/exec hands it over: by io.Copy, which prefers a ReadFrom.
	n, err := io.Copy(h, io.LimitReader(strings.NewReader(strings.Repeat("complaint ", 1000)), 5000))
	if err != nil || n != 5000 || h.kept.String() != "complaint " {
		t.Errorf("took %d bytes and kept %d, %v", n, h.kept.Len(), err)
	}
}
