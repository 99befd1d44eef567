package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// calls counts what is in flight, so that Close can wait for it.
type calls struct {
	mu      sync.Mutex
	running int
	closed  bool
	failed  error // why nothing is done any more
	idle    chan struct{}
}

var errClosed = fmt.Errorf("%w: the store is closed", auth.ErrUnavailable)

func (c *calls) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	if c.failed != nil {
		return c.failed
	}
	c.running++
	return nil
}

func (c *calls) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	if c.closed && c.running == 0 {
		close(c.idle)
	}
}

// fail refuses new calls, with an error that says why.
func (c *calls) fail(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = why
}

// close refuses new calls and returns what is closed when none is left.
func (c *calls) close() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.idle = make(chan struct{})
	if c.running == 0 {
		close(c.idle)
	}
	return c.idle
}

func (c *calls) closing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// run carries f out while the context lasts. Badger knows no context and may
// stall on a slow disk, so f has a goroutine of its own; when the caller has
// gone, f still ends, and Close waits for it.
func run[T any](ctx context.Context, c *calls, f func() (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, unavailable(err)
	}
	if err := c.enter(); err != nil {
		return none, err
	}
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		defer c.leave()
		var a answer
		a.err = guard(func() (err error) {
			a.v, err = f()
			return err
		})
		done <- a
	}()
	select {
	case a := <-done:
		if a.err != nil {
			return none, unavailable(a.err)
		}
		return a.v, nil
	case <-ctx.Done():
		return none, unavailable(ctx.Err())
	}
}

// guard turns a panic into an error. That includes a page of a mapped file
// which the disk cannot deliver, when f itself touches it.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the engine failed: %v", r)
		}
	}()
	return f()
}

// unavailable gives an error the class that the contract asks for.
func unavailable(err error) error {
	switch {
	case err == nil, errors.Is(err, auth.ErrConflict), errors.Is(err, auth.ErrUnavailable):
		return err
	case errors.Is(err, badger.ErrConflict):
		return fmt.Errorf("%w: another transaction was faster", auth.ErrConflict)
	}
	return fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
}
