package sender_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func TestFileAppendsWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "codes")
	f, err := sender.NewFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	const n = 50
	for range n {
		all.Go(func() {
			if err := f.Send(t.Context(), message()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
	text, _ := os.ReadFile(path)
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for _, line := range lines {
		var m auth.Message
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.Code != code || m.To != number {
			t.Errorf("line %q: %v", line, err)
		}
	}
	if len(lines) != n || f.Name() != "file" {
		t.Errorf("%d lines, want %d", len(lines), n)
	}
}

func TestFileFails(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"", dir} {
		if _, err := sender.NewFile(path); err == nil {
			t.Errorf("%q is taken", path)
		}
	}
	f, err := sender.NewFile(filepath.Join(dir, "missing", "codes"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Send(t.Context(), message()); err == nil {
		t.Error("a missing folder gives no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Send(ctx, message()); err == nil {
		t.Error("an ended context gives no error")
	}
}

func TestLogWritesTheCodeAfterAWarning(t *testing.T) {
	var out bytes.Buffer
	l := sender.NewLog(slog.New(slog.NewJSONHandler(&out, nil)))
	if !strings.Contains(out.String(), `"level":"WARN"`) {
		t.Errorf("no warning at start: %s", out.String())
	}
	if err := l.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"level":"INFO"`, `"code":"` + code + `"`, `"to":"` + number + `"`, `"id":"c1.1"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
}

func TestLogTellsANoticeFromACode(t *testing.T) {
	var out bytes.Buffer
	l := sender.NewLog(slog.New(slog.NewJSONHandler(&out, nil)))
	m := message()
	m.Code = ""
	if err := l.Send(t.Context(), m); err != nil || !strings.Contains(out.String(), `"msg":"notice to send"`) {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestLogThatHidesTheCodeIsAFailure(t *testing.T) {
	l := sender.NewLog(slog.New(slog.NewJSONHandler(&bytes.Buffer{}, &slog.HandlerOptions{Level: slog.LevelError})))
	err := l.Send(t.Context(), message())
	if err == nil || l.Name() != "log" {
		t.Error("no error")
	}
	discreet(t, err)
}
