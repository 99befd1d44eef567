package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// inspect looks at every server that takes writes, and refuses those that would
// lose records. While Sentinels or a Cluster choose another primary it waits.
func (s *Store) inspect(ctx context.Context) error {
	for {
		found, err := s.shards(ctx)
		if err == nil {
			err = s.examine(ctx, found)
		}
		var refused refusal
		if err == nil || errors.As(err, &refused) || ctx.Err() != nil {
			return err
		}
		pause(ctx, silence)
	}
}

// refusal is why a server will not do, today or tomorrow.
type refusal string

func (r refusal) Error() string { return string(r) }

func (s *Store) examine(ctx context.Context, found []shard) error {
	fewest := math.MaxInt
	for _, one := range found {
		info, err := infoOf(ctx, one.node)
		if denied, ok := refusalOf(err); ok && strings.HasPrefix(denied.Error(), "NOPERM") {
			s.opt.Log.Warn("Redis does not let us look (INFO): see that it is version 7, keeps a log of its writes, and has maxmemory-policy noeviction", "address", one.address)
			info, err = unseen, nil
		}
		if err == nil {
			err = info.check(s.client.Mode())
		}
		if err != nil {
			return fmt.Errorf("redis at %s: %w", one.address, err)
		}
		fewest = min(fewest, info.number("connected_slaves"))
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

// unseen stands for a server that does not show anything.
var unseen = info{"redis_version": "7", "role": "master", "maxmemory_policy": "noeviction"}

func (i info) check(mode rueidis.ClientMode) error {
	major, _, _ := strings.Cut(i["redis_version"], ".")
	if n, err := strconv.Atoi(major); err != nil || n < 7 {
		return refusal(fmt.Sprintf("it is version %q; Redis 7 or Valkey is needed", i["redis_version"]))
	}
	if policy := i["maxmemory_policy"]; policy != "noeviction" {
		return refusal(fmt.Sprintf("its maxmemory-policy %s deletes sessions and users when memory runs short; set it to noeviction", policy))
	}
	if i["role"] == "master" {
		return nil
	}
	if mode != rueidis.ClientModeStandalone {
		return errors.New("it is no primary any more")
	}
	return refusal("it is a replica; give the address of the primary, or those of the Sentinels and the master's name")
}
