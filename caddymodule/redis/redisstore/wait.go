package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

// line is a way to one server, whose commands go over one connection when WAIT
// is among them.
type line struct {
	send   func(ctx context.Context, commands ...rueidis.Completed) []rueidis.RedisResult
	asking bool // a slot on its way is reached by ASKING alone
}

// confirmed runs a script and waits until the replicas have what it wrote. WAIT
// speaks of the writes of its own connection, so both go over one. A Cluster's
// redirections are followed here: rueidis would follow them with the script
// alone, and ask the wrong server for its replicas.
func (s *Store) confirmed(ctx context.Context, c call, known bool) (int64, error) {
	to := line{send: s.client.DoMulti}
	if s.client.Mode() == rueidis.ClientModeCluster {
		dedicated, release := s.client.Dedicate()
		defer release()
		to.send = dedicated.DoMulti
	}
	for again := time.Millisecond; ; again += time.Millisecond {
		written, waited := s.write(ctx, to, s.command(c, known))
		answer, err := written.AsInt64()
		if next, ok := s.redirected(ctx, err, c.key); ok && ctx.Err() == nil {
			to = next
			pause(ctx, again) // while a slot changes hands, two servers may each name the other
			continue
		}
		if err != nil || answer == 0 {
			return answer, err
		}
		return answer, s.enough(waited)
	}
}

// write sends a command and asks for its replicas right behind it.
func (s *Store) write(ctx context.Context, to line, command rueidis.Completed) (written, waited rueidis.RedisResult) {
	wait := s.client.B().Wait().Numreplicas(int64(s.replicas)).Timeout(s.opt.ReplicaTimeout.Milliseconds()).Build()
	if to.asking {
		results := to.send(ctx, s.client.B().Asking().Build(), command, wait)
		return results[1], results[2]
	}
	results := to.send(ctx, command, wait)
	return results[0], results[1]
}

// redirected gives the way to the server that an error of a Cluster names.
func (s *Store) redirected(ctx context.Context, err error, key string) (to line, ok bool) {
	refusal, ok := refusalOf(err)
	if !ok {
		return to, false
	}
	address, moved := refusal.IsMoved()
	if !moved {
		if address, to.asking = refusal.IsAsk(); !to.asking {
			return to, false
		}
	}
	node, known := s.client.Nodes()[address]
	if !known {
		// A read lets rueidis meet the server.
		s.client.Do(ctx, s.client.B().Exists().Key(key).Build().Pin())
		if node, known = s.client.Nodes()[address]; !known {
			return to, false
		}
	}
	to.send = node.DoMulti
	return to, true
}

// enough judges the answer of WAIT.
func (s *Store) enough(waited rueidis.RedisResult) error {
	n, err := waited.AsInt64()
	if err != nil {
		return fmt.Errorf("waiting for replicas: %w", err)
	}
	if n < int64(s.replicas) {
		return fmt.Errorf("%d of %d replicas have the write after %v", n, s.replicas, s.opt.ReplicaTimeout)
	}
	return nil
}
