package gate

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"
)

// Plain reports whether a request's path can be read in one way only. One that
// is not plain may be a different path to the upstream than to us: the proxy
// passes the raw target on.
func Plain(r *http.Request) bool {
	if !plainPath(r.URL.Path) || r.URL.RawPath != "" && !plainTarget(r.URL.RawPath) {
		return false
	}
	text := target(r)
	return text == r.URL.Path || plainTarget(text) // a plain path has no escapes
}

// oneReading is Plain, and neither '?' nor '#' stands decoded in the path, nor a
// dot or a space at a segment's end. A public tag page may well be called c%23,
// but a requirement on /admin holds for /admin%3fx and /admin%20 too.
func oneReading(r *http.Request) bool {
	if !Plain(r) {
		return false
	}
	p := narrow(r.URL.Path)
	return strings.IndexByte(p, '?') < 0 && strings.IndexByte(p, '#') < 0 && !hasLooseEnd(p)
}

// looseEnds are what Windows drops at the end of a file's name, and so some
// servers at the end of a segment.
const looseEnds = ". "

func hasLooseEnd(p string) bool {
	for i := 1; i <= len(p); i++ {
		if (i == len(p) || p[i] == '/') && strings.IndexByte(looseEnds, p[i-1]) >= 0 {
			return true
		}
	}
	return false
}

// target is the path of the request target as it came, escapes and all. An
// absolute-form target (RFC 9112 §3.2.2) loses its scheme and authority.
func target(r *http.Request) string {
	text := r.RequestURI
	if text == "" {
		return r.URL.EscapedPath()
	}
	text, _, _ = strings.Cut(text, "?")
	if text[:min(1, len(text))] == "/" {
		return text
	}
	if _, rest, ok := strings.Cut(text, "://"); ok {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
		return "/"
	}
	return text // "*", for OPTIONS: not plain
}

// decodedTarget is the target decoded once.
func decodedTarget(r *http.Request) string {
	text := target(r)
	if strings.IndexByte(text, '%') < 0 {
		return text
	}
	decoded, _ := unescape(text)
	return decoded
}

