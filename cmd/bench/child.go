//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// child is a server in a process of its own.
type child struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Scanner
	address string
}

// start runs this program in a role and waits until it is ready.
func start(dir, role string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), childRole+"="+role, "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, stdin: stdin, stdout: bufio.NewScanner(stdout)}
	if !c.stdout.Scan() || !strings.HasPrefix(c.stdout.Text(), "ready") {
		c.stop()
		return nil, fmt.Errorf("the %s did not start", role)
	}
	c.address = strings.TrimSpace(strings.TrimPrefix(c.stdout.Text(), "ready"))
	return c, nil
}

// startSite runs Caddy with a configuration, on an address and a store of its
// own, with so many live sessions.
func startSite(dir string, s site, sessions int) (*child, error) {
	own, err := os.MkdirTemp(dir, "site-")
	if err != nil {
		return nil, err
	}
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.store == "" {
		s.store = filepath.Join(own, "store")
	}
	file := filepath.Join(own, "Caddyfile")
	if err := os.WriteFile(file, []byte(s.caddyfile()), 0o600); err != nil {
		return nil, err
	}
	c, err := start(own, "caddy", file, strconv.Itoa(sessions))
	if err != nil {
		return nil, err
	}
	c.address = s.address
	return c, nil
}

func (c *child) ask(question string) (string, error) {
	if _, err := io.WriteString(c.stdin, question+"\n"); err != nil || !c.stdout.Scan() {
		return "", errors.New("the server has gone")
	}
	return c.stdout.Text(), nil
}

func (c *child) processorTime() (time.Duration, error) {
	text, err := c.ask(askTime)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return time.Duration(n), err
}

func (c *child) memory() (m memory, err error) {
	text, err := c.ask(askMemory)
	if err == nil {
		_, err = fmt.Sscan(text, &m.Heap, &m.Stacks, &m.Resident, &m.Peak, &m.Mapped)
	}
	return m, err
}

func (c *child) stop() {
	_ = c.stdin.Close() // it ends when its input does
	_ = c.cmd.Wait()
}

const (
	askTime   = "time"
	askMemory = "memory"
)

// memory is what a process holds, in bytes.
type memory struct {
	Heap, Stacks int64 // in use after a collection
	Resident     int64 // of its own; 0 where there is no /proc
	Peak         int64 // of Resident, since it was last asked for
	Mapped       int64 // pages of files, which the kernel takes back when it needs them
}

func memoryInUse() (m memory) {
	for range 5 { // what pools keep goes at the second collection, and stacks halve at each
		debug.FreeOSMemory()
	}
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.Heap, m.Stacks = int64(s.HeapAlloc), int64(s.StackInuse)
	m.Resident, m.Mapped = resident()
	m.Peak = max(peak.Swap(0), m.Resident)
	return m
}

func resident() (own, mapped int64) {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "RssAnon: %d kB", &own)
		_, _ = fmt.Sscanf(line, "RssFile: %d kB", &mapped)
	}
	return own << 10, mapped << 10
}

// peak is the most that was resident since somebody asked.
var peak atomic.Int64

func watchPeak() {
	for range time.Tick(100 * time.Millisecond) {
		own, _ := resident()
		peak.Store(max(peak.Load(), own))
	}
}

// processorTime is what this process has used, in user and system mode.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // there is nothing to measure without it
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
