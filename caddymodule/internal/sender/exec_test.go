//go:build unix

package sender_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func script(t *testing.T, text string, args ...string) *sender.Exec {
	t.Helper()
	e, err := sender.NewExec("/bin/sh", append([]string{"-c", text, "sh"}, args...), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestExecGivesTheMessageOnStandardInput(t *testing.T) {
	t.Setenv("SIDEGATE_SECRET", "hunter2") // the server's, none of the command's business
	dir := t.TempDir()
	in, env := filepath.Join(dir, "in"), filepath.Join(dir, "env")
	e := script(t, `cat >"$1"; env >"$2"`, in, env)
	if err := e.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	var m auth.Message
	text, _ := os.ReadFile(in)
	if err := json.Unmarshal(text, &m); err != nil || m.Code != code || m.To != number || m.ID != "c1.1" {
		t.Errorf("standard input %q: %v", text, err)
	}
	if text, _ := os.ReadFile(env); strings.Contains(string(text), "hunter2") || !strings.Contains(string(text), "PATH=") {
		t.Errorf("environment %q", text)
	}
	if e.Name() != "exec sh" || e.Limit() != time.Second {
		t.Errorf("got %q, %v", e.Name(), e.Limit())
	}
}

func TestExecArgumentsAreNoShell(t *testing.T) {
	dir := t.TempDir()
	e, err := sender.NewExec("touch", []string{filepath.Join(dir, "$(id);x")}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "$(id);x")); err != nil {
		t.Error(err)
	}
}

func TestExecFailures(t *testing.T) {
	for _, row := range []struct {
		name, script, want string
		refused            bool
	}{
		{"a status is told", `exit 3`, "exit status 3", false},
		{"a complaint is told", `echo "no route 21211" >&2; exit 1`, "exit status 1: no route 21211", false},
		{"status 65 refuses the message alone", `exit 65`, "exit status 65", true},
		{"a complaint that repeats the message tells no code", `cat >&2; exit 1`, `"channel":"sms"`, false},
		{"a spaced code is found", `echo "bad 048 151, 0-4-8-1-5-1" >&2; exit 1`, "bad …", false},
		{"a national number is found", `echo "bad 070-174 06 05" >&2; exit 1`, "bad …", false},
		{"line breaks and escapes do not reach the log", `printf 'a\n\033[31mb\377' >&2; exit 1`, "exit status 1: a  [31mb", false},
		{"an endless complaint is cut", `yes bad | head -c 1000000 >&2; exit 1`, "bad bad", false},
		{"a signal", `kill -9 $$`, "killed", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := script(t, row.script).Send(t.Context(), message())
			if err == nil || !strings.Contains(err.Error(), row.want) || len(err.Error()) > 500 {
				t.Fatalf("got %v, want %q", err, row.want)
			}
			if errors.Is(err, sender.ErrRefused) != row.refused {
				t.Errorf("refused: %v, want %v", !row.refused, row.refused)
			}
			discreet(t, err)
		})
	}
}

func TestExecKillsTheWholeGroup(t *testing.T) {
	beat := filepath.Join(t.TempDir(), "beat")
	e := script(t, `(while :; do echo x >>"$1"; sleep 0.02; done) & wait`, beat)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := e.Send(ctx, message()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want a deadline", err)
	}
	size := func() int64 {
		info, err := os.Stat(beat)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	// The child is dead when the file no longer grows.
	before := size()
	<-time.After(200 * time.Millisecond)
	if after := size(); after != before {
		t.Error("a child of the command outlives its timeout")
	}
}

func TestExecThatLeavesAChildBehindHasDelivered(t *testing.T) {
	if err := script(t, `sleep 5 & exit 0`).Send(t.Context(), message()); err != nil {
		t.Error(err)
	}
}

func TestNewExecFindsTheCommand(t *testing.T) {
	if _, err := sender.NewExec("no-such-command-here", nil, 0); err == nil {
		t.Error("a missing command is taken")
	}
}
