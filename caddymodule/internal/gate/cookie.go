package gate

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// The names of our cookie. The plain one is for development: browsers refuse
// the __Host- prefix without TLS (RFC 6265bis §4.1.3.2).
const (
	hostCookie  = "__Host-sidegate"
	plainCookie = "sidegate"
	// deviceSuffix ends the name of the cookie beside it that tells a browser
	// which has signed in before.
	deviceSuffix = "-device"
)

// DeviceCookieName is the name of the cookie of known browsers.
func DeviceCookieName(r *http.Request) string { return CookieName(r) + deviceSuffix }

// CookieName is the name of our cookie for a request: the plain one for plain
// HTTP on the loopback, else the one that only this very host can set.
func CookieName(r *http.Request) string {
	if r.TLS == nil && isLoopback(r.Host) && !forwardedTLS(r.Header) {
		return plainCookie
	}
	return hostCookie
}

// forwardedTLS reports whether a proxy in front, which may write its own idea of
// Host, says that the browser speaks TLS to it. That need not be true: whoever
// says so himself gets a cookie that is harder to use, and no other.
func forwardedTLS(h http.Header) bool {
	for _, line := range h["X-Forwarded-Proto"] {
		if strings.Contains(strings.ToLower(line), "https") {
			return true
		}
	}
	return false
}

func isLoopback(hostport string) bool {
	host := strings.Trim(hostport, "[]")
	if strings.IndexByte(hostport, ':') >= 0 { // else it would make an error for most requests
		if name, _, err := net.SplitHostPort(hostport); err == nil {
			host = name
		}
	}
	if strings.EqualFold(host, "localhost") || len(host) > 10 && strings.EqualFold(host[len(host)-10:], ".localhost") {
		return true
	}
	if c := host[max(0, len(host)-1):]; c == "" || c[0] > '9' && !strings.Contains(host, ":") {
		return false // a name: do not try to parse it as an address
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// looksOurs reports whether a cookie's name is, or to a careless reader could
// be, one of ours: in another case, with spaces or quotes around it, or after
// the '=' of a nameless cookie, which browsers send back without that '='.
func looksOurs(pair string) bool {
	name := cookieName(pair)
	if i := len(name) - len(deviceSuffix); i > 0 && strings.EqualFold(name[i:], deviceSuffix) {
		name = name[:i]
	}
	return strings.EqualFold(name, hostCookie) || strings.EqualFold(name, plainCookie)
}

// cookieName reads the name before the value, generously.
func cookieName(pair string) string {
	for pair != "" && (pair[0] == '=' || isDress(pair[0])) {
		pair = pair[1:]
	}
	if i := strings.IndexByte(pair, '='); i >= 0 {
		pair = pair[:i]
	}
	return trim(pair, isDress)
}

func isDress(c byte) bool { return isSpace(c) || c == '"' || c == '\'' }

// takeCookie removes every spelling of our cookies from the request and gives
// the value of the one that is spelled as name. Other cookies stay byte for
// byte. repeated says that there was more than one of that name.
func takeCookie(h http.Header, name string) (value string, found, repeated bool) {
	lines := h["Cookie"]
	seen, touched := 0, false
	for i, line := range lines {
		var s cookieScan
		s.run(line, name)
		if !s.ours {
			continue
		}
		if s.found {
			value, found = s.value, true
		}
		seen += s.seen
		lines[i], touched = s.rest, true
	}
	if touched {
		dropEmpty(h, lines)
	}
	return value, found, seen > 1
}

func dropEmpty(h http.Header, lines []string) {
	kept := lines[:0]
	for _, line := range lines {
		if line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

// cookieScan is what one Cookie line holds.
type cookieScan struct {
	rest  string // the line without ours
	value string
	found bool // exactly the name, and a value
	ours  bool // some spelling of ours
	seen  int  // how often the name stood there, in any dress
}

// run reads a line (RFC 6265 §4.2.1, and what clients make of it).
func (s *cookieScan) run(line, name string) {
	var pairs []string
	start := 0
	for start <= len(line) {
		end := len(line)
		if i := strings.IndexByte(line[start:], ';'); i >= 0 {
			end = start + i
		}
		pair := line[start:end]
		switch {
		case looksOurs(pair):
			s.take(pair, name, &pairs, line[:max(start-1, 0)], start)
		case s.ours:
			pairs = append(pairs, pair)
		}
		start = end + 1
	}
	if s.ours {
		s.rest = strings.Join(pairs, ";")
		if !strings.HasPrefix(line, " ") {
			s.rest = strings.TrimLeft(s.rest, " \t") // the space behind the one we took
		}
	}
}

// take notes one pair of ours. before is the line up to it, which so far has
// been read without keeping anything.
func (s *cookieScan) take(pair, name string, pairs *[]string, before string, start int) {
	if !s.ours && start > 0 {
		*pairs = append(*pairs, before)
	}
	s.ours = true
	if cookieName(pair) == name {
		s.seen++
	}
	exact := strings.Trim(pair, " \t")
	if value, ok := strings.CutPrefix(exact, name); ok && strings.HasPrefix(value, "=") {
		s.value, s.found = value[1:], true
	}
}

// setCookie is the line that gives the browser a successor. Without Max-Age,
// which 0 would leave out, it would live as long as the browser.
func setCookie(name, value string, maxAge time.Duration) string {
	c := http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: max(1, int(maxAge/time.Second)),
		HttpOnly: true, Secure: name != plainCookie, SameSite: http.SameSiteLaxMode,
	}
	return c.String()
}
