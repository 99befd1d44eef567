package gate

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Refuse answers a request that may not pass: a person who opens a page goes to
// the login page and comes back; everybody else gets the problem.
func (g *Gate) Refuse(w http.ResponseWriter, r *http.Request, refusal *auth.Error) {
	if refusal.Code == codeMethodNotAllowed {
		// RFC 9110 §15.5.6 asks for Allow. What else the upstream takes, it says itself.
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	credential := aboutCredential(refusal.Code)
	if !credential || g.pages == "" || !navigation(r) {
		g.config.Problem(w, r, refusal, credential)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept, Authorization, Cookie, Sec-Fetch-Mode, Sec-Fetch-Site, Sec-Fetch-Dest")
	h.Set("Location", g.config.Pages+"/login?return_to="+url.QueryEscape(g.ReturnTo(g.config.OriginalURI(r))))
	w.WriteHeader(http.StatusSeeOther) // no body: http.Redirect's would repeat the path
}

// navigation reports whether a person's browser opens a page. Fetch Metadata
// says so; without it, the wish for HTML does.
func navigation(r *http.Request) bool {
	if handshake(r.Header) {
		return false
	}
	if mode := r.Header["Sec-Fetch-Mode"]; len(mode) > 0 {
		return len(mode) == 1 && mode[0] == "navigate"
	}
	if len(r.Header["Sec-Fetch-Site"])+len(r.Header["Sec-Fetch-Dest"]) > 0 {
		return false
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for _, accept := range r.Header["Accept"] {
		if strings.Contains(strings.ToLower(accept), "text/html") {
			return true
		}
	}
	return false
}

const maxReturnTo = 2048

// returnPages are our own pages that a login may lead to. They are compared as
// they are written: no query, no other spelling.
var returnPages = []string{"/account", "/account/phone"}

// ReturnTo makes sure that where a login leads is a path of this origin and not
// one of our own, but for returnPages (CWE-601). Everything else becomes
// "/": a login that leads to the login would never end.
func (g *Gate) ReturnTo(text string) string {
	if !localPath(text) {
		return "/"
	}
	p, _, _ := strings.Cut(text, "?")
	p, _, _ = strings.Cut(p, "#")
	r := &http.Request{URL: &url.URL{Path: p}, RequestURI: p}
	if decoded, ok := unescape(p); ok {
		r.URL.Path = decoded
	}
	place, _ := g.Own(r)
	page, below := strings.CutPrefix(text, g.config.Pages)
	if place == Upstream || place == Pages && below && slices.Contains(returnPages, page) {
		return text
	}
	return "/"
}

// localPath reports whether browsers stay on this origin: they read '\' as '/',
// drop tabs and line ends, and take '//' for another host.
func localPath(text string) bool {
	if len(text) > maxReturnTo || text == "" || text[0] != '/' {
		return false
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return false
		}
	}
	p, _, _ := strings.Cut(text, "?")
	return !strings.Contains(p, "//")
}
