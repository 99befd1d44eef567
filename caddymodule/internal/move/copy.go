package move

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const (
	copiers      = 8   // at once: most of their time they wait for the second store
	batchRecords = 256 // of at most 64 KiB each
	batchBytes   = 256 << 10
)

// errStopped ends a walk whose records nobody takes any more.
var errStopped = errors.New("stopped")

// inBatches walks a store and has do work on its records, many at once.
func inBatches(ctx context.Context, from *side, do func(context.Context, []auth.Write) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batches := make(chan []auth.Write)
	var working sync.WaitGroup
	for range copiers {
		working.Go(func() {
			for batch := range batches {
				if err := do(ctx, batch); err != nil {
					cancel(err)
				}
			}
		})
	}
	walked := fill(ctx, from, batches)
	close(batches)
	working.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return walked
}

// fill walks a store in batches. After the end of the context nobody gets more.
func fill(ctx context.Context, from *side, batches chan<- []auth.Write) error {
	var batch []auth.Write
	size := 0
	send := func() error {
		select {
		case batches <- batch:
			batch, size = nil, 0
			return nil
		case <-ctx.Done():
			return errStopped
		}
	}
	err := from.Store.(auth.Walker).Walk(ctx, func(w auth.Write) error {
		batch, size = append(batch, w), size+len(w.Key)+len(w.Value)
		if len(batch) < batchRecords && size < batchBytes {
			return nil
		}
		return send()
	})
	if err == nil && len(batch) > 0 {
		err = send()
	}
	return err
}

// copy brings over all that was there before the pair was.
func (p *pair) copy(ctx context.Context, done *atomic.Int64) error {
	return inBatches(ctx, p.first, func(ctx context.Context, batch []auth.Write) error {
		if err := p.carry(ctx, batch); err != nil {
			return fmt.Errorf("copying: %w", err)
		}
		done.Add(int64(len(batch)))
		return nil
	})
}

// carry writes records to the second store as they were when they were walked
// by. Those that were written since, also while this was under way, are brought
// over as they are: else an old state could come to lie over the new one.
func (p *pair) carry(ctx context.Context, batch []auth.Write) error {
	var quiet, late []auth.Write
	for _, w := range batch {
		if p.changed(w) {
			late = append(late, w)
		} else {
			quiet = append(quiet, w)
		}
	}
	if err := p.second.Put(ctx, quiet); err != nil {
		late = batch
	}
	for _, w := range quiet {
		if p.changed(w) {
			late = append(late, w)
		}
	}
	for _, w := range late {
		if err := stubborn(ctx, func() error { return p.renew(ctx, w.Key, w.Owner) }); err != nil {
			return err
		}
	}
	return nil
}

// changed tells whether a record may have been written since the pair is one, or
// erased with its owner.
func (p *pair) changed(w auth.Write) bool {
	return p.written.has(p.hash(w.Key)) || w.Owner != 0 && p.written.has(p.hashOwner(w.Owner))
}

// stubborn tries for a while what a store in trouble refuses.
func stubborn(ctx context.Context, do func() error) (err error) {
	for wait := 10 * time.Millisecond; wait < giveUp/2; wait *= 2 {
		if err = do(); err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return err
}
