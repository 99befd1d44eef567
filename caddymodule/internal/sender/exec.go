package sender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Exec runs a command for each message, without a shell, with the message as
// JSON on its standard input. Exit status 0 means delivered, 65 (EX_DATAERR)
// that this one message is refused, any other that the sender failed.
type Exec struct {
	command string
	args    []string
	timeout time.Duration
}

const (
	maxStderr    = 4 << 10     // kept of what a command complains
	maxComplaint = 300         // of it in an error
	pipeDelay    = time.Second // for what a child of the command keeps open
	exitRefused  = 65          // EX_DATAERR of sysexits.h
)

// passedOn is the environment that the command gets: the server's own often
// holds secrets that are none of its business.
var passedOn = []string{"PATH", "HOME", "LANG", "TZ", "TMPDIR", "SYSTEMROOT"}

// NewExec finds the command. A timeout of 0 is the queue's.
func NewExec(command string, args []string, timeout time.Duration) (*Exec, error) {
	path, err := exec.LookPath(command)
	if err != nil {
		return nil, fmt.Errorf("sender exec: %w", err)
	}
	return &Exec{path, args, timeout}, nil
}

// Name returns the kind and the command, without its arguments, which may hold
// secrets.
func (e *Exec) Name() string { return "exec " + filepath.Base(e.command) }

// Limit returns the time one attempt may take.
func (e *Exec) Limit() time.Duration { return e.timeout }

// Send runs the command. When the context ends first, the command is killed
// with all its children.
func (e *Exec) Send(ctx context.Context, m auth.Message) error {
	input, err := encode(m)
	if err != nil {
		return fmt.Errorf("encoding the message: %w", err)
	}
	complaint := &head{max: maxStderr}
	command := exec.CommandContext(ctx, e.command, e.args...)
	command.Stdin = bytes.NewReader(input)
	command.Stderr = complaint
	command.Env = environment()
	command.WaitDelay = pipeDelay
	killGroup(command)
	err = command.Run()
	switch {
	case ctx.Err() != nil && err != nil:
		return fmt.Errorf("the command did not end in time: %w", ctx.Err())
	case err == nil || errors.Is(err, exec.ErrWaitDelay): // it left a child behind, but ended well
		return nil
	}
	if text := discreet(complaint.kept.String(), m); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitRefused {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

func environment() []string {
	env := []string{}
	for _, name := range passedOn {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// head keeps the beginning of what is written to it. The buffer is not embedded:
// io.Copy would find its ReadFrom, which knows no limit.
type head struct {
	kept bytes.Buffer
	max  int
}

// Write takes everything and keeps what there is room for, so that the command
// never waits for a reader.
func (h *head) Write(p []byte) (int, error) {
	h.kept.Write(p[:min(len(p), max(0, h.max-h.kept.Len()))])
	return len(p), nil
}

// digitRuns finds digits, also when they are spelled with separators.
var digitRuns = regexp.MustCompile(`[0-9](?:[^0-9A-Za-z]{0,3}[0-9])*`)

// discreet makes of a command's complaint what may be logged: one line, short,
// without the code and the number, however they are spaced.
func discreet(text string, m auth.Message) string {
	text = digitRuns.ReplaceAllStringFunc(text, func(run string) string {
		if tells(run, m) {
			return "…"
		}
		return run
	})
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, " "))
	if runes := []rune(strings.TrimSpace(text)); len(runes) > maxComplaint {
		return string(runes[:maxComplaint]) + "…"
	}
	return strings.TrimSpace(text)
}

// tells reports whether the code or the number stands in a text, however its
// digits are spaced.
func tells(text string, m auth.Message) bool {
	number := m.To[max(0, len(m.To)-7):] // without what people leave out: +, the country, a zero
	return slices.ContainsFunc(digitRuns.FindAllString(text, -1), func(run string) bool {
		digits := onlyDigits(run)
		return holds(digits, m.Code) || holds(digits, number)
	})
}

func holds(text, secret string) bool { return secret != "" && strings.Contains(text, secret) }

func onlyDigits(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text)
}
