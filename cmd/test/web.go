package main

import (
	"context"
	"os"
	"path/filepath"
)

const webDir = "caddymodule/web"

// webSteps test the browser's side. The clone brings no node_modules: they are
// fetched here. One Caddy, built into scratch, serves all tests.
func webSteps(scratch string) []step {
	binary := filepath.Join(scratch, "sidegate")
	return []step{
		{"npm ci", npm("ci", "--no-audit", "--no-fund")},
		{"client", npm("test")},
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
