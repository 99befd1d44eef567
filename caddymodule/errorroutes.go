package caddymodule

import (
	"encoding/json"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/sidegate/sidegate/caddymodule/internal/gate"
)

// Caddy takes a request to the error routes of its server after the first error
// on its way. That may come before the gate: from try_files, or for a method of
// 33 letters, which any client can send. So error routes that lead to an app
// need a gate of their own.

// passed is the passage of a request that has come to an error route from
// behind a gate; nil for any other. Elsewhere a second gate is for itself.
func passed(r *http.Request) *gate.Passage {
	if _, failed := r.Context().Value(caddyhttp.ErrorCtxKey).(error); !failed {
		return nil
	}
	before, _ := caddyhttp.GetVar(r.Context(), passageVar).(*gate.Passage)
	return before
}

// inErrors reports whether the error routes are being provisioned: after all
// others, and what is provisioned has lost its raw form.
func inErrors(server *caddyhttp.Server) bool {
	return server.Errors != nil && !isRaw(server.Routes) && isRaw(server.Errors.Routes)
}

func isRaw(routes caddyhttp.RouteList) bool {
	for _, route := range routes {
		if len(route.HandlersRaw) > 0 {
			return true
		}
	}
	return false
}

// errorsPassOn reports whether error routes, which must still be raw, lead to an
// app and past no gate.
func errorsPassOn(ctx caddy.Context) bool {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return ok && server.Errors != nil && passOn(server.Errors.Routes)
}

func passOn(routes caddyhttp.RouteList) bool {
	for _, route := range routes {
		for _, raw := range route.HandlersRaw {
			var module struct {
				Handler string
				Routes  caddyhttp.RouteList
			}
			_ = json.Unmarshal(raw, &module) // what it cannot read, Caddy will refuse
			switch {
			case module.Handler == "sidegate" && len(route.MatcherSetsRaw) == 0:
				return false
			case module.Handler == "reverse_proxy", passOn(module.Routes):
				return true
			}
		}
	}
	return false
}
