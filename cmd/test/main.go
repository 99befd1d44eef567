// Command test is how Sidegate is tested: `go run ./cmd/test`. It needs Go, Node and git, and apt where Chromium, nginx,
// PostgreSQL, MariaDB or Redis are missing.
//
//	go run ./cmd/test              # format, vet, staticcheck, every test under the race detector (HTTP/3 without), coverage, the browser's side
//	go run ./cmd/test -fuzz 60s    # and every fuzz target for a minute each
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A step is one thing that must hold. All run, whatever the earlier ones said: one run shows all there is to mend.
type step struct {
	name string
	run  func(context.Context) error
}

func main() {
	fuzz := flag.Duration("fuzz", 0, "fuzz every target for this long; zero skips fuzzing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := testAll(ctx, *fuzz); err != nil {
		fmt.Fprintln(os.Stderr, "\nFAIL:", err)
		os.Exit(1)
	}
	fmt.Println("\nPASS")
}

func testAll(ctx context.Context, fuzz time.Duration) error {
	if err := enterRoot(ctx); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "sidegate-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	profile := filepath.Join(scratch, "coverage.out")

	steps := []step{
		{"programs", havePrograms},
		{"gofmt", gofmt},
		{"go vet", command("go", "vet", "./...")},
		{"staticcheck", command("go", "tool", "staticcheck", "./...")},
		// One call for tests and coverage: linking Caddy a second time would double the wait.
		{"go test -race", command("go", "test", "-race", "-count=1", "-timeout=20m", "-coverprofile="+profile, "./...")},
		// The detector takes the start of Caddy's own tls app for a race with its handshakes.
		{"HTTP/3", command("go", "test", "-count=1", "-run=Stream|HTTP3|Cut", "./caddymodule")},
		{"coverage", func(context.Context) error { return checkCoverage(profile) }},
	}
	steps = append(steps, webSteps(scratch)...)
	if fuzz > 0 {
		steps = append(steps, step{"fuzz", func(ctx context.Context) error { return fuzzAll(ctx, fuzz) }})
	}
	return runSteps(ctx, steps)
}

func runSteps(ctx context.Context, steps []step) error {
	var summary, failed []string
	for _, s := range steps {
		fmt.Printf("=== %s\n", s.name)
		start := time.Now()
		err := s.run(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		word := "ok  "
		if err != nil {
			word, failed = "FAIL", append(failed, s.name)
			fmt.Printf("%s: %v\n", s.name, err)
		}
		line := fmt.Sprintf("%s %-14s %6.1fs", word, s.name, time.Since(start).Seconds())
		fmt.Println(line)
		summary = append(summary, line)
	}
	fmt.Printf("\n%s\n", strings.Join(summary, "\n"))
	if len(failed) > 0 {
		return fmt.Errorf("%s", strings.Join(failed, ", "))
	}
	return nil
}

// enterRoot goes to the module's root, so that the command works from any directory of the clone.
func enterRoot(ctx context.Context) error {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w", err)
	}
	return os.Chdir(filepath.Dir(strings.TrimSpace(string(mod))))
}

// command is a step that passes when the command does; its output goes to the terminal.
func command(name string, args ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return cmd.Run()
	}
}
