package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// A ticket's text is a prefix that names its kind, so that scanners for leaked
// secrets and people can tell what it is, and then
// base64url(session id 16 ‖ generation 4 ‖ HMAC-SHA256 32).
const (
	refreshPrefix = "sgr1_"
	cookiePrefix  = "sgc1_"

	prefixSize    = len(refreshPrefix)
	ticketIDSize  = 16 + 4
	ticketRawSize = ticketIDSize + sha256.Size
	ticketSize    = prefixSize + (ticketRawSize*8+5)/6
)

// Strict, because 416 bits leave four over in the last letter: without it each
// ticket had 16 spellings.
var ticketEncoding = base64.RawURLEncoding.Strict()

// Ticket derives the credential of one generation of a session. An unknown
// kind gives the empty text, which opens nothing.
func (v *Vault) Ticket(t auth.Ticket) string {
	prefix := prefixOf(t.Kind)
	if prefix == "" {
		return ""
	}
	m := v.tickets.get()
	defer v.tickets.put(m)
	var raw [ticketRawSize]byte
	copy(raw[:], t.SessionID[:])
	binary.BigEndian.PutUint32(raw[len(t.SessionID):], t.Generation)
	copy(raw[ticketIDSize:], ticketMAC(m, t.Kind, raw[:ticketIDSize]))

	var text [ticketSize]byte
	copy(text[:], prefix)
	ticketEncoding.Encode(text[prefixSize:], raw[:])
	return string(text[:])
}

// ParseTicket reads what Ticket has written, and no other spelling of it.
func (v *Vault) ParseTicket(text string) (t auth.Ticket, ok bool) {
	if len(text) != ticketSize {
		return t, false
	}
	kind, ok := kindOf(text[:prefixSize])
	if !ok {
		return t, false
	}
	var letters [ticketSize - prefixSize]byte
	copy(letters[:], text[prefixSize:])
	var raw [ticketRawSize]byte
	// The decoder skips line breaks; then the count falls short.
	if n, err := ticketEncoding.Decode(raw[:], letters[:]); err != nil || n != len(raw) {
		return t, false
	}
	m := v.tickets.get()
	defer v.tickets.put(m)
	// Constant time: whoever could measure how many bytes are right would find
	// the MAC byte by byte.
	if !hmac.Equal(raw[ticketIDSize:], ticketMAC(m, kind, raw[:ticketIDSize])) {
		return t, false
	}
	t.Kind = kind
	copy(t.SessionID[:], raw[:])
	t.Generation = binary.BigEndian.Uint32(raw[len(t.SessionID):])
	return t, true
}

// ticketMAC covers the kind too, so that a cookie's value with another prefix
// is no refresh token.
func ticketMAC(m *mac, kind auth.TicketKind, id []byte) []byte {
	m.in = append(append(m.in, byte(kind)), id...)
	return m.sum()
}

func prefixOf(kind auth.TicketKind) string {
	switch kind {
	case auth.RefreshTicket:
		return refreshPrefix
	case auth.CookieTicket:
		return cookiePrefix
	}
	return ""
}

func kindOf(prefix string) (auth.TicketKind, bool) {
	switch prefix {
	case refreshPrefix:
		return auth.RefreshTicket, true
	case cookiePrefix:
		return auth.CookieTicket, true
	}
	return 0, false
}
