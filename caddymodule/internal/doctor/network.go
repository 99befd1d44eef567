package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// patience is how long a door may take to open.
const patience = 3 * time.Second

// hooks are the URLs that the configuration has us call: of senders, of the
// directory. Those that have no value here are left out.
func (p *Patient) hooks(c *config) (hooks map[string]*url.URL, paths []string, unknown bool) {
	hooks = map[string]*url.URL{}
	for _, t := range texts(c.Apps.Sidegate) {
		if t.key != "url" {
			continue
		}
		address, err := p.Resolve(t.value)
		if err != nil {
			unknown = true
			continue
		}
		if u, err := url.Parse(address); err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") {
			hooks[t.path] = u
			paths = append(paths, t.path)
		}
	}
	return hooks, paths, unknown
}

// senders knocks at whom we would call. Nothing is asked of them.
func senders(ctx context.Context, p *Patient, c *config) (found []Finding, skipped string) {
	hooks, paths, unknown := p.hooks(c)
	for _, path := range paths {
		if err := knock(ctx, hooks[path]); err != nil {
			found = append(found, Finding{
				fmt.Sprintf("%s: %s cannot be reached: %v.", path, hooks[path].Host, err),
				"Check that it runs, its name, its certificate, and what is between it and this machine.",
			})
		}
	}
	switch {
	case unknown:
		skipped = "an address has no value here"
	case len(paths) == 0:
		skipped = "nothing is called by URL"
	}
	return found, skipped
}

func knock(ctx context.Context, u *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	address := net.JoinHostPort(u.Hostname(), port)
	var conn net.Conn
	var err error
	if u.Scheme == "https" {
		conn, err = (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", address)
	} else {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return err
	}
	return conn.Close()
}

// around looks for ways to the app that do not lead through the gate: whoever
// knows one needs no session, and writes the identity headers as they like.
func around(ctx context.Context, p *Patient, c *config) (found []Finding, skipped string) {
	own, err := p.Own()
	if err != nil {
		return nil, "the addresses of this machine are not known: " + err.Error()
	}
	for _, u := range c.upstreams() {
		host, port, ok := p.tcp(u.dial)
		if !ok {
			continue
		}
		for _, ip := range resolve(ctx, host) {
			switch {
			case ip.IsLoopback() || slices.ContainsFunc(own, ip.Equal):
				found = append(found, open(ctx, u.dial, own, port)...)
			case !ip.IsPrivate() && !ip.IsLinkLocalUnicast():
				found = append(found, Finding{
					fmt.Sprintf("The app at %s has a public address (%s): whoever can reach it goes around the gate.", u.dial, ip),
					"Let a firewall admit this machine alone, or put the app on a private network.",
				})
			}
		}
	}
	return found, ""
}

// open reports the ways to a port of this machine from elsewhere.
func open(ctx context.Context, dial string, own []net.IP, port string) (found []Finding) {
	for _, ip := range own {
		if ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			continue
		}
		if knock(ctx, &url.URL{Scheme: "http", Host: net.JoinHostPort(ip.String(), port)}) == nil {
			return []Finding{{
				fmt.Sprintf("The app at %s listens on %s too: whoever reaches this machine's port %s goes around the gate.", dial, ip, port),
				"Bind the app to 127.0.0.1 or to a unix socket, or close the port in a firewall.",
			}}
		}
	}
	return nil
}

// plainHTTP looks for what travels readably: codes, and who is signed in.
func plainHTTP(ctx context.Context, p *Patient, c *config) (found []Finding, _ string) {
	hooks, paths, _ := p.hooks(c)
	for _, path := range paths {
		if u := hooks[path]; u.Scheme == "http" && slices.ContainsFunc(resolve(ctx, u.Hostname()), elsewhere) {
			found = append(found, Finding{
				fmt.Sprintf("%s leads to another machine (%s) over plain http: whoever is on the way can read it, and answer in its place.", path, u.Host),
				"Use https.",
			})
		}
	}
	for _, u := range c.upstreams() {
		host, _, ok := p.tcp(u.dial)
		public := func(ip net.IP) bool { return elsewhere(ip) && !ip.IsPrivate() && !ip.IsLinkLocalUnicast() }
		if ok && !u.tls && slices.ContainsFunc(resolve(ctx, host), public) {
			found = append(found, Finding{
				fmt.Sprintf("Requests go to the app at %s over the internet in plain http: whoever is on the way can read them, and change who is signed in.", u.dial),
				"Write reverse_proxy https://… , or use a private network.",
			})
		}
	}
	return found, ""
}

func elsewhere(ip net.IP) bool { return !ip.IsLoopback() }

// tcp takes a dial address apart; ok is false for a socket, for placeholders
// without a value, and for ranges of ports.
func (p *Patient) tcp(dial string) (host, port string, ok bool) {
	dial, err := p.Resolve(dial)
	if err != nil {
		return "", "", false
	}
	if network, rest, has := strings.Cut(dial, "/"); has {
		if !strings.HasPrefix(network, "tcp") {
			return "", "", false
		}
		dial = rest
	}
	host, port, err = net.SplitHostPort(dial)
	return host, port, err == nil
}

// resolve gives the addresses of a host; none when it has no name here.
func resolve(ctx context.Context, host string) []net.IP {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", cmp.Or(host, "localhost"))
	if err != nil {
		return nil
	}
	return ips
}

func ownAddresses() (ips []net.IP, err error) {
	addresses, err := net.InterfaceAddrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok {
			ips = append(ips, n.IP)
		}
	}
	return ips, err
}
