package auth

import (
	"strings"
	"unicode"
)

// EnteredCode is a code as it was meant: without what people and keyboards put
// between its digits.
func EnteredCode(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) {
			return -1
		}
		return r
	}, text)
}

// IsCode reports whether a text could be a code at all. What could not costs
// nobody a try.
func IsCode(text string) bool {
	return len(text) >= 6 && len(text) <= 10 && strings.Trim(text, "0123456789") == ""
}
