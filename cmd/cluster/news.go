//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// claim is a line of the first table.
type claim struct {
	what, got string
	kept      bool
}

// news measures how soon nodes hear of each other, under load.
func (p *plan) news(ctx context.Context, s settings) (failed int, err error) {
	h, err := p.setUp(ctx, all)
	defer h.tearDown()
	if err != nil {
		return 0, err
	}
	load := startLoad(ctx, h, s.clients)
	var claims []claim
	for _, measure := range []func(context.Context, *house, settings) ([]claim, error){ends, streams, refreshes, limits} {
		more, err := measure(ctx, h, s)
		if err != nil {
			load.finish()
			return 0, err
		}
		claims = append(claims, more...)
	}
	claims = append(claims, load.finish())
	return printClaims(fmt.Sprintf("Three nodes on a Redis Cluster of six servers, %d clients busy", s.clients), claims), nil
}

// printClaims counts those that are not kept.
func printClaims(title string, claims []claim) (failed int) {
	fmt.Printf("\n%s\n\n", title)
	for _, c := range claims {
		verdict := "kept"
		if !c.kept {
			verdict, failed = "NOT KEPT", failed+1
		}
		fmt.Printf("%-80s %-48s %s\n", c.what, c.got, verdict)
	}
	return failed
}

// ends signs people out on one node and asks the others until they refuse.
func ends(ctx context.Context, h *house, s settings) ([]claim, error) {
	var took []time.Duration
	for i := range s.ends {
		near, others := h.around(i)
		t, err := near.signIn(ctx, phone(i), "phone")
		if err != nil {
			return nil, err
		}
		for _, n := range others {
			if status, code, err := n.browse(ctx, t); err != nil || status != http.StatusOK {
				return nil, refused("browse", http.StatusOK, status, code, err)
			}
		}
		if err := near.logout(ctx, t); err != nil {
			return nil, err
		}
		over := time.Now()
		heard := make([]time.Duration, len(others))
		failures := make([]error, len(others))
		var wg sync.WaitGroup
		for j, n := range others {
			wg.Go(func() { heard[j], failures[j] = n.until(ctx, t, over) })
		}
		wg.Wait()
		if err := errors.Join(failures...); err != nil {
			return nil, err
		}
		took = append(took, heard...)
	}
	return []claim{{
		"a session ended on one node is refused by the others: p99 within 100 ms",
		spread(took), at(took, 0.99) <= 100*time.Millisecond,
	}}, nil
}

// until asks again and again, and tells how long after an end the first refusal
// had come.
func (n *node) until(ctx context.Context, t tokens, over time.Time) (time.Duration, error) {
	for time.Since(over) < 10*time.Second {
		switch status, code, err := n.browse(ctx, t); {
		case err != nil:
			return 0, err
		case status == http.StatusUnauthorized && code == "session_revoked":
			return time.Since(over), nil
		case status != http.StatusOK:
			return 0, refusal{"browse", status, code}
		}
	}
	return 0, fmt.Errorf("node %s lets a session pass 10 s after its end", n.name)
}

// around gives each node in turn, and the others.
func (h *house) around(i int) (*node, []*node) {
	near := h.nodes[i%len(h.nodes)]
	return near, slices.DeleteFunc(slices.Clone(h.nodes), func(n *node) bool { return n == near })
}

// refreshes has all nodes refresh one token, each twice, at the same time.
func refreshes(ctx context.Context, h *house, s settings) ([]claim, error) {
	single := 0
	for i := range s.refreshes {
		t, err := h.nodes[i%len(h.nodes)].signIn(ctx, phone(i), "phone")
		if err != nil {
			return nil, err
		}
		const each = 2
		next := make([]tokens, each*len(h.nodes))
		failures := make([]error, len(next))
		var wg sync.WaitGroup
		for j := range next {
			wg.Go(func() { next[j], failures[j] = h.nodes[j%len(h.nodes)].refresh(ctx, t) })
		}
		wg.Wait()
		if err := errors.Join(failures...); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(next, func(one tokens) bool { return one.Refresh != next[0].Refresh }) {
			single++
		}
	}
	return []claim{{
		"one token, refreshed six times at once on three nodes: one successor",
		fmt.Sprintf("%d of %d", single, s.refreshes), single == s.refreshes,
	}}, nil
}

// spread is the middle, the 99th of a hundred, and the worst.
func spread(took []time.Duration) string {
	return fmt.Sprintf("median %s, p99 %s, worst %s (%d)", short(at(took, 0.5)), short(at(took, 0.99)), short(at(took, 1)), len(took))
}

func at(took []time.Duration, part float64) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[int(part*float64(len(sorted)-1))]
}

func short(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
