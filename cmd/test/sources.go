package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"time"
)

// tracked lists the files git knows, so that node_modules and build results are nobody's business.
func tracked(ctx context.Context, pattern string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--", pattern).Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 }), nil
}

// gofmt is `gofmt -l` with this toolchain's own formatter: Go may be installed without the binary in PATH.
func gofmt(ctx context.Context) error {
	files, err := tracked(ctx, "*.go")
	if err != nil {
		return err
	}
	var wrong []error
	for _, file := range files {
		got, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			return err
		}
		want, err := format.Source(got)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s:%w", file, err))
		} else if !bytes.Equal(got, want) {
			wrong = append(wrong, fmt.Errorf("%s is not formatted", file))
		}
	}
	return errors.Join(wrong...)
}

type fuzzTarget struct{ dir, name string }

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)

// fuzzTargets reads the sources. `go test -list` would link every test binary first, Caddy's among them.
func fuzzTargets(ctx context.Context) ([]fuzzTarget, error) {
	files, err := tracked(ctx, "*_test.go")
	if err != nil {
		return nil, err
	}
	var targets []fuzzTarget
	for _, file := range files {
		source, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, match := range fuzzFunc.FindAllSubmatch(source, -1) {
			targets = append(targets, fuzzTarget{path.Dir(file), string(match[1])})
		}
	}
	return targets, nil
}

// fuzzAll gives each target its time: the go command fuzzes one target at once.
func fuzzAll(ctx context.Context, each time.Duration) error {
	targets, err := fuzzTargets(ctx)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return errors.New("no fuzz target found")
	}
	var failed []error
	for _, t := range targets {
		fmt.Printf("--- %s in %s\n", t.name, t.dir)
		run := command("go", "test", "-run=^$", "-fuzz=^"+t.name+"$", "-fuzztime="+each.String(), "./"+t.dir)
		if err := run(ctx); err != nil {
			failed = append(failed, fmt.Errorf("%s in %s: %w", t.name, t.dir, err))
		}
	}
	return errors.Join(failed...)
}
