package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// A sealed record is
//
//	format 2 ‖ key id 4 ‖ flags 1 ‖ slot 8 ‖ salt 16 ‖ nonce 12 ‖ ciphertext ‖ tag 16
//
// AES-256-GCM with a key of its own for each record, derived from the salt and
// the owner's data key, which lies in the slot, or the record key for what is
// nobody's. Under one key for all, random 96-bit nonces were safe for 2^32
// records only (NIST SP 800-38D, section 8.3), which the touches of a busy site
// use up in months. Salt and nonce together are 224 random bits, so no pair ever
// comes twice.
//
// What is encrypted is the owner, the record's key and the value, so that a walk
// over the records finds out what they are, and a record that somebody moves
// under another key is noticed. An unlisted record has its key nowhere: it takes
// part in the derivation instead, and who does not know it has no way to the value.
const (
	sealFormat = 2
	keyIDSize  = 4
	slotAt     = 1 + keyIDSize + 1
	saltAt     = slotAt + 8
	saltSize   = 16
	headSize   = saltAt + saltSize
	// leastSize is how long a sealed record is at least: nonce and tag.
	leastSize = headSize + 12 + 16

	flagUnlisted = 1
)

// openFormat begins the one record that is not sealed, see Late.
const openFormat = 0

var (
	errNotSealed = fmt.Errorf("%w: not a sealed record", auth.ErrUnavailable)
	errAltered   = fmt.Errorf("%w: the record is damaged or was altered", auth.ErrUnavailable)
	errOtherRoot = fmt.Errorf("%w: sealed under another root key, so it came from another store; restore a backup", auth.ErrUnavailable)
	errOldFormat = fmt.Errorf("%w: sealed by another version of Sidegate, which this one cannot read; use that version, or begin with an empty store", auth.ErrUnavailable)
)

// Seal encrypts a write's value and binds it to its key. slot is where the
// owner's data key lies, and data that key (see SlotKey); 0 and nil: the record
// is sealed as nobody's.
func (v *Vault) Seal(w auth.Write, slot uint64, data []byte) []byte {
	sealed := make([]byte, headSize, leastSize+2*binary.MaxVarintLen64+len(w.Key)+len(w.Value))
	sealed[0] = sealFormat
	copy(sealed[1:], v.keyID[:])
	plain := w.Value
	if w.Unlisted {
		sealed[slotAt-1] = flagUnlisted
	} else {
		plain = named(w)
	}
	binary.BigEndian.PutUint64(sealed[slotAt:], slot)
	rand.Read(sealed[saltAt:]) // never fails
	return v.aead(sealed, data, w.Key).Seal(sealed, nil, plain, sealed)
}

// named is what is encrypted of a listed record.
func named(w auth.Write) []byte {
	plain := make([]byte, 0, 2*binary.MaxVarintLen64+len(w.Key)+len(w.Value))
	plain = binary.AppendUvarint(plain, w.Owner)
	plain = binary.AppendUvarint(plain, uint64(len(w.Key)))
	return append(append(plain, w.Key...), w.Value...)
}

// Open reads the value of what Seal has written under a key. held gives what lies
// in a slot. The error is auth.ErrErased when that is an erased owner's; all
// others wrap auth.ErrUnavailable: a damaged record is a fault of ours and must
// not look like a missing one.
func (v *Vault) Open(key string, sealed []byte, held func(slot uint64) ([]byte, error)) ([]byte, error) {
	plain, err := v.open(sealed, key, held)
	if err != nil || isUnlisted(sealed) {
		return plain, err
	}
	w, ok := unnamed(plain)
	if !ok || w.Key != key {
		return nil, errAltered
	}
	return w.Value, nil
}

// Reveal reads what Seal has written under a key that the record itself tells,
// and whose it is. An unlisted one tells nothing but that.
func (v *Vault) Reveal(sealed []byte, held func(slot uint64) ([]byte, error)) (auth.Write, error) {
	if err := v.checkHead(sealed); err != nil || isUnlisted(sealed) {
		return auth.Write{Unlisted: true}, err
	}
	plain, err := v.open(sealed, "", held)
	if err != nil {
		return auth.Write{}, err
	}
	w, ok := unnamed(plain)
	if !ok {
		return auth.Write{}, errAltered
	}
	return w, nil
}

func (v *Vault) open(sealed []byte, key string, held func(slot uint64) ([]byte, error)) ([]byte, error) {
	if err := v.checkHead(sealed); err != nil {
		return nil, err
	}
	data, err := v.slotKey(binary.BigEndian.Uint64(sealed[slotAt:]), held)
	if err != nil {
		return nil, err
	}
	plain, err := v.aead(sealed, data, key).Open([]byte{}, nil, sealed[headSize:], sealed[:headSize])
	if err != nil {
		return nil, errAltered
	}
	return plain, nil
}

// isUnlisted is for a head that was checked.
func isUnlisted(sealed []byte) bool { return sealed[slotAt-1] == flagUnlisted }

// unnamed reads what named has written.
func unnamed(plain []byte) (w auth.Write, ok bool) {
	owner, n := binary.Uvarint(plain)
	if n <= 0 {
		return w, false
	}
	plain = plain[n:]
	size, n := binary.Uvarint(plain)
	if n <= 0 || size > uint64(len(plain)-n) {
		return w, false
	}
	plain = plain[n:]
	return auth.Write{Owner: owner, Key: string(plain[:size]), Value: plain[size:]}, true
}

func (v *Vault) checkHead(sealed []byte) error {
	switch {
	case len(sealed) > 0 && sealed[0] == 1:
		return errOldFormat
	case len(sealed) < leastSize || sealed[0] != sealFormat:
		return errNotSealed
	case !bytes.Equal(sealed[1:1+keyIDSize], v.keyID[:]):
		return errOtherRoot
	case sealed[slotAt-1] > flagUnlisted:
		return errAltered
	}
	return nil
}

// slotKey is the data key in a slot; nil for what is nobody's.
func (v *Vault) slotKey(slot uint64, held func(slot uint64) ([]byte, error)) ([]byte, error) {
	if slot == 0 {
		return nil, nil
	}
	content, err := held(slot)
	if err != nil {
		return nil, err
	}
	return v.SlotKey(slot, content)
}

// aead is the record's own cipher; sealed begins with the record's head. data is
// the owner's key, or nil.
func (v *Vault) aead(sealed, data []byte, key string) cipher.AEAD {
	var own [sha256.Size]byte
	if data == nil {
		m := v.records.get()
		m.in = recordOf(m.in, sealed, key)
		copy(own[:], m.sum())
		v.records.put(m)
	} else {
		// One step (NIST SP 800-56C, section 4.1): unlike the record key a data
		// key is used a few times only, so an HMAC has no state to keep.
		in := append(make([]byte, 0, 256), 0, 0, 0, 1)
		own = sha256.Sum256(recordOf(append(in, data...), sealed, key))
	}
	block, err := aes.NewCipher(own[:])
	if err != nil {
		panic(err) // not with a key of 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // not with AES
	}
	return aead
}

// recordOf is what a record's own key is derived from. The salt has always the
// same length, so what follows it cannot be taken for a part of it.
func recordOf(in, sealed []byte, key string) []byte {
	in = append(in, sealed[saltAt:headSize]...)
	if isUnlisted(sealed) {
		in = append(in, key...)
	}
	return in
}
