package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/move"
)

// transfer is a move of an engine's records, with the two stores.
type transfer struct {
	*move.Move
	from, to home
	back     func()        // has the table listen as before
	ended    chan struct{} // closed when nothing is written any more to the store that does not answer
}

// errSameStore refuses a move that leads nowhere.
var errSameStore = fmt.Errorf("%w: the records are in this store already", move.ErrRefused)

// transferTo begins to take the records to another store.
func (e *engine) transferTo(ctx context.Context, m Store, opt move.Options) (*transfer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openTimeout)
	defer cancel()
	e.moving.Lock()
	defer e.moving.Unlock()
	if e.transfer != nil && !e.transfer.over() {
		return nil, move.ErrBusy
	}
	to := home{address: m.Address(), place: placeOf(m)}
	if to.address == e.home.address {
		return nil, errSameStore
	}
	var err error
	if to.store, to.close, err = m.Open(ctx, e.seal, e.log); err != nil {
		return nil, fmt.Errorf("%w: %w", move.ErrRefused, err)
	}
	opt.Target, opt.From, opt.To, opt.Now = to.store, e.home.place, to.place, time.Now
	v, err := e.mirror.Begin(ctx, opt)
	if err != nil {
		return nil, errors.Join(err, to.close.Close())
	}
	t := &transfer{Move: v, from: e.home, to: to, ended: make(chan struct{})}
	e.transfer = t
	e.expect(to.address)
	go e.run(t)
	return t, nil
}

// run carries a move out. A target that is of no use is closed at its end.
func (e *engine) run(t *transfer) {
	err := t.Run()
	close(t.ended)
	e.moving.Lock()
	defer e.moving.Unlock()
	if t.Phase() == move.Moved {
		if err != nil {
			e.log.Warn("the store that the records were in has missed something, so they cannot be taken back", "error", err)
		}
		return
	}
	forgetDestination(t.to.address)
	if err != nil {
		e.log.Error("the records stay where they are", "store", t.from.place, "error", err)
		e.tell(auth.Event{Name: auth.EventStoreMoveEnded, Before: t.from.place, After: t.to.place, Cause: "broken"})
	}
	if err := t.to.close.Close(); err != nil {
		e.log.Warn("closing the store that the records did not come to", "error", err)
	}
}

// over reports whether another move may begin.
func (t *transfer) over() bool {
	select {
	case <-t.ended:
		return true
	default:
		return false
	}
}

// finish lets the former store go.
func (t *transfer) finish() error {
	t.End()
	<-t.ended
	forgetDestination(t.to.address)
	return t.from.close.Close()
}

// settleMove ends a move with the engine. Stores that are in step are handed over:
// the next start finds the records in the new one, and is refused by the former.
func (e *engine) settleMove() error {
	e.moving.Lock()
	t := e.transfer
	if t == nil || t.over() {
		e.moving.Unlock()
		return nil
	}
	if t.Phase() == move.InStep {
		ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
		defer cancel()
		if err := t.HandOver(ctx); err != nil {
			e.log.Error("the records stay where they are", "store", t.from.place, "error", err)
		} else {
			e.log.Warn("the records are in their new store; the next start needs it in the configuration", "store", t.to.place)
		}
	}
	if t.Phase() == move.Moved {
		defer e.moving.Unlock()
		e.home = t.to
		return t.finish()
	}
	e.moving.Unlock()
	t.End() // run closes the target
	<-t.ended
	return nil
}
