package notify

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	firstPause   = time.Second
	longestPause = 5 * time.Minute
)

// pause is how long a receiver that fails is left alone: twice as long after
// each failure, and never quite as long as others leave theirs.
type pause struct {
	now func() time.Time

	mu       sync.Mutex
	failures int
	until    time.Time
}

// fail notes a failure, but for those of attempts that began before the pause.
// news tells that the receiver worked until now.
func (p *pause) fail() (wait time.Duration, news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if now.Before(p.until) {
		return p.until.Sub(now), false
	}
	wait = min(longestPause, firstPause<<min(p.failures, 20))
	wait -= rand.N(wait / 4)
	p.failures++
	p.until = now.Add(wait)
	return wait, p.failures == 1
}

// end notes that the receiver works, and tells whether that is news.
func (p *pause) end() (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	news = p.failures > 0
	p.failures, p.until = 0, time.Time{}
	return news
}

// wait waits for the pause to end. It is false when ctx ends first.
func (p *pause) wait(ctx context.Context) bool {
	for {
		p.mu.Lock()
		left := p.until.Sub(p.now())
		p.mu.Unlock()
		if left <= 0 {
			return ctx.Err() == nil
		}
		if !sleep(ctx, left) {
			return false
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
