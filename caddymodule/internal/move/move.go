package move

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Phase is how far a move has come.
type Phase string

// The phases, in their order.
const (
	Emptying Phase = "emptying" // the target, of what it held
	Copying  Phase = "copying"
	Checking Phase = "checking"
	Waiting  Phase = "waiting" // for the end of what is not copied, see Options.Hold
	InStep   Phase = "in_step" // both stores hold the same, and the target may take over
	Moved    Phase = "moved"   // the target has taken over
	Broken   Phase = "broken"  // the target is of no use; the source goes on as if nothing had been
	Stopped  Phase = "stopped" // on purpose; else as Broken
)

// Options are the particulars of a move.
type Options struct {
	Target auth.Store // also an auth.Walker
	From   string     // the place of the source, for people who find the target marked
	To     string     // the place of the target, for those who find the source
	// Overwrite allows a target that holds records: they are deleted.
	Overwrite bool
	// Hold is how long after the beginning the stores are in step at the earliest.
	// What is unlisted, such as a code that was sent, is not copied: whatever lives
	// no longer than this is either written in both or over.
	Hold time.Duration
	Now  func() time.Time
}

// Move is one move, from its beginning until it is let go.
type Move struct {
	mirror *Mirror
	opt    Options
	pair   *pair
	began  time.Time
	source *side

	copied, checked, expected atomic.Int64 // records
	differences               differences

	mu    sync.Mutex
	phase Phase
	since time.Time // of the phase
	why   error     // it is Broken, or cannot be taken back any more

	ctx context.Context
	end context.CancelCauseFunc
}

// ErrRefused is what errors wrap that say what an operator must do before a
// store can be moved.
var ErrRefused = errors.New("the store cannot be moved")

// ErrBusy says that a move is under way already.
var ErrBusy = fmt.Errorf("%w: a move is under way; cancel it first", ErrRefused)

// Begin marks the target as a copy that must not be used, and has all writes
// repeated there from now on, or once Run has emptied it. What was there before
// comes with Run.
func (m *Mirror) Begin(ctx context.Context, opt Options) (*Move, error) {
	source := m.first.Load()
	if m.busy() {
		return nil, ErrBusy
	}
	if _, ok := source.Store.(auth.Walker); !ok {
		return nil, fmt.Errorf("%w: this kind of store cannot show all it holds", ErrRefused)
	}
	if _, ok := opt.Target.(auth.Walker); !ok {
		return nil, fmt.Errorf("%w: the new kind of store cannot show all it holds", ErrRefused)
	}
	_, erases := source.Store.(auth.Eraser)
	if _, ok := opt.Target.(auth.Eraser); erases && !ok {
		return nil, fmt.Errorf("%w: the new kind of store cannot erase a user's records, as this one can", ErrRefused)
	}
	v := &Move{mirror: m, opt: opt, began: opt.Now(), source: source}
	v.ctx, v.end = context.WithCancelCause(context.Background())
	v.pair = newPair(source, &side{Store: opt.Target, mask: auth.Version(rand.Uint64())}, opt.Now)
	if err := alone(ctx, source.Store, opt.Target); err != nil {
		return nil, err
	}
	if err := v.vacant(ctx); err != nil {
		return nil, err
	}
	if err := mark(ctx, v.pair.second, v.unfinished()); err != nil {
		return nil, err
	}
	m.gate.Lock()
	defer m.gate.Unlock()
	if m.move != nil {
		return nil, ErrBusy
	}
	m.move = v
	v.enter(Emptying)
	if !opt.Overwrite {
		m.pair = v.pair
	}
	return v, nil
}

func (m *Mirror) busy() bool {
	m.gate.RLock()
	defer m.gate.RUnlock()
	return m.move != nil
}

// unfinished is the target's mark.
func (v *Move) unfinished() *Mark { return &Mark{Peer: v.opt.From, At: v.began} }

// alone refuses stores that other processes use: what they write is not repeated.
func alone(ctx context.Context, stores ...auth.Store) error {
	for _, store := range stores {
		sharer, ok := store.(auth.Sharer)
		if !ok {
			continue
		}
		others, err := sharer.Others(ctx)
		if err != nil {
			return fmt.Errorf("looking for other nodes: %w", err)
		}
		if others > 0 {
			return fmt.Errorf("%w: %d other nodes use it, or the new one, and what they write would be lost; stop them first", ErrRefused, others)
		}
	}
	return nil
}

// errFound ends a walk at the first record.
var errFound = errors.New("a record")

// vacant wants a target without records, unless it may be emptied.
func (v *Move) vacant(ctx context.Context) error {
	if v.opt.Overwrite {
		return nil
	}
	err := v.opt.Target.(auth.Walker).Walk(ctx, func(auth.Write) error { return errFound })
	switch {
	case errors.Is(err, errFound):
		return fmt.Errorf("%w: %s holds records already; overwrite it if nobody needs them", ErrRefused, v.opt.To)
	case err != nil: // those of another root key, for one
		return fmt.Errorf("%w: %s cannot be looked through; overwrite it if nobody needs what it holds: %w", ErrRefused, v.opt.To, err)
	}
	return nil
}