// plainPath judges a decoded path. A '%' in it was %25: a second decoding would
// read something else.
func plainPath(p string) bool {
	if p == "" || p[0] != '/' {
		return false
	}
	segment := 1 // where the current segment begins
	ascii := true
	for i := 1; i <= len(p); i++ {
		if i == len(p) || p[i] == '/' {
			if s := p[segment:i]; s == "" && i < len(p) || s != "" && strings.IndexByte(looseEnds, s[0]) >= 0 && strings.Trim(s, looseEnds) == "" {
				return false // also "..", and ".. "
			}
			segment = i + 1
			continue
		}
		switch c := p[i]; {
		case c == '\\' || c == ';' || c == '%' || c < ' ' || c == 0x7f:
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return ascii || utf8.ValidString(p) && plainNarrow(p)
}

// plainNarrow judges what a path that is not ASCII becomes to an upstream that
// normalizes its letters.
func plainNarrow(p string) bool {
	narrowed := narrow(p)
	return narrowed == p || strings.Count(narrowed, "/") == strings.Count(p, "/") && plainPath(narrowed)
}

// plainTarget judges a path with its escapes.
func plainTarget(p string) bool {
	if strings.IndexByte(p, '%') < 0 {
		return plainPath(p)
	}
	decoded, wellFormed := unescape(p)
	return wellFormed && strings.Count(decoded, "/") == strings.Count(p, "/") && plainPath(decoded)
}

// unescape decodes once. Escapes that are none stay as they are.
func unescape(s string) (decoded string, wellFormed bool) {
	if decoded, err := url.PathUnescape(s); err == nil {
		return decoded, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if part, err := url.PathUnescape(s[i : i+3]); err == nil {
				b = append(b, part...)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b), false
}

// The bounds of what readings tries. Beyond them a path counts as unreadable,
// and whoever asks must assume the worst.
const (
	maxDecodings  = 3
	maxHardTarget = 4 << 10
	maxReadings   = 64       // an honest odd path has about ten
	maxRead       = 32 << 10 // bytes of all readings: each is folded, and shown to matchers
)

// readings are the paths that some upstream could take this request for, in
// their own case. ok is false when there may be more than we tried.
func readings(r *http.Request) (all []string, ok bool) {
	set := &readingSet{all: make(map[string]struct{})}
	text := target(r)
	ok = set.addReadings(text) && set.addReadings(r.URL.Path)
	if ok && r.URL.RawPath != "" && r.URL.RawPath != text {
		ok = set.addReadings(r.URL.RawPath)
	}
	all = make([]string, 0, len(set.all))
	for reading := range set.all {
		all = append(all, reading)
	}
	return all, ok
}

type readingSet struct {
	all   map[string]struct{}
	bytes int // in all of them
}

func (set *readingSet) add(p string) {
	if _, done := set.all[p]; !done {
		set.all[p] = struct{}{}
		set.bytes += len(p)
	}
}

func (set *readingSet) full() bool { return len(set.all) > maxReadings || set.bytes > maxRead }

func (set *readingSet) addReadings(text string) (ok bool) {
	if len(text) > maxHardTarget {
		return false
	}
	for range maxDecodings + 1 {
		if !set.addVariants(text) {
			return false
		}
		next, _ := unescape(text)
		if next == text {
			next = narrow(text)
		}
		if next == text {
			return !overlong(text) && !wideEscape(text)
		}
		text = next
	}
	return false
}

// wideEscape reports escapes of another kind, %u002e, that some servers read
// and we do not. Any other '%' that is left is a percent sign.
func wideEscape(s string) bool {
	return strings.Contains(s, "%u") || strings.Contains(s, "%U")
}

// overlong reports bytes that a lenient decoder reads as an ASCII character in
// too many bytes (0xC0 0xAF as '/'); valid UTF-8 never has them (RFC 3629 §3).
func overlong(s string) bool {
	for i := range len(s) {
		switch s[i] {
		case 0xc0, 0xc1:
			return true
		case 0xe0, 0xf0:
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return true
			}
		}
	}
	return false
}

// addVariants adds what upstreams make of a text that they have decoded as far
// as they do: IIS and others read '\' as '/', servlets cut ";params" from each
// segment, C programs stop at a NUL, a later parser at '?' or '#', and Windows
// drops dots and spaces. It reports whether they stayed within the bound.
func (set *readingSet) addVariants(text string) bool {
	for i, ended := range [...]string{
		text, cut(text, "\x00"), cut(text, "?#"), strip(text), withoutLooseEnds(text),
	} {
		if i > 0 && ended == text {
			continue
		}
		for _, slashed := range [...]string{ended, strings.ReplaceAll(ended, `\`, "/")} {
			set.addReading(slashed)
			set.addReading(cut(slashed, ";"))
			set.addReading(withoutParams(slashed))
		}
		if set.full() {
			return false
		}
	}
	return true
}

func (set *readingSet) addReading(p string) {
	if p == "" || p[0] != '/' {
		p = "/" + p
	}
	if _, done := set.all[p]; done {
		return
	}
	set.add(p) // an upstream that takes prefixes of what it gets
	set.add(path.Clean(p))
	set.add(collapse(p))
}

func cut(s, any string) string {
	if i := strings.IndexAny(s, any); i >= 0 {
		return s[:i]
	}
	return s
}

// strip removes control characters, NUL too, as browsers' URL parsers and some servers do.
func strip(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, s)
}

// withoutLooseEnds drops dots and spaces at the end of each segment, but makes
// ".." of ".. ".
func withoutLooseEnds(s string) string {
	if !hasLooseEnd(s) {
		return s
	}
	segments := strings.Split(s, "/")
	for i, segment := range segments {
		segment = strings.TrimRight(segment, " ")
		if segment != "." && segment != ".." {
			segment = strings.TrimRight(segment, looseEnds)
		}
		segments[i] = segment
	}
	return strings.Join(segments, "/")
}

// collapse reads many slashes as one and leaves dots alone.
func collapse(s string) string {
	for strings.Contains(s, "//") {
		s = strings.ReplaceAll(s, "//", "/")
	}
	return s
}

// withoutParams cuts each segment at its first ';' (RFC 3986 §3.3).
func withoutParams(s string) string {
	if strings.IndexByte(s, ';') < 0 {
		return s
	}
	segments := strings.Split(s, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	return strings.Join(segments, "/")
}
