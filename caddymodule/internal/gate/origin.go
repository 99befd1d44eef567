package gate

import (
	"net/http"
	"net/url"
	"strings"
)

// CrossOrigin reports whether a browser sends this request from another origin
// and it could change something: an unsafe method, or the handshake of a
// WebSocket, which no same-origin policy protects. It is meant for credentials
// that browsers attach by themselves. origin is the site's own public one, or
// empty.
//
// As in net/http's CrossOriginProtection, Sec-Fetch-Site decides where it is
// sent (all browsers since 2023); else Origin must name this host. A request
// with neither is not from a browser, or is from this site, and passes. Unlike
// there, a header that stands twice or says something unknown refuses, and a
// page without TLS is not of the same origin as the site with TLS.
func CrossOrigin(r *http.Request, origin string) bool {
	if safeMethod(r.Method) && !handshake(r.Header) {
		return false
	}
	if sites := r.Header["Sec-Fetch-Site"]; len(sites) > 0 {
		return len(sites) > 1 || sites[0] != "same-origin" && sites[0] != "none"
	}
	switch origins := r.Header["Origin"]; len(origins) {
	case 0:
		return false
	case 1:
		return !sameOrigin(r, origins[0], origin)
	}
	return true
}

func safeMethod(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

func handshake(h http.Header) bool {
	return len(h["Upgrade"]) > 0 || len(h["Sec-Websocket-Key"]) > 0
}

func sameOrigin(r *http.Request, from, own string) bool {
	if own != "" && strings.EqualFold(from, strings.TrimSuffix(own, "/")) {
		return true
	}
	u, err := url.Parse(from)
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" {
		return false // also "null", the origin of sandboxed pages
	}
	if r.TLS != nil && u.Scheme != "https" {
		return false
	}
	return strings.EqualFold(withoutPort(u.Host, u.Scheme), withoutPort(r.Host, u.Scheme))
}

// withoutPort removes the scheme's own port, which Origin never names and some
// clients name in Host.
func withoutPort(host, scheme string) string {
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}
