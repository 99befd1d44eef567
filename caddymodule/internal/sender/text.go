package sender

import "strings"

// maxSeptets is what one message holds in the GSM 7-bit alphabet (3GPP TS
// 23.038). Longer ones, or a single other letter, cost two messages and may
// arrive in pieces.
const maxSeptets = 160

// maxName keeps a long application name from pushing everything else out.
const maxName = 32

// gsmBasic are the letters that take one septet, gsmExtended those that take
// two.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtended = "\f^{}\\[~]|€"
)

// bind is the last line, by which browsers and phones offer the code on that
// host and no other (wicg.github.io/sms-one-time-codes).
func bind(originHost, code string) string {
	if host := bindable(originHost); host != "" {
		return "\n\n@" + host + " #" + code
	}
	return ""
}

// bindable returns the host as the last line may have it: its form knows no
// port, and any other letter would end the host early.
func bindable(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	if strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
		return ""
	}
	return host
}

// FitsGSM7 reports whether a text is one message in the GSM 7-bit alphabet.
func FitsGSM7(text string) bool {
	n := septets(text)
	return n >= 0 && n <= maxSeptets
}

// septets counts what a text takes, or returns -1 when a letter of it is not in
// the alphabet.
func septets(text string) int {
	n := 0
	for _, r := range text {
		switch {
		case strings.ContainsRune(gsmBasic, r):
			n++
		case strings.ContainsRune(gsmExtended, r):
			n += 2
		default:
			return -1
		}
	}
	return n
}

// plainer writes frequent letters that the alphabet lacks with ones it has.
var plainer = strings.NewReplacer(
	"‘", "'", "’", "'", "“", `"`, "”", `"`, "«", `"`, "»", `"`, "–", "-", "—", "-", "…", "...", "\u00a0", " ", "`", "'",
	"á", "a", "â", "a", "ã", "a", "ā", "a", "ă", "a", "ą", "a", "Á", "A", "À", "A", "Â", "A", "Ã", "A", "Ă", "A", "Ą", "A",
	"ç", "c", "ć", "c", "č", "c", "Ć", "C", "Č", "C", "ď", "d", "đ", "d", "Ď", "D", "Đ", "D",
	"ê", "e", "ë", "e", "ē", "e", "ę", "e", "ě", "e", "È", "E", "Ê", "E", "Ë", "E", "Ę", "E", "Ě", "E",
	"ğ", "g", "Ğ", "G", "í", "i", "î", "i", "ï", "i", "ī", "i", "ı", "i", "Í", "I", "Î", "I", "Ï", "I", "İ", "I",
	"ł", "l", "Ł", "L", "ń", "n", "ň", "n", "Ń", "N", "Ň", "N",
	"ó", "o", "ô", "o", "õ", "o", "ő", "o", "ō", "o", "Ó", "O", "Ô", "O", "Õ", "O", "Ő", "O", "œ", "oe", "Œ", "OE",
	"ř", "r", "Ř", "R", "ś", "s", "š", "s", "ş", "s", "ș", "s", "Ś", "S", "Š", "S", "Ş", "S", "Ș", "S",
	"ť", "t", "ț", "t", "Ť", "T", "Ț", "T", "ú", "u", "û", "u", "ū", "u", "ů", "u", "ű", "u", "Ú", "U", "Û", "U", "Ű", "U", "Ů", "U",
	"ý", "y", "Ý", "Y", "ź", "z", "ż", "z", "ž", "z", "Ź", "Z", "Ż", "Z", "Ž", "Z", "þ", "th", "Þ", "Th", "ð", "d", "Ð", "D",
)

// gsmName brings a name into the alphabet, on one line: a line break in it
// could fake the last line.
func gsmName(name string) string {
	name = strings.Join(strings.Fields(plainer.Replace(name)), " ")
	name = strings.Map(func(r rune) rune {
		if septets(string(r)) < 0 {
			return -1
		}
		return r
	}, name)
	name = strings.Join(strings.Fields(name), " ")
	if runes := []rune(name); len(runes) > maxName {
		name = strings.TrimSpace(string(runes[:maxName]))
	}
	return name
}
