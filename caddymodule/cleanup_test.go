package caddymodule

import (
	"io"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// A request of the old configuration may reach our routes only after Cleanup.
// It must be answered, and not wait for a lock that nobody gives back.
func TestCleanupHoldsUpNoLateRequest(t *testing.T) {
	reader, writer := io.Pipe()
	defer reader.Close()
	e := &engine{address: t.Name(), close: writer, live: auth.NewLive(1), stop: func() {}}
	if _, _, err := engines.LoadOrNew(e.address, func() (caddy.Destructor, error) { return e, nil }); err != nil {
		t.Fatal(err)
	}
	a := new(App)
	a.running.Store(&runtime{engine: e, queue: sender.NewQueue(sender.Options{})})
	if err := a.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if !a.calls.TryRLock() {
		t.Fatal("the lock is kept")
	}
	a.calls.RUnlock()
}
