package gate

import (
	"net/http"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const (
	codeMethodNotAllowed auth.Code = "method_not_allowed"
	codeTooEarly         auth.Code = "too_early"
)

// Firewall takes out of a request whatever could pass for an identity of ours
// or open a tunnel around us. It comes before everything else, on every
// request, and refuses the methods that no upstream is to see.
func (g *Gate) Firewall(r *http.Request) *auth.Error {
	g.cleanHeader(r.Header)
	// Trailers arrive after the header has been checked. Without the map neither
	// HTTP/1 nor HTTP/2 can pass one on, declared or not.
	r.Trailer = nil
	if !webSocket(r.Header) {
		delete(r.Header, "Upgrade")
		filterTokens(r.Header, "Connection", isUpgrade)
	}
	// Methods are case-sensitive (RFC 9110 §9.1), but not to every upstream.
	if strings.EqualFold(r.Method, "TRACE") || strings.EqualFold(r.Method, "TRACK") || strings.EqualFold(r.Method, "CONNECT") {
		return auth.Refuse(codeMethodNotAllowed)
	}
	// What came before the handshake was complete (0-RTT of HTTP/3), somebody
	// may have recorded and sent again. Clients repeat it later (RFC 8470 §5.2).
	if r.TLS != nil && !r.TLS.HandshakeComplete && !safeMethod(r.Method) {
		return auth.Refuse(codeTooEarly)
	}
	return nil
}

func (g *Gate) cleanHeader(h http.Header) {
	for name := range h {
		switch {
		case hasFoldedPrefix(name, g.prefix):
			delete(h, name)
		case special(name):
			delete(h, name)
		}
	}
	// The proxy removes the headers that Connection names after we have set ours
	// (RFC 9110 §7.6.1), so a client could name them.
	if values, ok := h["Connection"]; ok && g.namesOurs(values) {
		filterTokens(h, "Connection", func(token string) bool { return hasFoldedPrefix(token, g.prefix) })
	}
}

// special reports names that go away: Trailer, and the headers which we read,
// in a spelling that net/http would have made canonical but something before
// us did not. Reading one spelling and passing on another is a way around us.
func special(name string) bool {
	switch len(name) {
	case len("Cookie"):
		return name != "Cookie" && strings.EqualFold(name, "Cookie")
	case len("Trailer"): // and Upgrade
		return strings.EqualFold(name, "Trailer") || name != "Upgrade" && strings.EqualFold(name, "Upgrade")
	case len("Connection"):
		return name != "Connection" && strings.EqualFold(name, "Connection")
	case len("Authorization"):
		return name != "Authorization" && strings.EqualFold(name, "Authorization")
	}
	return false
}

// webSocket reports whether the request asks for exactly one upgrade, to a
// WebSocket. Anything else that the upstream accepts with a 101, such as h2c,
// would be a tunnel whose requests nobody checks.
func webSocket(h http.Header) bool {
	values := h["Upgrade"]
	return len(values) == 1 && strings.EqualFold(values[0], "websocket")
}

func isUpgrade(token string) bool { return strings.EqualFold(token, "upgrade") }

func (g *Gate) namesOurs(values []string) bool {
	for _, value := range values {
		for token := range strings.SplitSeq(value, ",") {
			if hasFoldedPrefix(trimSpace(token), g.prefix) {
				return true
			}
		}
	}
	return false
}

// filterTokens drops the tokens of a comma-separated header that drop names.
// Values without such a token stay as they are.
func filterTokens(h http.Header, name string, drop func(token string) bool) {
	var kept []string
	values := h[name]
	changed := false
	for _, value := range values {
		changed = changed || anyToken(value, drop)
	}
	if !changed {
		return
	}
	for _, value := range values {
		if value = withoutTokens(value, drop); value != "" {
			kept = append(kept, value)
		}
	}
	if len(kept) == 0 {
		delete(h, name)
		return
	}
	h[name] = kept
}

func anyToken(value string, is func(string) bool) bool {
	for token := range strings.SplitSeq(value, ",") {
		if is(trimSpace(token)) {
			return true
		}
	}
	return false
}

func withoutTokens(value string, drop func(string) bool) string {
	if !anyToken(value, drop) {
		return value
	}
	var kept []string
	for token := range strings.SplitSeq(value, ",") {
		if token = trimSpace(token); token != "" && !drop(token) {
			kept = append(kept, token)
		}
	}
	return strings.Join(kept, ", ")
}

// trimSpace removes the white space that anybody could overlook. It makes no set
// of it first, as strings.Trim does: it runs many times for every request.
func trimSpace(s string) string { return trim(s, isSpace) }

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func trim(s string, away func(byte) bool) string {
	for s != "" && away(s[0]) {
		s = s[1:]
	}
	for s != "" && away(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// foldByte reads letters in lower case and every byte that is neither letter
// nor digit as '-', as CGI, FastCGI and WSGI upstreams do with '_' and others
// with a dozen more.
func foldByte(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	case 'A' <= c && c <= 'Z':
		return c + ('a' - 'A')
	}
	return '-'
}

func foldName(name string) string {
	folded := []byte(name)
	for i, c := range folded {
		folded[i] = foldByte(c)
	}
	return string(folded)
}

// hasFoldedPrefix reports whether a header's name, folded, begins with the
// folded prefix. It makes no string: it runs for every header of every request.
func hasFoldedPrefix(name, folded string) bool {
	if len(name) < len(folded) {
		return false
	}
	for i := range len(folded) {
		if foldByte(name[i]) != folded[i] {
			return false
		}
	}
	return true
}
