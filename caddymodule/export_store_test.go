package caddymodule

import "time"

// SetStoreTimeout changes what a call of the store may take, while no Caddy
// runs, and gives what it was.
func SetStoreTimeout(d time.Duration) (before time.Duration) {
	before, storeTimeout = storeTimeout, d
	return before
}
