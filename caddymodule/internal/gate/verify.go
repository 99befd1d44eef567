package gate

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Verify answers another proxy's question whether a request may pass
// (GET {api}/verify): 204 with every identity header, 401 or 403. The Firewall
// has seen the request.
//
// The other proxy names the request in X-Forwarded-Method, -Uri and -Host. It
// must set them itself: a client that can write them chooses which rules it is
// judged by. That is why public paths do not count here, and why a header that
// stands twice is refused. Without them only the session is judged.
func (g *Gate) Verify(w http.ResponseWriter, r *http.Request) {
	p, refusal := g.verify(r)
	if refusal != nil {
		g.config.Problem(w, r, refusal, aboutCredential(refusal.Code))
		return
	}
	p.setValues()
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	for i, name := range g.headers {
		h[name] = p.values[i : i+1 : i+1] // the empty ones too: they overwrite the client's
	}
	w.WriteHeader(http.StatusNoContent)
}

func (g *Gate) verify(r *http.Request) (*Passage, *auth.Error) {
	c, refusal := g.Credential(r)
	if refusal != nil {
		return nil, refusal
	}
	asked, refusal := forwarded(r)
	if refusal != nil {
		return nil, refusal
	}
	for _, one := range asked {
		if c.HasCookie && CrossOrigin(one, g.config.Origin) {
			return nil, auth.Refuse(auth.CodeCrossOrigin)
		}
	}
	p := &Passage{gate: g}
	if refusal := p.identify(r, c, false); refusal != nil {
		return nil, refusal
	}
	for _, one := range asked {
		err := g.requirements(one, func(rule rule) error { return rule.holds(p.Identity, g.config.Now) })
		if err != nil {
			return nil, auth.AsError(err)
		}
	}
	return p, nil
}

// forwarded gives the requests that the headers of the usual proxies describe:
// one as a rule, and more when X-Original-* names others. All are judged.
func forwarded(r *http.Request) (asked []*http.Request, refusal *auth.Error) {
	host, ok := single(r.Header, "X-Forwarded-Host", r.Host)
	if !ok {
		return nil, invalid("X-Forwarded-Host came more than once.")
	}
	for i, names := range [...][2]string{
		{"X-Forwarded-Uri", "X-Forwarded-Method"}, {"X-Original-Uri", "X-Original-Method"}, {"X-Original-Url", "X-Original-Method"},
	} {
		uri, once := single(r.Header, names[0], "")
		method, once2 := single(r.Header, names[1], r.Method)
		if !once || !once2 {
			return nil, invalid(names[0] + " or " + names[1] + " came more than once.")
		}
		if i > 0 && uri == "" && method == r.Method {
			continue
		}
		one := r.WithContext(r.Context())
		one.Method, one.Host = strings.ToUpper(method), host
		if one.URL, one.RequestURI, ok = forwardedURL(r, uri); !ok {
			return nil, invalid(names[0] + " is not a request target.")
		}
		asked = append(asked, one)
	}
	return asked, nil
}

// forwardedURL reads a request target as net/http would.
func forwardedURL(r *http.Request, uri string) (u *url.URL, target string, ok bool) {
	if uri == "" {
		return r.URL, r.RequestURI, true
	}
	const longest = 16 << 10
	u, err := url.ParseRequestURI(uri)
	return u, uri, err == nil && len(uri) <= longest
}

func single(h http.Header, name, otherwise string) (value string, ok bool) {
	switch values := h[name]; len(values) {
	case 0:
		return otherwise, true
	case 1:
		return values[0], true
	}
	return "", false
}
