package caddymodule

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// clientIP is the address that Caddy holds to be the client's; empty when there
// is none, as on a unix socket.
func clientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}

// isNear reports whether the client is on this machine. What another proxy has
// forwarded is not, whatever address it seems to come from.
func isNear(r *http.Request) bool {
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"} {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	addr, err := netip.ParseAddr(clientIP(r))
	return err == nil && addr.Unmap().IsLoopback()
}

// clientChoosesIP reports whether the client could write the address that limits
// count: a trusted proxy adds to X-Forwarded-For on the right, and Caddy reads
// its left end unless it is told to be strict. It is asked at requests, because
// a server does not tell its handlers whom it trusts.
func clientChoosesIP(r *http.Request) bool {
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); !trusted {
		return false
	}
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	isForwardedFor := func(header string) bool { return strings.EqualFold(header, "X-Forwarded-For") }
	return ok && server.TrustedProxiesStrict == 0 && slices.ContainsFunc(server.ClientIPHeaders, isForwardedFor)
}
