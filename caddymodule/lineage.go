package caddymodule

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

var errSecondGate = errors.New("sidegate is given twice on the way of the same requests: keep one; the first takes the credential out of the request, so behind it nobody is signed in")

// checkSole refuses a gate behind another one: in the same block, or in one
// around it. The adapter cannot see that, because Caddy gives directives no
// state that ends with their site; so it is seen here, in the routes that lead
// to this handler. A gate whose route has matchers may be for other requests.
func checkSole(ctx caddy.Context) error {
	var lists []caddyhttp.RouteList
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && !inErrors(server) {
		lists = append(lists, server.Routes)
	}
	for _, ancestor := range ctx.Modules() {
		if subroute, ok := ancestor.(*caddyhttp.Subroute); ok {
			lists = append(lists, subroute.Routes)
		}
	}
	for _, route := range slices.Concat(lists...) {
		// Routes are provisioned in their order: the one that this gate is in,
		// and those behind, have no handlers yet.
		before := len(route.MatcherSets) == 0 && slices.ContainsFunc(route.Handlers, isGate)
		if before || rawGates(route) > 1 {
			return errSecondGate
		}
	}
	return nil
}

func isGate(handler caddyhttp.MiddlewareHandler) bool {
	_, is := handler.(*Handler)
	return is
}

func rawGates(route caddyhttp.Route) (n int) {
	for _, raw := range route.HandlersRaw {
		var module struct{ Handler string }
		if json.Unmarshal(raw, &module) == nil && module.Handler == "sidegate" {
			n++
		}
	}
	return n
}
