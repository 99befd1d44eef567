package command

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

// formats are how a file of users is written, and what they are called on the
// way.
var formats = map[string]string{"ndjson": "application/x-ndjson", "csv": "text/csv"}

// importLine is a line of the answer: a conflict, or the end.
type importLine struct {
	Line   int    `json:"line"`
	Code   string `json:"code"`
	Detail string `json:"detail"`

	Done      bool `json:"done"`
	Lines     int  `json:"lines"`
	Created   int  `json:"created"`
	Unchanged int  `json:"unchanged"`
	Conflicts int  `json:"conflicts"`
}

// errConflicts makes the exit code that of a refusal.
var errConflicts = errors.New("some lines are in conflict; see above")

func importUsers(cmd *cobra.Command, args []string) error {
	media, err := formatOf(flag(cmd, "format"), args[0])
	if err != nil {
		return err
	}
	file, err := os.Open(args[0])
	if err != nil {
		return usageError{err}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return usageError{err}
	}
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	path, dry := "users/import", false
	if dry, _ = cmd.Flags().GetBool("dry-run"); dry {
		path += "?dry_run=true"
	}
	bar := startProgress(cmd.ErrOrStderr(), file, info.Size())
	defer bar.stop()
	answer, err := c.stream(cmd.Context(), http.MethodPost, path, media, io.NopCloser(bar))
	if err != nil {
		return err
	}
	defer answer.Close()
	return showImport(cmd, answer, bar, dry)
}

func formatOf(name, file string) (string, error) {
	if name == "" {
		name = map[string]string{".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}[filepath.Ext(file)]
	}
	media, known := formats[name]
	if !known {
		return "", usage("say what the file is: --format ndjson or --format csv")
	}
	return media, nil
}

// showImport prints the conflicts as they come. An answer without its end is of
// an import that was cut off.
func showImport(cmd *cobra.Command, answer io.Reader, bar *progress, dry bool) error {
	raw, _ := cmd.Flags().GetBool("json")
	lines := bufio.NewScanner(answer)
	for lines.Scan() {
		var l importLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		if l.Done {
			bar.stop()
		}
		if err := l.print(cmd, raw, dry, lines.Bytes()); err != nil {
			return err
		}
		if l.Done && l.Conflicts > 0 {
			return errConflicts
		}
		if l.Done {
			return nil
		}
	}
	return fmt.Errorf("the import was cut off: %w; the same command goes on", errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}

func (l *importLine) print(cmd *cobra.Command, raw, dry bool, text []byte) error {
	if raw {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
		return err
	}
	if !l.Done {
		return done(fmt.Sprintf("line %d: %s (%s)", l.Line, l.Detail, l.Code)).print(cmd)
	}
	what := "new"
	if dry {
		what = "would be new"
	}
	return done(fmt.Sprintf("%d lines: %d users %s, %d as they were, %d conflicts.", l.Lines, l.Created, what, l.Unchanged, l.Conflicts)).print(cmd)
}

// progress shows how much of a file is on its way, where people look.
type progress struct {
	file io.Reader
	size int64
	read atomic.Int64
	end  func()
}

const progressEvery = 200 * time.Millisecond

func startProgress(w io.Writer, file io.Reader, size int64) *progress {
	p := &progress{file: file, size: size, end: func() {}}
	if !isTerminal(w) || size == 0 {
		return p
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		begun, tick := time.Now(), time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprint(w, "\r"+p.text(time.Since(begun)))
			case <-stop:
				fmt.Fprint(w, "\r\x1b[K") // the line is for what comes next
				return
			}
		}
	}()
	p.end = func() { close(stop); <-ended }
	return p
}

// Read implements io.Reader.
func (p *progress) Read(b []byte) (int, error) {
	n, err := p.file.Read(b)
	p.read.Add(int64(n))
	return n, err
}

func (p *progress) stop() {
	p.end()
	p.end = func() {}
}

func (p *progress) text(passed time.Duration) string {
	const width = 40
	part := float64(p.read.Load()) / float64(p.size)
	bar := make([]byte, width)
	for i := range bar {
		if bar[i] = ' '; float64(i) < part*width {
			bar[i] = '#'
		}
	}
	left := "?"
	if part > 0 {
		left = time.Duration(float64(passed) * (1 - part) / part).Round(time.Second).String()
	}
	return fmt.Sprintf("[%s] %3.0f %%, %s left \x1b[K", bar, 100*part, left)
}

func exportUsers(cmd *cobra.Command, args []string) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	if len(args) == 1 { // all that is held on one person
		answer, err := about(cmd, args[0], http.MethodGet, "/export", nil)
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(answer)
		return err
	}
	answer, err := c.stream(cmd.Context(), http.MethodGet, "users/export", "", nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	if _, err := io.Copy(cmd.OutOrStdout(), answer); err != nil {
		return fmt.Errorf("the export is not whole: %w", err)
	}
	return nil
}
