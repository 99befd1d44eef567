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
	app, err := caddy.ActiveContext().AppIfConfigured("sidegate")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]auth.Write{}
	store := app.(*App).running.Load().engine.store.(auth.Snapshotter)
	err = store.Snapshot(t.Context(), func(w auth.Write) error { all[w.Key] = w; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all
}
