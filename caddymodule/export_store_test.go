package caddymodule

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// SetStoreTimeout changes what a call of the store may take, while no Caddy
// runs, and gives what it was.
func SetStoreTimeout(d time.Duration) (before time.Duration) {
	before, storeTimeout = storeTimeout, d
	return before
}

// Stored gives all records that the store in use has, by their keys.
func Stored(t *testing.T) map[string]auth.Write {
	t.Helper()
	all := map[string]auth.Write{}
	err := inUse(t).(auth.Snapshotter).Snapshot(t.Context(), func(w auth.Write) error { all[w.Key] = w; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// StoreRecord writes a record to the store in use.
func StoreRecord(t *testing.T, w auth.Write) {
	t.Helper()
	if err := inUse(t).Put(t.Context(), []auth.Write{w}); err != nil {
		t.Fatal(err)
	}
}

func inUse(t *testing.T) auth.Store {
	t.Helper()
	app, err := caddy.ActiveContext().AppIfConfigured("sidegate")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*App).running.Load().engine.store
}
