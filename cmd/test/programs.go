package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// A program that tests start, and Debian's packages that bring it.
type program struct {
	name     string
	hidden   string // a pattern of where it is when it is not in PATH
	packages []string
}

// Playwright's own download of Chromium is no part of a distribution that
// anybody keeps up to date. Of MariaDB the packages without a service are
// enough, and redis-tools has Redis' server under the name of another tool. PostgreSQL and nginx have none such: where their packages start a server,
// that one listens on the usual port, which no test uses.
var programs = []program{
	{"chromium", "", []string{"chromium", "fonts-noto-core"}},
	{"postgres", "/usr/lib/postgresql/*/bin/postgres", []string{"postgresql"}},
	{"mariadbd", "/usr/sbin/mariadbd", []string{"mariadb-server-core"}},
	{"my_print_defaults", "", []string{"mariadb-client-core"}}, // for mariadb-install-db
	{"nginx", "/usr/sbin/nginx", []string{"nginx-light"}},
	{"redis-check-rdb", "", []string{"redis-tools"}},
}

func (p program) isThere() bool {
	if _, err := exec.LookPath(p.name); err == nil {
		return true
	}
	found, err := filepath.Glob(p.hidden)
	return err == nil && len(found) > 0
}

// missing lists the packages of programs that are not there.
func missing(all []program) (packages []string) {
	for _, p := range all {
		if !p.isThere() {
			packages = append(packages, p.packages...)
		}
	}
	return packages
}

// havePrograms installs what is missing. From here on no test may skip itself
// for want of it.
func havePrograms(ctx context.Context) error {
	if err := os.Setenv("SIDEGATE_SKIP_NOTHING", "1"); err != nil {
		return err
	}
	packages := missing(programs)
	if len(packages) == 0 {
		return nil
	}
	for _, args := range [][]string{
		{"apt-get", "update", "-qq"},
		append([]string{"apt-get", "install", "-y", "-qq", "--no-install-recommends"}, packages...),
	} {
		if os.Getuid() != 0 {
			args = append([]string{"sudo", "-n"}, args...)
		}
		if err := command(args[0], args[1:]...)(ctx); err != nil {
			return fmt.Errorf("installing %v, which tests start: %w", packages, err)
		}
	}
	return nil
}
