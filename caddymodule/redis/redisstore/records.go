package redisstore

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Limits of the contract.
const (
	maxKey   = 512
	maxValue = 64 << 10
)

// Get implements auth.Store. It asks primaries only: a replica may not have yet
// what a Swap has returned.
func (s *Store) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	ctx, cancel := s.bounded(ctx, callTimeout)
	defer cancel()
	commands := make([]rueidis.Completed, len(keys))
	for i, key := range keys {
		commands[i] = s.client.B().Get().Key(s.opt.Prefix + key).Build()
	}
	out := make([]auth.Record, len(keys))
	for i, result := range s.client.DoMulti(ctx, commands...) {
		stored, err := result.AsBytes()
		if rueidis.IsRedisNil(err) {
			continue
		}
		if err == nil {
			out[i], err = s.unwrap(keys[i], stored)
		}
		if err != nil {
			return nil, unavailable("reading", err)
		}
	}
	return out, nil
}

// What goes to a server at once.
const (
	batchBytes = 1 << 20
	batchCount = 1000
)

// Put implements auth.Store. It waits for no replica.
func (s *Store) Put(ctx context.Context, writes []auth.Write) error {
	if err := accept(ctx, writes...); err != nil {
		return err
	}
	for len(writes) > 0 {
		n := batchOf(writes)
		if err := s.putBatch(ctx, writes[:n]); err != nil {
			return err
		}
		writes = writes[n:]
	}
	return nil
}

func (s *Store) putBatch(ctx context.Context, writes []auth.Write) error {
	ctx, cancel := s.bounded(ctx, callTimeout)
	defer cancel()
	commands := make([]rueidis.Completed, len(writes))
	for i, w := range writes {
		commands[i] = s.put(w)
	}
	for _, result := range s.client.DoMulti(ctx, commands...) {
		if err := result.Error(); err != nil {
			return unavailable("writing", err)
		}
	}
	return nil
}

func (s *Store) put(w auth.Write) rueidis.Completed {
	key := s.opt.Prefix + w.Key
	if w.Value == nil {
		return s.client.B().Del().Key(key).Build()
	}
	set := s.client.B().Set().Key(key).Value(s.wrap(w, newVersion()))
	if left := s.left(w); left != 0 {
		return set.PxMilliseconds(left).Build()
	}
	return set.Build()
}

// batchOf tells how many of the writes go at once.
func batchOf(writes []auth.Write) (n int) {
	for size := 0; n < len(writes) && n < batchCount; n++ {
		size += len(writes[n].Key) + len(writes[n].Value)
		if n > 0 && size > batchBytes {
			break
		}
	}
	return n
}

// accept refuses what the contract has no room for.
func accept(ctx context.Context, writes ...auth.Write) error {
	if err := ctx.Err(); err != nil {
		return unavailable("writing", err)
	}
	for _, w := range writes {
		if len(w.Key) > maxKey || len(w.Value) > maxValue {
			return fmt.Errorf("%w: key of %d or value of %d bytes is too large", auth.ErrUnavailable, len(w.Key), len(w.Value))
		}
	}
	return nil
}
