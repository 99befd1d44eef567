package move

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// errOver ends Run without a fault.
var errOver = errors.New("the move is over")

// Run copies, checks, and keeps the stores in step until the move is over. The
// error says why it broke. When it returns, nothing is written to the store that
// does not answer, and that can be closed. It must be called once.
func (v *Move) Run() error {
	var watching sync.WaitGroup
	watching.Go(v.watch)
	err := v.fill(v.ctx)
	if err == nil {
		err = v.keep(v.ctx)
	}
	if v.ctx.Err() != nil {
		err = context.Cause(v.ctx)
	}
	v.end(errOver)
	watching.Wait()
	return v.finish(err)
}

// finish takes the move off the mirror.
func (v *Move) finish(err error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mirror.gate.Lock()
	v.mirror.pair, v.mirror.move = nil, nil
	v.mirror.gate.Unlock()
	if errors.Is(err, errOver) {
		err = nil
	}
	switch v.why = err; {
	case v.phase == Moved:
	case err == nil:
		v.phase = Stopped
	default:
		v.phase = Broken
	}
	return err
}

const (
	settleEvery = time.Second
	lookEvery   = 2 * time.Second
)

// watch looks for other nodes at the source, all the time.
func (v *Move) watch() {
	for pause(v.ctx, lookEvery) == nil {
		if v.Phase() == Moved {
			continue // it is marked, so nobody comes any more
		}
		if err := alone(v.ctx, v.source.Store); errors.Is(err, ErrRefused) {
			v.end(err)
		}
	}
}

// fill makes the target equal to the source.
func (v *Move) fill(ctx context.Context) error {
	if v.opt.Overwrite {
		if err := v.empty(ctx); err != nil {
			return err
		}
	}
	n, err := v.source.Store.(auth.Walker).Estimate(ctx)
	if err != nil {
		return fmt.Errorf("counting: %w", err)
	}
	v.expected.Store(int64(n))
	v.enter(Copying)
	if err := v.pair.copy(ctx, &v.copied); err != nil {
		return err
	}
	if err := v.pair.second.Sync(ctx); err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	v.enter(Checking)
	if err := v.pair.check(ctx, &v.checked, &v.differences); err != nil {
		return err
	}
	if found := v.differences.list(); found != nil {
		return errDiffer
	}
	return v.wait(ctx)
}

// wait lets what is not copied run out.
func (v *Move) wait(ctx context.Context) error {
	v.enter(Waiting)
	for until := v.began.Add(v.opt.Hold); v.opt.Now().Before(until); {
		if err := v.pair.settle(ctx); err != nil {
			return err
		}
		if err := pause(ctx, min(settleEvery, until.Sub(v.opt.Now()))); err != nil {
			return err
		}
	}
	return v.settle(ctx)
}

var errDiffer = errors.New("the copy is not the same as the source; see the differences")

// empty deletes what the target held, unlisted records too: a code that was used
// in the meantime must not be good there. Writes are repeated from then on.
func (v *Move) empty(ctx context.Context) error {
	if err := v.opt.Target.(auth.Walker).Clear(ctx, MarkKey); err != nil {
		return fmt.Errorf("emptying the target: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mirror.gate.Lock()
	defer v.mirror.gate.Unlock()
	v.mirror.pair = v.pair
	v.began = v.opt.Now()
	return nil
}

// settle waits until no key is in doubt.
func (v *Move) settle(ctx context.Context) error {
	for {
		if err := v.pair.settle(ctx); err != nil || v.pair.doubts.count() == 0 {
			return err
		}
		if err := pause(ctx, settleEvery); err != nil {
			return err
		}
	}
}

// keep keeps the stores in step, until the end of the context.
func (v *Move) keep(ctx context.Context) error {
	v.enter(InStep)
	for {
		if err := v.pair.settle(ctx); err != nil {
			return err
		}
		if err := pause(ctx, settleEvery); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
