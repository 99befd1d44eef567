//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// load is people who come and go while something is measured.
type load struct {
	house *house
	stop  context.CancelFunc
	busy  sync.WaitGroup
	began time.Time

	mu      sync.Mutex
	answers int
	odd     map[string]int // what nobody should get while nothing is broken
}

func startLoad(ctx context.Context, h *house, clients int) *load {
	ctx, stop := context.WithCancel(ctx)
	l := &load{house: h, stop: stop, began: time.Now(), odd: map[string]int{}}
	for i := range clients {
		l.busy.Go(func() {
			for ctx.Err() == nil {
				l.visit(ctx, phone(people/2+i))
			}
		})
	}
	return l
}

func (l *load) any() *node { return l.house.nodes[rand.IntN(len(l.house.nodes))] }

// visit is a person's: sign in, browse, refresh, browse, sign out, each time at
// some node.
func (l *load) visit(ctx context.Context, phone string) {
	t, err := l.any().signIn(ctx, phone, "phone")
	if !l.note(ctx, err) {
		return
	}
	for i := range 20 {
		if i == 10 {
			if t, err = l.any().refresh(ctx, t); !l.note(ctx, err) {
				return
			}
		}
		status, code, err := l.any().browse(ctx, t)
		l.note(ctx, refused("browse", http.StatusOK, status, code, err))
		time.Sleep(5 * time.Millisecond)
	}
	l.note(ctx, l.any().logout(ctx, t))
}

func (l *load) note(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers++
	if err != nil {
		l.odd[err.Error()]++
	}
	return err == nil
}

// finish sends everybody home, and says how it went.
func (l *load) finish() claim {
	l.stop()
	l.busy.Wait()
	got := fmt.Sprintf("%d answers, %.0f a second", l.answers, float64(l.answers)/time.Since(l.began).Seconds())
	if len(l.odd) > 0 {
		got += fmt.Sprint(", ", l.odd)
	}
	return claim{"people who sign in, browse, refresh and sign out get what they want", got, len(l.odd) == 0}
}
