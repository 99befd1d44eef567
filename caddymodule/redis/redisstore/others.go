package redisstore

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Others implements auth.Sharer. It listens for the beats of other nodes, for as
// long as each of them has several.
func (s *Store) Others(ctx context.Context) (int, error) {
	found, err := s.shards(ctx)
	if err != nil {
		return 0, unavailable("looking for other nodes", err)
	}
	conn, release := found[0].node.Dedicate()
	defer release()
	var heard nodes
	conn.SetOnInvalidations(func(keys []rueidis.RedisMessage) { heard.note(s, keys) })
	beats := conn.B().Arbitrary("CLIENT").Args("TRACKING", "ON", "BCAST", "PREFIX", s.opt.Prefix+pulseKeys).Build()
	asked, cancel := s.bounded(ctx, callTimeout)
	defer cancel()
	if err := conn.Do(asked, beats).Error(); err != nil {
		return 0, unavailable("looking for other nodes", err)
	}
	defer conn.Close() // it would go on being told
	pause(ctx, 3*beat)
	if err := ctx.Err(); err != nil {
		return 0, unavailable("looking for other nodes", err)
	}
	return heard.count(), nil
}

// nodes are those that were heard, beside our own.
type nodes struct {
	mu    sync.Mutex
	names map[string]bool
}

func (n *nodes) note(s *Store, keys []rueidis.RedisMessage) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, message := range keys {
		key, err := message.ToString()
		if err != nil || strings.HasPrefix(key, s.pulses) {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(key, s.opt.Prefix+pulseKeys), "/")
		if n.names == nil {
			n.names = map[string]bool{}
		}
		n.names[name] = true
	}
}

func (n *nodes) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.names)
}

var _ auth.Sharer = (*Store)(nil)
