//go:build linux

// Command cluster shows what several nodes promise: `go run ./cmd/cluster`.
//
// It starts a Redis Cluster of six servers and three Caddys on it, all on the
// loopback, and sends them people who sign in, browse, refresh and sign out.
// Under that load it measures how soon an end on one node holds on the others,
// also for a WebSocket, and then breaks things, one after the other. It prints
// two tables, and fails when a promise is not kept.
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

	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

type settings struct {
	ends, refreshes, streams, clients int
	only                              string
}

func main() {
	var s settings
	flag.IntVar(&s.ends, "ends", 300, "sessions that are ended on one node and watched on the others")
	flag.IntVar(&s.refreshes, "refreshes", 100, "tokens that all nodes refresh at the same time")
	flag.IntVar(&s.streams, "streams", 60, "WebSockets that end with their session")
	flag.IntVar(&s.clients, "clients", 6, "people who are busy meanwhile")
	flag.StringVar(&s.only, "only", "", "run only what has this in its name")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "sidegate-cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "sidegate")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/sidegate/sidegate/cmd/sidegate")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building Caddy: %w", err)
	}
	upstream, err := startUpstream()
	if err != nil {
		return err
	}
	defer upstream.Close()
	p := &plan{dir: dir, binary: binary, upstream: upstream.Addr().String()}
	failed := 0
	if strings.Contains("news", s.only) {
		bad, err := p.news(ctx, s)
		if err != nil {
			return err
		}
		failed += bad
	}
	if strings.Contains("cost", s.only) {
		bad, err := p.cost(ctx)
		if err != nil {
			return err
		}
		failed += bad
	}
	if strings.Contains("size", s.only) {
		if err := p.size(ctx); err != nil {
			return err
		}
	}
	bad, err := p.faults(ctx, s.only)
	if err != nil {
		return err
	}
	if failed += bad; failed > 0 {
		return fmt.Errorf("%d promises were not kept", failed)
	}
	return nil
}

// plan is what every trial needs: each has a Cluster and nodes of its own.
type plan struct {
	dir, binary, upstream string
	trials                int
}

// all are the nodes of most trials.
var all = []string{"A", "B", "C"}

// setUp starts six Redis servers and some nodes on them. The third one reaches
// Redis over links, which can be cut.
func (p *plan) setUp(ctx context.Context, names []string, args ...string) (*house, error) {
	p.trials++
	dir := filepath.Join(p.dir, fmt.Sprint("trial", p.trials))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// A client comes back to the address that it came to: so a node can have
	// ways of its own.
	args = append([]string{"--appendonly", "yes", "--cluster-preferred-endpoint-type", "unknown-endpoint"}, args...)
	h := &house{plan: p, dir: dir}
	var err error
	if h.redis, err = redistest.StartCluster(dir, args...); err != nil {
		return h, err
	}
	var far []string
	for _, server := range h.redis.Servers {
		address := strings.Replace(server.Address, "127.0.0.1", "127.0.0.2", 1)
		link, err := redistest.NewLink(address, server.Address)
		if err != nil {
			return h, err
		}
		h.links = append(h.links, link)
		far = append(far, address)
	}
	for i, name := range names {
		seeds := h.redis.Addresses()
		if i == 2 {
			seeds = far
		}
		n, err := h.startNode(ctx, name, seeds)
		if n != nil {
			h.nodes = append(h.nodes, n)
		}
		if err != nil {
			return h, err
		}
	}
	return h, nil
}

// house is one Cluster with its nodes.
type house struct {
	plan  *plan
	dir   string
	redis *redistest.Cluster
	links []*redistest.Link
	nodes []*node
	trial *trial
}

func (h *house) tearDown() {
	for _, n := range h.nodes {
		n.kill()
	}
	for _, l := range h.links {
		_ = l.Close()
	}
	if h.redis != nil {
		_ = h.redis.Close()
	}
}
