package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// inspect looks at every server that takes writes, and refuses those that would
// lose records.
func (s *Store) inspect(ctx context.Context) error {
	found, err := s.shards(ctx)
	if err != nil {
		return fmt.Errorf("connecting to Redis: %w", err)
	}
	fewest := -1
	for _, one := range found {
		info, err := infoOf(ctx, one.node)
		if err != nil {
			return fmt.Errorf("asking %s for INFO: %w", one.address, err)
		}
		if err := info.refusal(); err != nil {
			return fmt.Errorf("Redis at %s: %w", one.address, err)
		}
		if n := info.number("connected_slaves"); fewest < 0 || n < fewest {
			fewest = n
		}
		if info["aof_enabled"] == "0" {
			s.opt.Log.Warn("Redis keeps no log of its writes (appendonly): when it stops, sessions that were ended may live again", "address", one.address)
		}
	}
	s.settleReplicas(fewest)
	return nil
}

// settleReplicas decides how many replicas a Swap waits for.
func (s *Store) settleReplicas(connected int) {
	s.replicas = s.opt.Replicas
	if s.replicas == DetectReplicas {
		s.replicas = min(1, connected)
		s.opt.Log.Info("what must not be lost waits for replicas", "replicas", s.replicas, "connected", connected)
	}
	switch failover := s.client.Mode() != rueidis.ClientModeStandalone; {
	case connected < s.replicas:
		s.opt.Log.Warn("fewer replicas are connected than are waited for: until they are, sign-ins, refreshes and sign-outs get 503", "replicas", s.replicas, "connected", connected)
	case failover && s.replicas == 0:
		s.opt.Log.Warn("no replica is waited for: a failover may lose answered sign-ins and sign-outs; set replicas")
	}
}

// info is what INFO answers.
type info map[string]string

func infoOf(ctx context.Context, node rueidis.Client) (info, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	text, err := node.Do(ctx, node.B().Info().Build()).ToString()
	if err != nil {
		return nil, err
	}
	out := info{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			out[name] = value
		}
	}
	return out, nil
}

func (i info) number(name string) int {
	n, _ := strconv.Atoi(i[name]) // a server that does not say has none
	return n
}

func (i info) refusal() error {
	major, _, _ := strings.Cut(i["redis_version"], ".")
	if n, err := strconv.Atoi(major); err != nil || n < 7 {
		return fmt.Errorf("it is version %s; Redis 7 or Valkey is needed", i["redis_version"])
	}
	if i["role"] != "master" {
		return fmt.Errorf("it is a replica; give the address of the primary, or those of the Sentinels and the master's name")
	}
	if policy := i["maxmemory_policy"]; policy != "noeviction" {
		return fmt.Errorf("its maxmemory-policy %s deletes sessions and users when memory runs short; set it to noeviction", policy)
	}
	return nil
}
