package caddymodule_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule"
)

// childConfig names a JSON configuration; with it the test binary is a Caddy
// that runs until it is killed or told to stop, for tests that need a process
// of its own.
const childConfig = "SIDEGATE_TEST_CHILD"

// runChild obeys one order, stop, which ends Caddy as `caddy stop` would. It
// does not outlive its parent.
func runChild(file string) {
	if text := os.Getenv(childHeadStart); text != "" {
		head, err := time.ParseDuration(text)
		if err != nil {
			panic(err)
		}
		caddymodule.SetHeadStart(head)
	}
	config, err := os.ReadFile(file)
	if err == nil {
		err = caddy.Load(config, true)
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	order, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if order != "stop\n" {
		os.Exit(1)
	}
	if err := caddy.Stop(); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child is a Caddy in a process of its own.
type child struct {
	cmd    *exec.Cmd
	orders io.WriteCloser
	lines  *bufio.Reader
}

// spawn runs a Caddyfile in a new process.
func spawn(t testing.TB, caddyfile string) *child {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, adapt(t, caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childConfig+"="+file)
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.orders, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	c.lines = bufio.NewReader(out)
	return c
}

// ready waits until the process serves. The error is what it said instead.
func (c *child) ready() error {
	line, err := c.lines.ReadString('\n')
	if line == "ready\n" {
		return nil
	}
	c.kill()
	return fmt.Errorf("%s (%w)", strings.TrimSpace(strings.TrimPrefix(line, "error: ")), err)
}

// startChild is a spawned Caddy that serves.
func startChild(t testing.TB, caddyfile string) *child {
	t.Helper()
	c := spawn(t, caddyfile)
	if err := c.ready(); err != nil {
		t.Fatalf("starting: %v", err)
	}
	return c
}

// kill ends the process as a power switch would: SIGKILL, no goodbye.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// stop lets the process end in peace.
func (c *child) stop() error {
	_, err := io.WriteString(c.orders, "stop\n")
	said, readErr := io.ReadAll(c.lines)
	if err := errors.Join(err, readErr, c.cmd.Wait()); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}
