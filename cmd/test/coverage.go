package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

const module = "github.com/sidegate/sidegate/"

// covered are the packages where an untested line is a hole: the rules of sessions and the gate.
var covered = []string{module + "caddymodule/auth", module + "caddymodule/internal/gate"}

const wantPercent = 90.0

// coverage counts the statements of one package that its own tests ran.
type coverage struct{ ran, all int }

func (c coverage) percent() float64 {
	if c.all == 0 {
		return 0
	}
	return 100 * float64(c.ran) / float64(c.all)
}

// checkCoverage prints every package of the profile and fails on a covered one below wantPercent.
func checkCoverage(file string) error {
	profile, err := os.Open(file)
	if err != nil {
		return err
	}
	defer profile.Close()
	packages, err := readProfile(profile)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(packages))
	for name := range packages {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Printf("%6.1f %% %s\n", packages[name].percent(), strings.TrimPrefix(name, module))
	}
	return judge(packages)
}

func judge(packages map[string]coverage) error {
	var low []error
	for _, name := range covered {
		if got := packages[name].percent(); got < wantPercent {
			low = append(low, fmt.Errorf("%s is covered to %.1f %%, want %.0f %%", name, got, wantPercent))
		}
	}
	return errors.Join(low...)
}

// readProfile sums a cover profile by package. Its lines read
//
//	module/dir/file.go:startLine.startColumn,endLine.endColumn statements timesRun
func readProfile(r io.Reader) (map[string]coverage, error) {
	packages := map[string]coverage{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "mode:") {
			continue
		}
		colon := strings.LastIndexByte(line, ':')
		if colon < 0 {
			return nil, fmt.Errorf("cover profile: %q", line)
		}
		var span string
		var statements, times int
		if _, err := fmt.Sscan(line[colon+1:], &span, &statements, &times); err != nil {
			return nil, fmt.Errorf("cover profile: %q: %w", line, err)
		}
		name := path.Dir(line[:colon])
		c := packages[name]
		c.all += statements
		if times > 0 {
			c.ran += statements
		}
		packages[name] = c
	}
	return packages, lines.Err()
}
