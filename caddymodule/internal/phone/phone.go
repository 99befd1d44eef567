// Package phone reads telephone numbers by libphonenumber's rules and says what
// Sidegate may send to. It is stricter than the library, which drops
// extensions silently and takes letters and full-width digits.
package phone

import (
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// maxText is the longest text that is looked at, in bytes: fifteen digits with
// generous separators. More is no telephone number.
const maxText = 32

// maxDigits is the length that E.164 allows, country code included
// (ITU-T E.164, 6.2).
const maxDigits = 15

// separators are what people write between digits. Everything else is refused,
// so that no text has two readings: a second plus, an extension, `;ext=`,
// letters, digits of other scripts, control and bidi characters.
const separators = " -.()/\u00a0"

// Parse reads a number as people write it and returns its one E.164 spelling:
// whatever texts give the same result are the same user. The international form
// with a plus is required, because a national number means another phone in
// every country. Anything else is an auth.Error with CodePhoneInvalid.
func Parse(text string) (e164 string, err error) {
	return ParseWith(text, nil)
}

// ParseWith is Parse, but takes the numbers for which isTest says true as they
// are, once the separators are dropped. It asks isTest before the rules, since
// the numbers that are set aside for tests (+1 555 555 0100) are not valid ones.
// A nil isTest knows no such number.
func ParseWith(text string, isTest func(e164 string) bool) (e164 string, err error) {
	plain, ok := compact(text)
	if !ok {
		return "", auth.Refuse(auth.CodePhoneInvalid)
	}
	if isTest != nil && Plausible(plain) && isTest(plain) {
		return plain, nil
	}
	e164, ok = canonical(plain)
	if !ok {
		return "", auth.Refuse(auth.CodePhoneInvalid)
	}
	// A spelling that is read anew as another number would give one phone two
	// users: only what stands for itself is taken.
	if again, ok := canonical(e164); !ok || again != e164 {
		return "", auth.Refuse(auth.CodePhoneInvalid)
	}
	return e164, nil
}

// compact drops the separators and leaves a plus and ASCII digits; ok is false
// when the text has anything else.
func compact(text string) (plain string, ok bool) {
	text = strings.Trim(text, " ")
	rest, plus := strings.CutPrefix(text, "+")
	if !plus || len(text) > maxText {
		return "", false
	}
	var b strings.Builder
	b.WriteByte('+')
	for _, r := range rest {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case !strings.ContainsRune(separators, r):
			return "", false
		}
	}
	return b.String(), true
}

// canonical asks libphonenumber for the number's E.164 form: it drops a trunk
// zero (+61 0412 is +61 412) and checks the numbering plan.
func canonical(plain string) (e164 string, ok bool) {
	number, err := phonenumbers.Parse(plain, "")
	if err != nil || !phonenumbers.IsValidNumber(number) {
		return "", false
	}
	e164 = phonenumbers.Format(number, phonenumbers.E164)
	return e164, len(e164) <= 1+maxDigits
}

// Plausible reports whether the text has the shape of an E.164 number: a plus
// and eight to fifteen digits, the first not zero. It is the check for test
// numbers, which no numbering plan knows.
func Plausible(e164 string) bool {
	digits, plus := strings.CutPrefix(e164, "+")
	if !plus || len(digits) < 8 || len(digits) > maxDigits || digits[0] == '0' {
		return false
	}
	return strings.Trim(digits, "0123456789") == ""
}

// Mask hides a number but for its last two digits, one bullet for each hidden
// digit: +46701740605 becomes +•••••••••05. It is for people and logs. Text
// that is too short to hide anything that way is hidden whole.
func Mask(e164 string) string {
	const kept = 2
	digits := strings.TrimPrefix(e164, "+")
	hidden := len(digits) - kept
	if hidden < kept || strings.Trim(digits, "0123456789") != "" {
		return "+••••"
	}
	return "+" + strings.Repeat("•", hidden) + digits[hidden:]
}
