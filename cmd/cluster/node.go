//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// node is a Caddy in a process of its own.
type node struct {
	name, address, file, home string
	binary                    string
	ready                     string // a path that answers 200 when the node is
	process                   *exec.Cmd
	client                    *http.Client
}

const (
	masterKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	testCode  = "424242"
	people    = 2000 // who can sign in, with a fixed code each
	// ipSends is the limit that the nodes must keep together.
	ipSends = 60
	// perUser is how many sessions a person can have, on all nodes.
	perUser = 10
)

func phone(i int) string { return fmt.Sprintf("+1555555%04d", i%people) }

// startNode runs a Caddy on the Cluster at some of its addresses.
func (h *house) startNode(ctx context.Context, name string, seeds []string) (*node, error) {
	n, err := h.newNode(name)
	if err != nil {
		return nil, err
	}
	return n, n.run(ctx, n.caddyfile(seeds, h.plan.upstream, generous()))
}

func (h *house) newNode(name string) (*node, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &node{
		name: name, ready: "/api/v1/auth/health", address: l.Addr().String(), binary: h.plan.binary,
		file: filepath.Join(h.dir, "Caddyfile."+name), home: filepath.Join(h.dir, "home."+name),
		client: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	return n, l.Close()
}

func (n *node) run(ctx context.Context, caddyfile string) error {
	if err := os.WriteFile(n.file, []byte(caddyfile), 0o600); err != nil {
		return err
	}
	return n.start(ctx)
}

// start runs the process and waits until it is in health.
func (n *node) start(ctx context.Context) error {
	n.process = exec.Command(n.binary, "run", "--adapter", "caddyfile", "--config", n.file)
	n.process.Env = append(os.Environ(), "HOME="+n.home, "XDG_DATA_HOME="+n.home, "XDG_CONFIG_HOME="+n.home)
	n.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.process.Start(); err != nil {
		return err
	}
	for until := time.Now().Add(time.Minute); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if status, _, err := n.do(ctx, "GET", n.ready, "", nil, nil); err == nil && status == http.StatusOK {
			return nil
		}
	}
	log, _ := os.ReadFile(n.file + ".log")
	return errors.Join(fmt.Errorf("node %s did not start: %s", n.name, log[max(0, len(log)-2000):]), ctx.Err())
}

// kill ends the process at once, without a last word.
func (n *node) kill() {
	if n.process == nil || n.process.Process == nil {
		return // it never began
	}
	_ = n.process.Process.Kill()
	_ = n.process.Wait()
}

// generous are rules under which people with a fixed code each may do what they
// like, but for the limits that are tried.
func generous() string {
	var numbers strings.Builder
	until := time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	for i := range people {
		fmt.Fprintf(&numbers, "\t\t\ttest_number %s %s until %s\n", phone(i), testCode, until)
	}
	return fmt.Sprintf(`		sender exec true
		otp {
			allow_countries *
%s		}
		limits {
			ip_sends       %d/1h
			phone_sends    off
			phone_failures off
			prefix_sends   off
			global_sends   off
		}
		sessions {
			max_per_user %d
		}
`, &numbers, ipSends, perUser)
}

// everyday are the rules that hold by default, with codes that go to a file. In
// a town of a thousand, more than a thousand codes an hour are needed.
func everyday(file string) string {
	return fmt.Sprintf(`		sender file %s
		otp {
			allow_countries *
		}
		limits {
			global_sends 100000/1h
		}
`, file)
}

func (n *node) caddyfile(seeds []string, upstream, rules string) string {
	return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	log {
		output file %s.log
	}
	servers {
		trusted_proxies static 127.0.0.1
	}
	sidegate {
		master_key %s
		store redis {
			address  %s
			replicas 1
		}
		tokens {
			access_ttl 1h
		}
%s	}
}
http://%s {
	bind 127.0.0.1
	sidegate
	reverse_proxy %s
}
`, n.file, masterKey, strings.Join(seeds, " "), rules, n.address, upstream)
}
