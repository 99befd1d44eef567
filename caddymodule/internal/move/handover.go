package move

import (
	"context"
	"errors"
	"fmt"
)

// ErrNotReady says that the target cannot take over, or back.
var ErrNotReady = errors.New("the move is not in step")

// HandOver has the target answer from now on. The source is marked as moved, the
// target is a store like any other, and what is written goes to the source as
// well, until the move is over: so it can be taken back.
//
// The source is marked first. A crash between the two leaves both marked, and an
// operator who has to choose; the other way round it would leave two stores that
// anybody could use.
func (v *Move) HandOver(ctx context.Context) error {
	return v.turn(ctx, InStep, Moved, &Mark{Moved: true, Peer: v.opt.To, At: v.opt.Now()}, v.unfinished())
}

// TakeBack has the source answer again, as if HandOver had not been.
func (v *Move) TakeBack(ctx context.Context) error {
	return v.turn(ctx, Moved, InStep, v.unfinished(), &Mark{Moved: true, Peer: v.opt.To, At: v.opt.Now()})
}

// turn lets the stores of the pair change places. The one that has answered so
// far gets a mark, and the other one loses what it had.
func (v *Move) turn(ctx context.Context, from, to Phase, gets, had *Mark) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.phase != from {
		return fmt.Errorf("%w: it is %s", ErrNotReady, v.phase)
	}
	p := v.pair
	if err := alone(ctx, p.first.Store); err != nil {
		return err
	}
	v.mirror.gate.Lock()
	defer v.mirror.gate.Unlock()
	if v.mirror.pair != p {
		return fmt.Errorf("%w: the other store has been let go", ErrNotReady)
	}
	if n := p.doubts.count(); n > 0 {
		return fmt.Errorf("%w: %d records are in doubt after a fault; try again in %v", ErrNotReady, n, lateness)
	}
	if err := p.exchangeMarks(ctx, gets, had); err != nil {
		return fmt.Errorf("handing over: %w", err)
	}
	p.first, p.second = p.second, p.first
	v.mirror.first.Store(p.first)
	v.phase, v.since = to, v.opt.Now()
	return nil
}

// exchangeMarks marks the first store, and takes the mark off the second. After an
// error the marks are as they were, if that can be.
func (p *pair) exchangeMarks(ctx context.Context, gets, had *Mark) error {
	err := p.second.Sync(ctx)
	if err == nil {
		err = mark(ctx, p.first, gets)
	}
	if err == nil {
		err = mark(ctx, p.second, nil)
	}
	if err == nil {
		return nil
	}
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	return errors.Join(err, mark(again, p.second, had), mark(again, p.first, nil)) // what got no answer may have been done
}

// End ends the move: before HandOver the source goes on alone and the target is
// of no use, after it the source. Run then returns.
func (v *Move) End() { v.end(errOver) }
