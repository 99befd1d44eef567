package caddymodule

import (
	"strings"
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

// Stored counts the records of each kind that the store in use has.
func Stored(t *testing.T) map[string]int {
	t.Helper()
	app, err := caddy.ActiveContext().AppIfConfigured("sidegate")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	store := app.(*App).running.Load().engine.store.(auth.Snapshotter)
	err = store.Snapshot(t.Context(), func(w auth.Write) error {
		kind, _, _ := strings.Cut(w.Key, "/")
		kinds[kind]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}
