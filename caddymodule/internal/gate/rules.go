package gate

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
)

// Place is who answers a request.
type Place uint8

const (
	// Upstream is everything that is not ours.
	Upstream Place = iota
	// API is a path below Config.API.
	API
	// Pages is a path below Config.Pages.
	Pages
	// Nowhere is an odd spelling of a path of ours: it gets a 404 and never
	// reaches the upstream, which could take it for a route of its own.
	Nowhere
)

func (g *Gate) setOwn() error {
	g.api, g.pages = g.config.API, g.config.Pages
	for _, own := range [...]struct{ key, path string }{{"api", g.api}, {"pages", g.pages}} {
		if own.path == "" && own.key == "pages" {
			continue
		}
		plain := plainPath(own.path) && isASCII(own.path) && !hasLooseEnd(own.path) && path.Clean(own.path) == own.path && own.path != "/"
		if !plain || strings.ContainsAny(own.path, "*?# ") {
			return fmt.Errorf("%s %q: use a plain path such as /auth, without a '/' at the end", own.key, own.path)
		}
	}
	g.api, g.pages = foldPath(g.api, true), foldPath(g.pages, true)
	if g.api == g.pages {
		return errors.New("api and pages must be different paths")
	}
	return nil
}

// Own tells whose a request is. For API and Pages, rest is the decoded path
// after the prefix: empty, or beginning with '/'.
func (g *Gate) Own(r *http.Request) (place Place, rest string) {
	if oneReading(r) {
		return g.ownPlain(r)
	}
	all, ok := readings(r)
	if !ok {
		return Nowhere, "" // it may be one of ours
	}
	for _, reading := range all {
		if g.ownPath(foldPath(reading, true)) != Upstream {
			return Nowhere, ""
		}
	}
	return Upstream, ""
}

func (g *Gate) ownPlain(r *http.Request) (Place, string) {
	p := r.URL.Path
	place := g.ownPath(foldPath(p, true))
	if place == Upstream && len(r.RequestURI) > 0 && r.RequestURI[0] == '/' {
		// Before us somebody may have changed URL and not RequestURI, or the
		// other way round: ours by either is ours.
		if decoded := decodedTarget(r); decoded != p && g.ownPath(foldPath(decoded, true)) != Upstream {
			return Nowhere, ""
		}
	}
	switch {
	case place == Upstream:
		return Upstream, ""
	case g.ownPath(foldPath(p, false)) != place:
		return Nowhere, "" // by a letter that only looks like ours
	case place == API:
		return API, p[len(g.api):]
	}
	return Pages, p[len(g.pages):]
}

// ownPath finds the prefix of a folded path; the longer one when one of ours
// lies below the other.
func (g *Gate) ownPath(folded string) Place {
	api, pages := below(folded, g.api), g.pages != "" && below(folded, g.pages)
	switch {
	case api && (!pages || len(g.api) > len(g.pages)):
		return API
	case pages:
		return Pages
	}
	return Upstream
}

func below(p, prefix string) bool {
	return strings.HasPrefix(p, prefix) && (len(p) == len(prefix) || p[len(prefix)] == '/')
}

// isPublic reports whether a request needs no session. A path that can be read
// in two ways never is, whatever a named matcher says of it.
func (g *Gate) isPublic(r *http.Request) bool {
	if len(g.public)+len(g.config.PublicMatch) == 0 || !Plain(r) {
		return false
	}
	decoded := decodedTarget(r)
	if g.publicPath(r.URL.Path) && (decoded == r.URL.Path || g.publicPath(decoded)) {
		return true
	}
	// A matcher may also say what is not public ("not path /admin/*"), and that
	// must hold of what an upstream on Windows, or one that normalizes, reads.
	other := r
	if p := withoutLooseEnds(narrow(r.URL.Path)); p != r.URL.Path {
		other = withPath(r, p)
	}
	for _, match := range g.config.PublicMatch {
		if match(r) && (other == r || match(other)) {
			return true
		}
	}
	return false
}

func (g *Gate) publicPath(p string) bool {
	folded := foldPath(p, false)
	for _, public := range g.public {
		if public.open(folded) {
			return true
		}
	}
	return false
}

// requirements calls hold for every rule that matches the request, until one
// does not.
func (g *Gate) requirements(r *http.Request, hold func(rule) error) error {
	if len(g.rules) == 0 {
		return nil
	}
	plain := oneReading(r)
	var paths, folded []string
	readable := true
	if !plain {
		if paths, readable = readings(r); readable {
			folded = foldAll(paths)
		}
	}
	for _, rule := range g.rules {
		if plain && rule.matchesPlain(r) || !plain && (!readable || rule.matchesAny(r, paths, folded)) {
			if err := hold(rule); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c rule) matchesPlain(r *http.Request) bool {
	if c.closesPath(foldPath(r.URL.Path, true)) {
		return true
	}
	if len(c.paths) > 0 {
		if decoded := decodedTarget(r); decoded != r.URL.Path && c.closesPath(foldPath(decoded, true)) {
			return true
		}
	}
	return c.matchesNamed(r)
}

// matchesAny holds a path against every reading, and asks the named matchers
// about a request with each of them.
func (c rule) matchesAny(r *http.Request, paths, folded []string) bool {
	if slices.ContainsFunc(folded, c.closesPath) {
		return true
	}
	if len(c.match) == 0 {
		return false
	}
	if c.matchesNamed(r) {
		return true
	}
	for _, p := range paths {
		if c.matchesNamed(withPath(r, p)) {
			return true
		}
	}
	return false
}

// foldAll folds the readings once for all rules, however many there are.
func foldAll(paths []string) []string {
	folded := make([]string, len(paths))
	for i, p := range paths {
		folded[i] = foldPath(p, true)
	}
	slices.Sort(folded)
	return slices.Compact(folded)
}

func (c rule) matchesNamed(r *http.Request) bool {
	for _, match := range c.match {
		if match(r) {
			return true
		}
	}
	return false
}

// withPath is the request as an upstream with that reading sees it.
func withPath(r *http.Request, p string) *http.Request {
	other := r.WithContext(r.Context())
	u := *r.URL
	u.Path, u.RawPath = p, ""
	other.URL, other.RequestURI = &u, u.RequestURI()
	return other
}
