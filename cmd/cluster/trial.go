//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// trial is a load while something breaks. It counts what must not be.
type trial struct {
	house *house
	lives []tokens // who stay signed in
	spare []tokens // who sign out when it matters
	stop  context.CancelFunc
	busy  sync.WaitGroup
	next  atomic.Int64 // of somebody

	faulty, refused, late atomic.Int64
	gaps                  [3]gap // of each node

	mu    sync.Mutex
	ended []ending
}

type ending struct {
	tokens
	at time.Time
}

// gap is the time from the first answer of a fault to the next good one.
type gap struct {
	mu    sync.Mutex
	since time.Time
	most  time.Duration
}

func (g *gap) note(good bool, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !good && g.since.IsZero():
		g.since = at
	case good && !g.since.IsZero() && at.After(g.since):
		g.most, g.since = max(g.most, time.Since(g.since)), time.Time{}
	}
}

func (g *gap) longest() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.since.IsZero() {
		return g.most
	}
	return max(g.most, time.Since(g.since))
}

const freshness = 2 * time.Second // of what a node may believe

func startTrial(ctx context.Context, h *house) (*trial, error) {
	ctx, stop := context.WithCancel(ctx)
	t := &trial{house: h, stop: stop}
	h.trial = t
	for i := range stay {
		g, err := h.nodes[i%3].signIn(ctx, phone(i), "phone")
		if err != nil {
			stop()
			return nil, err
		}
		if i < 12 {
			t.lives = append(t.lives, g)
		} else {
			t.spare = append(t.spare, g)
		}
	}
	for i, n := range h.nodes {
		t.repeat(ctx, func(round int) { t.use(ctx, i, n, round) })
	}
	for i := range 8 {
		t.repeat(ctx, func(round int) { t.visit(ctx, h.nodes[(round+i)%3], h.nodes[round%3]) })
	}
	t.rotate(ctx)
	for until := time.Now().Add(20 * time.Second); t.endings() < 10; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.finish()
			return nil, errors.New("nobody gets signed out in 20 s")
		}
	}
	return t, nil
}

func (t *trial) repeat(ctx context.Context, do func(round int)) {
	t.busy.Go(func() {
		for round := 0; ctx.Err() == nil; round++ {
			do(round)
			sleep(ctx, 10*time.Millisecond)
		}
	})
}

// use sends a request of somebody who stays, and of each of those who left last.
func (t *trial) use(ctx context.Context, i int, n *node, round int) {
	at := time.Now()
	status, code, err := n.browse(ctx, t.lives[round%len(t.lives)])
	if ctx.Err() != nil {
		return
	}
	good := err == nil && status == http.StatusOK
	t.gaps[i].note(good, at)
	if status == http.StatusUnauthorized {
		t.refused.Add(1)
		fmt.Fprintf(os.Stderr, "node %s: %s for a session that lives\n", n.name, code)
	} else if !good {
		t.faulty.Add(1)
	}
	t.mu.Lock()
	over := t.ended[max(0, len(t.ended)-8):]
	t.mu.Unlock()
	for _, e := range over {
		since := time.Since(e.at)
		if status, _, err := n.browse(ctx, e.tokens); err == nil && status == http.StatusOK && since > freshness {
			t.late.Add(1)
			fmt.Fprintf(os.Stderr, "node %s: a session passed %v after its end\n", n.name, since)
		}
	}
}

// stay is how many people are signed in all the time, or until it matters.
const stay = 18

// somebody is not one of them, whose sessions a new sign-in would replace.
func (t *trial) somebody() string { return phone(stay + int(t.next.Add(1))%(people-stay)) }

// visit signs somebody in and out again.
func (t *trial) visit(ctx context.Context, in, out *node) {
	g, err := in.signIn(ctx, t.somebody(), "phone")
	if err != nil {
		return
	}
	for _, n := range t.house.nodes {
		_, _, _ = n.browse(ctx, g) // so that its memory has it
	}
	t.end(ctx, out, g)
}

// end signs somebody out, and notes it when that is answered.
func (t *trial) end(ctx context.Context, n *node, g tokens) {
	if n.logout(ctx, g) != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = append(t.ended, ending{g, time.Now()})
}

func (t *trial) endings() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ended)
}

// rotate refreshes somebody's tokens all the time, as a client does: after a
// fault it tries again with the same token.
func (t *trial) rotate(ctx context.Context) {
	g := t.lives[0]
	t.repeat(ctx, func(round int) {
		next, err := t.house.nodes[round%3].refresh(ctx, g)
		var r refusal
		if err == nil {
			g = next
		} else if errors.As(err, &r) && r.status < 500 {
			t.refused.Add(1)
			fmt.Fprintf(os.Stderr, "a refresh of a session that lives: %v\n", err)
		}
		sleep(ctx, 300*time.Millisecond)
	})
}

// well waits until all nodes do all again.
func (t *trial) well(ctx context.Context) error {
	for _, n := range t.house.nodes {
		until := time.Now().Add(time.Minute)
		for {
			g, err := n.signIn(ctx, t.somebody(), "phone")
			if err == nil {
				err = n.logout(ctx, g)
			}
			if err == nil {
				break
			}
			if time.Now().After(until) || ctx.Err() != nil {
				return fmt.Errorf("node %s does not recover: %w", n.name, err)
			}
			sleep(ctx, 50*time.Millisecond)
		}
	}
	sleep(ctx, time.Second) // for who is signed in to notice
	return ctx.Err()
}

func (t *trial) finish() {
	t.stop()
	t.busy.Wait()
}

// undone asks all nodes, and one that remembers nothing, for every end.
func (t *trial) undone(ctx context.Context) (n int, err error) {
	fresh, err := t.house.startNode(ctx, "fresh", t.house.redis.Addresses())
	if err != nil {
		return 0, err
	}
	defer fresh.kill()
	for _, e := range t.ended {
		for _, one := range append(t.house.nodes, fresh) {
			status, code, err := one.browse(ctx, e.tokens)
			if err != nil {
				return n, err
			}
			if status != http.StatusUnauthorized || code != "session_revoked" {
				n++
				fmt.Fprintf(os.Stderr, "node %s: %d %s for a session that was ended\n", one.name, status, code)
			}
		}
	}
	return n, nil
}
