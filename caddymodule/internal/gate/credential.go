package gate

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Credential is what a request shows of itself. At most one of Token and Cookie
// is set.
type Credential struct {
	Token     string // an access token that is, or pretends to be, ours
	Cookie    string // the value of our cookie
	HasCookie bool
	Foreign   bool // a bearer token of somebody else, left in the request
}

// Credential takes our credential out of the request, so that the upstream
// never has it, and leaves everybody else's. What could be read in two ways is
// refused: two sides that pick different ones would serve different people.
func (g *Gate) Credential(r *http.Request) (c Credential, refusal *auth.Error) {
	var repeated bool
	c.Cookie, c.HasCookie, repeated = takeCookie(r.Header, g.config.CookieName(r))
	if repeated {
		return c, invalid("The session cookie came more than once.")
	}
	values := r.Header["Authorization"]
	if len(values) > 1 {
		return c, invalid("There is more than one Authorization header.")
	}
	if len(values) == 0 {
		return c, nil
	}
	if refusal := g.takeBearer(r.Header, values[0], &c); refusal != nil {
		return c, refusal
	}
	if c.Token != "" && c.HasCookie {
		return c, invalid("Use the access token or the session cookie, not both.")
	}
	return c, nil
}

// Bearer reads the value of an Authorization header (RFC 6750 §2.1). The scheme
// may be in any letter case, and more than one space may follow it (RFC 9110
// §11.4). isBearer tells whether it is that scheme; isOne, whether no more than
// one token follows. The routes read by it too: what passes in one place must
// not be refused in the other.
func Bearer(value string) (token string, isBearer, isOne bool) {
	scheme, rest := splitScheme(value)
	return rest, strings.EqualFold(scheme, "Bearer"), oneWord(rest)
}

// takeBearer reads the one Authorization header.
func (g *Gate) takeBearer(h http.Header, value string, c *Credential) *auth.Error {
	token, isBearer, isOne := Bearer(value)
	if !isBearer {
		// A token of ours under another scheme is not a credential, but some
		// upstreams would read it as one.
		if slices.ContainsFunc(strings.FieldsFunc(value, endsToken), g.config.Tokens.IsOurs) {
			delete(h, "Authorization")
		}
		return nil
	}
	if !isOne {
		return invalid("The Authorization header does not hold exactly one token.")
	}
	if !g.config.Tokens.IsOurs(token) {
		c.Foreign = true
		return nil
	}
	c.Token = token
	delete(h, "Authorization")
	return nil
}

// oneWord is !strings.ContainsAny(s, " \t,"), which took longer than all else
// that the gate does: a token is long, and these three have help from the
// processor.
func oneWord(s string) bool {
	return strings.IndexByte(s, ' ') < 0 && strings.IndexByte(s, '\t') < 0 && strings.IndexByte(s, ',') < 0
}

func splitScheme(value string) (scheme, rest string) {
	value = trimSpace(value)
	for i := range len(value) {
		if value[i] == ' ' || value[i] == '\t' {
			return value[:i], trimSpace(value[i:])
		}
	}
	return value, ""
}

// endsToken reports what may stand around an access token under another scheme:
// `Token x`, `Bearer=x`, `Token token="x", nonce="y"`.
func endsToken(c rune) bool { return strings.ContainsRune(" \t=:,;\"'", c) }

func invalid(detail string) *auth.Error {
	return auth.Refuse(auth.CodeInvalidRequest).Because(detail)
}
