package gate

import (
	"strings"
	"unicode/utf8"
)

// narrow replaces the characters that compatibility normalization (Unicode
// NFKC) or a best-fit code page turns into ASCII ones. An upstream that does
// either reads "．．／" as "../". It may be longer than what it replaces: one
// leader becomes two dots.
func narrow(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return narrowRunes(s)
		}
	}
	return s
}

func narrowRunes(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i, c := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch text, known := lookalikes[c]; {
		case known:
			b.WriteString(text)
		default:
			if ascii := narrowRune(c); ascii != c {
				b.WriteRune(ascii)
			} else {
				b.WriteString(s[i : i+size]) // also what is not UTF-8
			}
		}
	}
	return b.String()
}

// narrowRune gives the ASCII character of a full-width one (U+FF01 to U+FF5E).
func narrowRune(c rune) rune {
	const first, last = '\uff01', '\uff5e'
	if first <= c && c <= last {
		return c - first + '!'
	}
	return c
}

// lookalikes are the others that become separators of a path, or dots.
var lookalikes = map[rune]string{
	'\u2024': ".", '\u2025': "..", '\u2026': "...", '\ufe52': ".", '\ufe19': "...", '\ufe30': "..",
	'\u2044': "/", '\u2215': "/", '\u29f8': "/", '\u2216': "\\", '\u29f5': "\\", '\ufe68': "\\",
	'\u037e': ";", '\ufe14': ";", '\ufe54': ";", '\ufe6a': "%", '\ufe56': "?", '\ufe16': "?", '\ufe5f': "#",
}
