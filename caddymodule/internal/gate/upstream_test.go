package gate

import (
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
)

// upstreams are how real servers read a raw target, written without the code
// under test.
var upstreams = map[string]func(target string) string{
	"takes it as it is": func(s string) string { return s },
	"decodes, cleans":   func(s string) string { return path.Clean(decode(s)) },
	"cleans, decodes":   func(s string) string { return decode(path.Clean(s)) },
	"decodes twice":     func(s string) string { return path.Clean(decode(decode(s))) },
	"servlet":           func(s string) string { return path.Clean(decode(paramsOff(s))) },
	"servlet, late":     func(s string) string { return path.Clean(paramsOff(decode(s))) },
	"windows":           func(s string) string { return path.Clean(strings.ReplaceAll(decode(s), `\`, "/")) },
	"windows, a file":   func(s string) string { return path.Clean(looseEnd.ReplaceAllString(decode(s), "$1$2")) },
	"C":                 func(s string) string { s, _, _ = strings.Cut(decode(s), "\x00"); return path.Clean(s) },
	"normalizes":        func(s string) string { return path.Clean(wide.Replace(decode(s))) },
	"merges slashes":    func(s string) string { return strings.ReplaceAll(decode(s), "//", "/") },
}

// looseEnd is what stands between a name and the end of its segment.
var looseEnd = regexp.MustCompile(`([^/. ])[. ]+(/|$)`)

var wide = strings.NewReplacer("．", ".", "／", "/", "‥", "..", "ａ", "a", "Ａ", "A", "ｄ", "d", "ｎ", "n")

func decode(s string) string {
	if d, err := url.PathUnescape(s); err == nil {
		return d
	}
	return s
}

func paramsOff(s string) string {
	parts := strings.Split(s, "/")
	for i := range parts {
		parts[i], _, _ = strings.Cut(parts[i], ";")
	}
	return strings.Join(parts, "/")
}

// FuzzUpstream looks for a target that somebody without the role gets past us
// and that some upstream takes for a path below /admin.
func FuzzUpstream(f *testing.F) {
	for _, target := range spellings {
		f.Add(target)
	}
	g := newGate(f, &fake{}, func(c *Config) { c.Public = []string{"/*"} })
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || target[0] != '/' {
			return
		}
		r := &http.Request{Method: "GET", URL: u, RequestURI: target, Host: "app.example.com", Header: http.Header{"Authorization": {"Bearer ours-good"}}}
		if _, seen := ask(g, r); seen == nil {
			return
		}
		raw, _, _ := strings.Cut(target, "?")
		for name, read := range upstreams {
			if p := strings.ToLower(read(raw)); p == "/admin" || strings.HasPrefix(p, "/admin/") {
				t.Fatalf("%q passed; an upstream that %s reads %q", target, name, p)
			}
		}
	})
}
