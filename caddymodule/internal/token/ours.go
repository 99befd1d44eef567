package token

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
)

// IsOurs reports whether a bearer credential could be a token of ours under
// any reading: with white space or padding in it, in the other base64
// alphabet, quoted, percent-encoded, expired, cut off. Such a text must never
// reach an upstream, which may read it more kindly than Verify does. That a
// foreign token is taken for ours takes a header with our key id, or an
// at+jwt of our own issuer.
func (k *Keys) IsOurs(text string) bool {
	// The token of nearly every request, at the price of a look-up.
	header, _, _ := strings.Cut(text, ".")
	if _, known := k.ring.Load().byHeader[header]; known {
		return true
	}
	for range 3 { // as sent, and percent-encoded once or twice
		if k.reads(text) {
			return true
		}
		decoded := unescape(text)
		if len(decoded) == len(text) {
			return false
		}
		text = decoded
	}
	return false
}

// unescape decodes each good percent escape and leaves the bad ones, where
// net/url would give up on the whole.
func unescape(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if b, err := hex.DecodeString(text[i+1 : i+3]); err == nil {
				out = append(out, b[0])
				i += 2
				continue
			}
		}
		out = append(out, text[i])
	}
	return string(out)
}

func (k *Keys) reads(text string) bool {
	for run := range strings.FieldsFuncSeq(text, foreign) {
		if len(run) >= 5 && (strings.EqualFold(run[:5], "sgr1_") || strings.EqualFold(run[:5], "sgc1_")) {
			return true
		}
	}
	text = urlAlphabet.Replace(text)
	if plain(text) {
		return k.hasMarks(strings.Split(text, "."))
	}
	// White space and padding may stand anywhere within a part, or around it.
	return k.hasMarks(strings.Split(strings.Map(dropForeign, text), ".")) ||
		k.hasMarks(strings.FieldsFunc(text, func(r rune) bool { return r == '.' || foreign(r) }))
}

// urlAlphabet turns standard base64 into that of URLs.
var urlAlphabet = strings.NewReplacer("+", "-", "/", "_")

// foreign reports whether a letter is none of a token.
func foreign(r rune) bool { return r > 127 || !isBase64url(byte(r)) && r != '.' }

func dropForeign(r rune) rune {
	if foreign(r) {
		return -1
	}
	return r
}

// hasMarks looks for our key id in any part, and for our type and issuer in
// any two.
func (k *Keys) hasMarks(parts []string) bool {
	kids := k.ring.Load().kids
	decoded := make([][]byte, len(parts))
	for i, part := range parts {
		decoded[i] = decodeLoosely(part)
		for _, kid := range kids {
			if bytes.Contains(decoded[i], kid) {
				return true
			}
		}
	}
	has := func(name, value string) bool {
		return slices.ContainsFunc(decoded, func(data []byte) bool { return hasMember(data, name, value) })
	}
	return has("iss", k.options.Issuer) && has("typ", tokenType) // the rarer one first
}

// hasMember reports whether a JSON object has this name with this text, in any
// letter case; a type may be written out as application/at+jwt.
func hasMember(data []byte, name, value string) bool {
	// Reading JSON is slow, so only what may hold the value is read. A
	// backslash can hide it.
	if !bytes.Contains(bytes.ToLower(data), []byte(strings.ToLower(value))) && bytes.IndexByte(data, '\\') < 0 {
		return false
	}
	list, _ := members(data)
	return slices.ContainsFunc(list, func(m member) bool {
		var text string
		return strings.EqualFold(m.name, name) && json.Unmarshal(m.value, &text) == nil &&
			strings.EqualFold(strings.TrimPrefix(strings.ToLower(text), "application/"), value)
	})
}

// decodeLoosely decodes what can be decoded, whatever the last bits say.
func decodeLoosely(part string) []byte {
	data := make([]byte, base64.RawURLEncoding.DecodedLen(len(part)))
	n, _ := base64.RawURLEncoding.Decode(data, []byte(part))
	return data[:n]
}
