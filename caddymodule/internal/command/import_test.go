package command

import (
	"strings"
	"testing"
	"time"
)

func TestProgressText(t *testing.T) {
	p := &progress{file: strings.NewReader(strings.Repeat("x", 400)), size: 400, end: func() {}}
	if got := p.text(time.Second); !strings.HasPrefix(got, "["+strings.Repeat(" ", 40)+"]   0 %, ? left") {
		t.Errorf("at the beginning: %q", got)
	}
	if _, err := p.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if got := p.text(10 * time.Second); !strings.HasPrefix(got, "["+strings.Repeat("#", 10)+strings.Repeat(" ", 30)+"]  25 %, 30s left") {
		t.Errorf("after a quarter: %q", got)
	}
	if _, err := p.Read(make([]byte, 300)); err != nil {
		t.Fatal(err)
	}
	if got := p.text(time.Minute); !strings.HasPrefix(got, "["+strings.Repeat("#", 40)+"] 100 %, 0s left") {
		t.Errorf("at the end: %q", got)
	}
}

// What goes to a file or a pipe is for scripts: no bar is in it.
func TestNoProgressForScripts(t *testing.T) {
	var out strings.Builder
	p := startProgress(&out, strings.NewReader("x"), 1)
	p.stop()
	if out.Len() != 0 {
		t.Errorf("wrote %q", out.String())
	}
}
