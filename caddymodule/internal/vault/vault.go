// Package vault holds what follows from the root key of a store: one-time
// codes, indexes that hide a phone number, the MACs of refresh tokens, and the
// seals of records. Nothing derived stands anywhere, and the root key only
// wrapped under master keys; whoever has the store without one has noise.
package vault

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// KeySize is the length of a root or master key in bytes.
const KeySize = 32

// Vault derives and seals under one root key. It is safe for concurrent use.
type Vault struct {
	codes, indexes, tickets, records, names *macPool

	slots cipher.AEAD // wraps data keys

	keyID       [keyIDSize]byte
	fingerprint string
}

var _ auth.Secrets = (*Vault)(nil)

// New makes the subkeys of a root key of KeySize random bytes. The key is not
// kept.
func New(root []byte) (*Vault, error) {
	if len(root) != KeySize {
		return nil, fmt.Errorf("the root key has %d bytes, it needs %d", len(root), KeySize)
	}
	v := new(Vault)
	// One subkey per use, so that no output of one use means anything in
	// another (RFC 5869, section 3.2). The labels are fixed for ever: a new one
	// makes every derived value of that use another one.
	for label, pool := range map[string]**macPool{
		"sidegate/1 code": &v.codes, "sidegate/1 index": &v.indexes,
		"sidegate/1 ticket": &v.tickets, "sidegate/1 record": &v.records,
		"sidegate/1 name": &v.names,
	} {
		key, err := subkey(root, label, sha256.Size)
		if err != nil {
			return nil, err
		}
		*pool = newMACPool(key)
	}
	var err error
	if v.slots, err = slotCipher(root); err != nil {
		return nil, err
	}
	print, err := subkey(root, "sidegate/1 fingerprint", printSize)
	if err != nil {
		return nil, err
	}
	v.fingerprint = hex.EncodeToString(print)
	copy(v.keyID[:], print)
	return v, nil
}

func subkey(from []byte, label string, size int) ([]byte, error) {
	// No salt: the key is uniform already (RFC 5869, section 3.1).
	key, err := hkdf.Key(sha256.New, from, nil, label, size)
	if err != nil {
		return nil, fmt.Errorf("deriving %s: %w", label, err)
	}
	return key, nil
}

// Fingerprint tells two root keys apart without saying anything of them. It
// may be stored and logged.
func (v *Vault) Fingerprint() string { return v.fingerprint }

// Code derives the one-time code of a challenge: length digits, uniform, the
// same at every call. The length takes part, so a longer code does not begin
// with the shorter one.
func (v *Vault) Code(challengeID string, length int) string {
	digits := make([]byte, 0, max(0, length))
	for block := uint32(0); len(digits) < length; block++ {
		m := v.codes.get()
		m.in = binary.BigEndian.AppendUint32(m.in, uint32(length))
		m.in = binary.BigEndian.AppendUint32(m.in, block)
		m.in = append(m.in, challengeID...)
		digits = appendDigits(digits, m.sum(), length)
		v.codes.put(m)
	}
	return string(digits)
}

// appendDigits turns random bytes into digits. Bytes from 250 on are passed
// over: kept, they would make the digits 0 to 5 likelier than 6 to 9.
func appendDigits(digits, random []byte, length int) []byte {
	for _, b := range random {
		if b < 250 && len(digits) < length {
			digits = append(digits, '0'+b%10)
		}
	}
	return digits
}

// Index hides a value behind a keyed hash that may stand in a record's key.
// The same value gives another index under another kind.
func (v *Vault) Index(kind, value string) string {
	m := v.indexes.get()
	defer v.indexes.put(m)
	// The length goes first, or ("a", "bc") and ("ab", "c") were the same.
	m.in = binary.BigEndian.AppendUint32(m.in, uint32(len(kind)))
	m.in = append(m.in, kind...)
	m.in = append(m.in, value...)
	return base64.RawURLEncoding.EncodeToString(m.sum())
}
