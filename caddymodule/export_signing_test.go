package caddymodule

import "time"

// SetHeadStart changes how long a new signing key is known before it signs. Call
// it before Caddy runs.
func SetHeadStart(d time.Duration) { headStart = d }
