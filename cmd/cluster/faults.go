//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// fault is something that happens under load. It is over when happen returns.
type fault struct {
	name   string
	happen func(ctx context.Context, h *house) error
	// spares says that the nodes A and B must not notice.
	spares bool
}

var faults = []fault{
	{"a primary is killed, and starts again after 6 s", func(ctx context.Context, h *house) error {
		h.redis.Servers[0].Kill()
		sleep(ctx, 6*time.Second)
		return h.redis.Servers[0].Restart()
	}, false},
	{"a primary pauses for 6 s", func(ctx context.Context, h *house) error {
		h.redis.Servers[1].Pause()
		sleep(ctx, 6*time.Second)
		h.redis.Servers[1].Resume()
		return nil
	}, false},
	{"node C is cut off for 30 s: its connections fall silent", func(ctx context.Context, h *house) error {
		for _, l := range h.links {
			l.Hang()
		}
		sleep(ctx, 30*time.Second)
		for _, l := range h.links {
			l.Heal()
		}
		return nil
	}, true},
	{"node C is cut off for 30 s: its connections break", func(ctx context.Context, h *house) error {
		for _, l := range h.links {
			l.Cut()
		}
		sleep(ctx, 30*time.Second)
		for _, l := range h.links {
			l.Heal()
		}
		return nil
	}, true},
	{"Redis is full (maxmemory) for 10 s", fill, false},
	{"all of Redis and all nodes are killed and start again", restartAll, false},
}

// fill gives Redis as much memory as it has taken, and more again later. People
// who are signed in notice nothing, and can sign out.
func fill(ctx context.Context, h *house) (err error) {
	for _, server := range h.redis.Servers {
		info, failure := server.Do("INFO", "memory")
		_, rest, _ := strings.Cut(info, "\nused_memory:")
		used, _, _ := strings.Cut(rest, "\r")
		n, bad := strconv.Atoi(used)
		_, refused := server.Do("CONFIG", "SET", "maxmemory", strconv.Itoa(n/2))
		err = errors.Join(err, failure, bad, refused)
	}
	if err != nil {
		return err
	}
	t := h.trial
	before := t.endings()
	if _, failure := h.nodes[0].signIn(ctx, phone(people-4), "phone"); failure == nil {
		err = errors.New("a sign-in found room in a full Redis")
	}
	for _, g := range t.spare {
		t.end(ctx, h.nodes[0], g)
	}
	sleep(ctx, 10*time.Second)
	if got := t.endings() - before; got < len(t.spare) {
		err = errors.Join(err, fmt.Errorf("%d of %d sign-outs were taken by a full Redis", got, len(t.spare)))
	}
	for _, server := range h.redis.Servers {
		_, failure := server.Do("CONFIG", "SET", "maxmemory", "0")
		err = errors.Join(err, failure)
	}
	return err
}

func restartAll(ctx context.Context, h *house) error {
	for _, server := range h.redis.Servers {
		server.Kill()
	}
	for _, n := range h.nodes {
		n.kill()
	}
	sleep(ctx, time.Second)
	failures := make([]error, len(h.redis.Servers)+len(h.nodes))
	var wg sync.WaitGroup
	for i, server := range h.redis.Servers {
		wg.Go(func() { failures[i] = server.Restart() })
	}
	for i, n := range h.nodes {
		wg.Go(func() { failures[len(h.redis.Servers)+i] = n.start(ctx) })
	}
	wg.Wait()
	return errors.Join(failures...)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// faults prints what each of them does to who is signed in.
func (p *plan) faults(ctx context.Context, only string) (failed int, err error) {
	var lines []string
	for _, f := range faults {
		if !strings.Contains(f.name, only) {
			continue
		}
		line, kept, err := p.fault(ctx, f)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f.name, err)
		}
		if !kept {
			failed++
		}
		lines = append(lines, line)
	}
	if len(lines) > 0 {
		fmt.Printf("\n%-56s %8s %8s %8s %8s %8s  %-26s %-9s\n", "", "ends", "undone", "passed", "401 of", "503 of", "signed in, without service", "well again")
		fmt.Printf("%-56s %8s %8s %8s %8s %8s  %-26s %-9s\n", "", "answered", "", "2 s late", "living", "living", "longest on A, B, C", "after")
		fmt.Println(strings.Join(lines, "\n"))
	}
	return failed, nil
}

// fault runs one trial: in health, broken, and in health again.
func (p *plan) fault(ctx context.Context, f fault) (line string, kept bool, err error) {
	h, err := p.setUp(ctx, all, "--appendfsync", "always")
	defer h.tearDown()
	if err != nil {
		return "", false, err
	}
	t, err := startTrial(ctx, h)
	if err != nil {
		return "", false, err
	}
	defer t.finish()
	if err := f.happen(ctx, h); err != nil {
		return "", false, err
	}
	over := time.Now()
	if err := t.well(ctx); err != nil {
		return "", false, err
	}
	recovered := time.Since(over)
	t.finish()
	undone, err := t.undone(ctx)
	if err != nil {
		return "", false, err
	}
	kept = undone == 0 && t.late.Load() == 0 && t.refused.Load() == 0
	if f.spares {
		kept = kept && t.gaps[0].longest() == 0 && t.gaps[1].longest() == 0
	}
	var gaps []string
	for i := range t.gaps {
		gaps = append(gaps, fmt.Sprintf("%.1f s", t.gaps[i].longest().Seconds()))
	}
	verdict := "kept"
	if !kept {
		verdict = "NOT KEPT"
	}
	return fmt.Sprintf("%-56s %8d %8d %8d %8d %8d  %-26s %-9s %s", f.name, t.endings(), undone, t.late.Load(), t.refused.Load(), t.faulty.Load(),
		strings.Join(gaps, ", "), fmt.Sprintf("%.1f s", recovered.Seconds()), verdict), kept, nil
}
