package doctor

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
)

// trustedProxies looks for client addresses that clients can choose: a trusted
// proxy adds to X-Forwarded-For on the right, and Caddy reads its left end
// unless it is told to be strict.
func trustedProxies(_ context.Context, _ *Patient, c *config) (found []Finding, _ string) {
	isForwardedFor := func(header string) bool { return strings.EqualFold(header, "X-Forwarded-For") }
	for _, s := range c.servers() {
		reads := len(s.ClientIPHeaders) == 0 || slices.ContainsFunc(s.ClientIPHeaders, isForwardedFor)
		if s.TrustedProxies != nil && s.Strict == 0 && reads {
			return []Finding{{
				"trusted_proxies without trusted_proxies_strict: clients can write their own address, so limits by address protect nothing.",
				"Add trusted_proxies_strict to the servers global option.",
			}}, ""
		}
	}
	return nil, ""
}

// adminEndpoint looks whether others can reach it. It has no sign-in, and who is
// there can read every user and replace the configuration.
func adminEndpoint(_ context.Context, p *Patient, c *config) (found []Finding, skipped string) {
	if c.Admin.Disabled {
		return nil, "the admin endpoint is off"
	}
	if c.Admin.Listen == "" {
		return nil, "" // localhost:2019
	}
	listen, err := p.Resolve(c.Admin.Listen)
	if err != nil {
		return nil, "its address has no value here"
	}
	host, ok := listenHost(listen)
	if ip := net.ParseIP(host); !ok || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil, ""
	}
	return []Finding{{
		fmt.Sprintf("The admin endpoint listens on %s, where others can reach it: they need no password to read every user or to replace the configuration.", listen),
		"Use the default, localhost:2019, or a unix socket: admin unix//run/caddy/admin.sock",
	}}, ""
}

// listenHost is the host that an address of Caddy listens on, empty for all;
// ok is false when it is a socket.
func listenHost(address string) (host string, ok bool) {
	if network, rest, has := strings.Cut(address, "/"); has {
		if !strings.HasPrefix(network, "tcp") {
			return "", false
		}
		address = rest
	}
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host, true
	}
	return address, true
}
