package redisstore

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// trial is a load on some nodes while something happens to their Redis. It holds
// three promises: no session passes that ended more than 2 s ago, none that
// lives is refused as if it had ended, and no end is undone that was answered.
type trial struct {
	testing.TB
	nodes []node
	lives []auth.Grant
	stop  chan struct{}
	load  sync.WaitGroup

	mu     sync.Mutex
	ended  []ending
	faults int // answers of 503
}

type ending struct {
	grant auth.Grant
	at    time.Time
}

func startTrial(t testing.TB, nodes []node) *trial {
	tr := &trial{TB: t, nodes: nodes, stop: make(chan struct{})}
	for i := range 10 {
		tr.lives = append(tr.lives, nodes[i%len(nodes)].signIn())
	}
	for _, n := range nodes {
		tr.load.Go(func() { tr.repeat(func(i int) { tr.use(n, i) }) })
	}
	for range 4 {
		tr.load.Go(func() { tr.repeat(func(i int) { tr.end(nodes[i%len(nodes)]) }) })
	}
	within(t, 20*time.Second, "some sessions have ended", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return len(tr.ended) >= 10
	})
	return tr
}

func (tr *trial) repeat(do func(i int)) {
	for i := 0; ; i++ {
		select {
		case <-tr.stop:
			return
		case <-time.After(2 * time.Millisecond):
			do(i)
		}
	}
}

// use sends a request of a session that lives, and one of each that has ended.
func (tr *trial) use(n node, i int) {
	tr.judge(n.request(tr.lives[i%len(tr.lives)]))
	tr.mu.Lock()
	over := tr.ended
	tr.mu.Unlock()
	for _, e := range over[max(0, len(over)-20):] {
		since := time.Since(e.at)
		if err := n.request(e.grant); err == nil && since > 2*time.Second {
			tr.Errorf("a session passed %v after its end", since)
		}
	}
}

// judge looks at the answer for a session that lives.
func (tr *trial) judge(err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var refusal *auth.Error
	switch {
	case err == nil:
	case errors.As(err, &refusal):
		tr.Errorf("a live session was refused: %v", err)
	case errors.Is(err, auth.ErrUnavailable):
		tr.faults++
	default:
		tr.Errorf("neither a pass nor a refusal nor a fault: %v", err)
	}
}

// end signs somebody in and out again, and notes what was answered.
func (tr *trial) end(n node) {
	g, err := n.trySignIn()
	if err != nil {
		return
	}
	for _, other := range tr.nodes {
		_ = other.request(g) // so that memory has it
	}
	if n.logout(g) == nil {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.ended = append(tr.ended, ending{g, time.Now()})
	}
}

// finish waits until all nodes work again, stops the load, and asks for every
// end. fresh is a node that remembers nothing.
func (tr *trial) finish(fresh node) {
	tr.Helper()
	for _, n := range append(tr.nodes, fresh) {
		within(tr, 30*time.Second, "everything works again", func() bool {
			g, err := n.trySignIn()
			return err == nil && n.logout(g) == nil
		})
	}
	close(tr.stop)
	tr.load.Wait()
	for _, n := range append(tr.nodes, fresh) {
		for _, e := range tr.ended {
			within(tr, 2*time.Second, "an end that was answered holds", func() bool { return isRevoked(n.request(e.grant)) })
		}
		for _, g := range tr.lives {
			n.passes(g)
		}
	}
	tr.Logf("%d ends, %d answers of 503", len(tr.ended), tr.faults)
}
