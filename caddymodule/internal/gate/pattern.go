package gate

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// pattern is an exact path, or everything below one.
type pattern struct {
	path   string // folded; of a prefix: without the final "/*", so "" is everything
	prefix bool
}

func parsePattern(text string, loose bool) (pattern, error) {
	p := pattern{path: text}
	if base, ok := strings.CutSuffix(text, "/*"); ok {
		p = pattern{path: base, prefix: true}
	}
	switch {
	case !strings.HasPrefix(text, "/"):
		return p, fmt.Errorf("path pattern %q: begin it with '/'", text)
	case strings.ContainsAny(p.path, "*?#%;\\") || strings.ContainsFunc(p.path, unicode.IsControl) || !utf8.ValidString(text):
		return p, fmt.Errorf("path pattern %q: write the decoded path; '*' may only stand at the end, after '/'", text)
	case p.path != "" && path.Clean(p.path) != strings.TrimSuffix(p.path, "/") && p.path != "/" || strings.HasSuffix(p.path, "//"):
		return p, fmt.Errorf("path pattern %q: write it without '.', '..' and '//'", text)
	}
	p.path = foldPath(p.path, loose)
	return p, nil
}

// CheckPattern says what is wrong with a path pattern of a rule.
func CheckPattern(text string) error {
	_, err := parsePattern(text, false)
	return err
}

// open is how a public pattern matches: exactly as it is written.
func (p pattern) open(folded string) bool {
	if !p.prefix {
		return folded == p.path
	}
	return len(folded) > len(p.path) && folded[len(p.path)] == '/' && folded[:len(p.path)] == p.path
}

// closed is how a requirement matches: /x and /x/ too where /x/* is written,
// and /x/ where /x is, for few upstreams tell them apart.
func (p pattern) closed(folded string) bool {
	if p.open(folded) {
		return true
	}
	return strings.TrimSuffix(folded, "/") == strings.TrimSuffix(p.path, "/")
}

// foldPath takes the case out of a path. Loose also takes letters that some
// upstream's own case folding or normalization may read as ASCII (the Kelvin
// sign as k, a full-width s as s); that may add a requirement, and must not make
// a path public.
func foldPath(s string, loose bool) string {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return foldRunes(s, loose)
		}
	}
	return s
}

func foldRunes(s string, loose bool) string {
	var b strings.Builder
	b.Grow(len(s))
	for i, c := range s {
		if c == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				b.WriteByte(s[i]) // not UTF-8: kept as it is
				continue
			}
		}
		b.WriteRune(foldRune(c, loose))
	}
	return b.String()
}

func foldRune(c rune, loose bool) rune {
	if loose {
		c = narrowRune(c)
	}
	least := c // of all that fold to one another; ASCII capitals come first
	for next := unicode.SimpleFold(c); next != c; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	if c >= utf8.RuneSelf && least < utf8.RuneSelf && !loose {
		return c
	}
	return unicode.ToLower(least)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// rule is a Rule with its patterns read.
type rule struct {
	paths []pattern
	match []func(*http.Request) bool
	roles []string
	fresh time.Duration
}

func compileRule(r Rule) (rule, error) {
	// A set of matchers without a member would match everything, or nothing.
	if len(r.Paths)+len(r.Match) == 0 {
		return rule{}, errors.New("name at least one path or matcher")
	}
	if r.Fresh < 0 {
		return rule{}, errors.New("fresh must not be negative")
	}
	c := rule{match: r.Match, roles: r.Roles, fresh: r.Fresh}
	for _, text := range r.Paths {
		p, err := parsePattern(text, true)
		if err != nil {
			return rule{}, err
		}
		c.paths = append(c.paths, p)
	}
	return c, nil
}

func (c rule) closesPath(folded string) bool {
	for _, p := range c.paths {
		if p.closed(folded) {
			return true
		}
	}
	return false
}
