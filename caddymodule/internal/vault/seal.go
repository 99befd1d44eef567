package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// A sealed record is
//
//	format 1 ‖ key id 4 ‖ salt 16 ‖ nonce 12 ‖ ciphertext ‖ tag 16
//
// AES-256-GCM with a key of its own for each record: HMAC(record key, salt).
// Under one key for all, random 96-bit nonces were safe for 2^32 records only
// (NIST SP 800-38D, section 8.3), which the touches of a busy site use up in
// months. Salt and nonce together are 224 random bits, so no pair ever comes
// twice.
const (
	sealFormat = 1
	keyIDSize  = 4
	saltSize   = 16
	headSize   = 1 + keyIDSize + saltSize

	// Overhead is how much longer a sealed record is than its value.
	Overhead = headSize + 12 + 16
)

// Seal encrypts a record's value and binds it to its key: a record that
// somebody moves under another key does not open there.
func (v *Vault) Seal(key string, plain []byte) []byte {
	sealed := make([]byte, headSize, Overhead+len(plain))
	sealed[0] = sealFormat
	copy(sealed[1:], v.keyID[:])
	rand.Read(sealed[1+keyIDSize:]) // never fails
	return v.aead(sealed).Seal(sealed, nil, plain, additional(sealed, key))
}

// Open reads what Seal has written under the same key. Its errors wrap
// auth.ErrUnavailable: a damaged record is a fault of ours and must not look
// like a missing one.
func (v *Vault) Open(key string, sealed []byte) ([]byte, error) {
	switch {
	case len(sealed) < Overhead || sealed[0] != sealFormat:
		return nil, fmt.Errorf("%w: not a sealed record", auth.ErrUnavailable)
	case !bytes.Equal(sealed[1:1+keyIDSize], v.keyID[:]):
		return nil, fmt.Errorf("%w: sealed under another root key, so it came from another store; restore a backup", auth.ErrUnavailable)
	}
	plain, err := v.aead(sealed).Open([]byte{}, nil, sealed[headSize:], additional(sealed, key))
	if err != nil {
		return nil, fmt.Errorf("%w: the record is damaged or was altered", auth.ErrUnavailable)
	}
	return plain, nil
}

// aead is the record's own cipher; sealed begins with the record's head.
func (v *Vault) aead(sealed []byte) cipher.AEAD {
	m := v.records.get()
	defer v.records.put(m)
	m.in = append(m.in, sealed[1+keyIDSize:headSize]...)
	block, err := aes.NewCipher(m.sum())
	if err != nil {
		panic(err) // not with a key of 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // not with AES
	}
	return aead
}

// additional is what the tag covers besides the value: the head, then the key.
func additional(sealed []byte, key string) []byte {
	return append(append(make([]byte, 0, headSize+len(key)), sealed[:headSize]...), key...)
}
