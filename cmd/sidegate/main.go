// Command sidegate is Caddy with the Sidegate plugin compiled in, and the page
// that Caddyfile.example shows.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/sidegate/sidegate/caddymodule"
	_ "github.com/sidegate/sidegate/caddymodule/demo"
	_ "github.com/sidegate/sidegate/caddymodule/redis"
	_ "github.com/sidegate/sidegate/caddymodule/sns"
	_ "github.com/sidegate/sidegate/caddymodule/sql"
)

func main() { caddycmd.Main() }
