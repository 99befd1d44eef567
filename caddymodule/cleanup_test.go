package caddymodule

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// appWith is an app that runs, with a store that holds nothing.
func appWith(t *testing.T, directory auth.Directory) *App {
	t.Helper()
	reader, writer := io.Pipe()
	t.Cleanup(func() { reader.Close() })
	e := &engine{home: home{address: t.Name(), close: writer}, leases: map[string]bool{}, live: auth.NewLive(1), stop: func() {}}
	if _, _, err := engines.LoadOrNew(t.Name(), func() (caddy.Destructor, error) { return e.lease(t.Name()), nil }); err != nil {
		t.Fatal(err)
	}
	a := new(App)
	a.running.Store(&runtime{engine: e, address: t.Name(), queue: sender.NewQueue(sender.Options{}), directory: directory, subscribers: new(subscribers), stop: func() {}})
	return a
}

// A request of the old configuration may reach our routes only after Cleanup.
// It must be answered, and not wait for a lock that nobody gives back.
func TestCleanupHoldsUpNoLateRequest(t *testing.T) {
	a := appWith(t, nil)
	if err := a.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if !a.calls.TryRLock() {
		t.Fatal("the lock is kept")
	}
	a.calls.RUnlock()
}

// closable is a directory that has to be closed.
type closable struct{ closed bool }

func (*closable) Resolve(context.Context, string, string) (auth.Account, error) {
	return auth.Account{}, nil
}

func (c *closable) Close() error {
	c.closed = true
	return nil
}

// At a reload people are still signing in: the directory answers until they are
// through.
func TestTheDirectoryOutlivesItsQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := new(closable)
		a := appWith(t, directory)
		a.calls.RLock() // a request is under way
		done := make(chan error)
		go func() { done <- a.Cleanup() }()
		time.Sleep(drain / 2)
		if directory.closed {
			t.Error("it was closed before the last question")
		}
		a.calls.RUnlock()
		if err := <-done; err != nil || !directory.closed {
			t.Errorf("closed: %v, %v", directory.closed, err)
		}
	})
}
