package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const webDir = "caddymodule/web"

// webSteps test the browser's side. The clone brings no node_modules and the
// machine may lack a browser: both are fetched here. One Caddy, built into
// scratch, serves all tests.
func webSteps(scratch string) []step {
	binary := filepath.Join(scratch, "sidegate")
	return []step{
		{"npm ci", npm("ci", "--no-audit", "--no-fund")},
		{"client", npm("test")},
		{"chromium", haveChromium},
		{"go build", func(ctx context.Context) error {
			// The tests of the browser find it by this name.
			if err := os.Setenv("SIDEGATE_BINARY", binary); err != nil {
				return err
			}
			return command("go", "build", "-o", binary, "./cmd/sidegate")(ctx)
		}},
		{"browser", npm("run", "test:chromium")},
	}
}

func npm(args ...string) func(context.Context) error {
	return command("npm", append([]string{"--prefix", webDir}, args...)...)
}

// haveChromium installs Debian's Chromium unless there is one. Playwright's own
// download is no part of a distribution that anybody keeps up to date.
func haveChromium(ctx context.Context) error {
	if _, err := exec.LookPath("chromium"); err == nil {
		return nil
	}
	for _, args := range [][]string{
		{"apt-get", "update", "-qq"},
		{"apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-noto-core"},
	} {
		if os.Getuid() != 0 {
			args = append([]string{"sudo", "-n"}, args...)
		}
		if err := command(args[0], args[1:]...)(ctx); err != nil {
			return fmt.Errorf("installing chromium, which the browser tests need: %w", err)
		}
	}
	return nil
}
