// Command build compiles the Caddy that an xcaddy.toml describes, through xcaddy's own Builder.
//
//	go run ./cmd/build                 # writes ./caddy
//	go run ./cmd/build -output /tmp/c  # writes somewhere else
//	go run ./cmd/build -print          # shows the equal xcaddy command and builds nothing
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("build", flag.ExitOnError)
	config := flags.String("config", "xcaddy.toml", "the build's description, xcaddy's Builder in TOML")
	output := flags.String("output", "./caddy", "where the binary goes")
	show := flags.Bool("print", false, "print the equal xcaddy command and build nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; everything is a flag", flags.Arg(0))
	}
	b, err := load(*config)
	if err != nil {
		return err
	}
	if *show {
		_, err := fmt.Fprintln(out, b.command(*output))
		return err
	}
	if err := b.lookNoFurther(ctx); err != nil {
		return err
	}
	return b.builder().Build(ctx, *output)
}

// lookNoFurther lets a clone build whether or not what it replaces is
// published. `go get` asks the proxy also for the versions of a replaced
// module, and Go's default stops at any answer but 404 and 410, or goes on to
// clone the repository. A GOPROXY of the user's own stays.
func (d description) lookNoFurther(ctx context.Context) error {
	if !slices.ContainsFunc(d.Replacements, func(r replacement) bool { return filepath.IsAbs(r.New) }) {
		return nil
	}
	proxy, err := exec.CommandContext(ctx, "go", "env", "GOPROXY").Output()
	if err != nil {
		return fmt.Errorf("go env GOPROXY: %w", err)
	}
	if strings.TrimSpace(string(proxy)) != "https://proxy.golang.org,direct" {
		return nil
	}
	return os.Setenv("GOPROXY", "https://proxy.golang.org|off")
}
