package redisstore

import (
	"context"
	"errors"

	"github.com/redis/rueidis"
)

// pulseScript is a write that changes nothing of ours. A server that may not
// write any more, or has no room, shows it.
const pulseScript = "#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], '', 'PX', ARGV[1])"

// pulseLife is for the keys that a node leaves behind.
const pulseLife = "60000"

func (s *Store) pulse(key string) rueidis.Completed {
	return s.client.B().Eval().Script(pulseScript).Numkeys(1).Key(key).Arg(pulseLife).Build()
}

// Sync implements auth.Store. Replication keeps the order of writes, so a fresh
// one that the replicas have comes with all before it.
func (s *Store) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return unavailable("syncing", err)
	}
	if s.replicas == 0 {
		return nil
	}
	ctx, cancel := s.bounded(ctx, callTimeout+s.opt.ReplicaTimeout)
	defer cancel()
	found, err := s.shards(ctx)
	if err != nil {
		return unavailable("syncing", err)
	}
	synced := make(chan error, len(found))
	for _, one := range found {
		go func() {
			written, waited := s.write(ctx, line{send: one.node.DoMulti}, s.pulse(keyAt(s.syncs, one.spans)))
			err := written.Error()
			if err == nil {
				err = s.enough(waited)
			}
			synced <- err
		}()
	}
	for range found {
		err = errors.Join(err, <-synced)
	}
	if err != nil {
		return unavailable("syncing", err)
	}
	return nil
}
