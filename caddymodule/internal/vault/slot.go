package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// The data key of a user seals the user's records. It lies, wrapped, in a slot
// of the store, which can be overwritten in place where the records themselves
// cannot: then they are noise, wherever a file still has them. A slot holds
//
//	kind 1 ‖ zero 3 ‖ nonce 12 ‖ data key 32 ‖ tag 16
//
// The kind and the slot's number are bound to it: a key that somebody moves to
// another slot does not open there. An erased slot is sealed as well, since
// what says that a record no longer exists must not be forged or come about by
// damage.
const (
	// SlotSize is the length of what lies in a slot.
	SlotSize = slotHead + 12 + KeySize + 16

	slotHead   = 4
	kindKey    = 1
	kindErased = 2
)

// NewSlot makes a data key, and gives what is to lie in the slot.
func (v *Vault) NewSlot(slot uint64) []byte { return v.fillSlot(slot, kindKey, NewKey()) }

// ErasedSlot gives what is to lie in a slot after its key was erased.
func (v *Vault) ErasedSlot(slot uint64) []byte {
	return v.fillSlot(slot, kindErased, make([]byte, KeySize))
}

func (v *Vault) fillSlot(slot uint64, kind byte, content []byte) []byte {
	held := make([]byte, slotHead, SlotSize)
	held[0] = kind
	return v.slots.Seal(held, nil, content, slotData(slot, kind))
}

// SlotKey gives the data key that lies in a slot. The error is auth.ErrErased
// when it was erased; all others wrap auth.ErrUnavailable.
func (v *Vault) SlotKey(slot uint64, held []byte) ([]byte, error) {
	if len(held) != SlotSize || held[1]|held[2]|held[3] != 0 {
		return nil, damagedSlot(slot)
	}
	key, err := v.slots.Open(nil, nil, held[slotHead:], slotData(slot, held[0]))
	switch {
	case err != nil:
		return nil, damagedSlot(slot)
	case held[0] == kindErased:
		return nil, auth.ErrErased
	case held[0] != kindKey:
		return nil, damagedSlot(slot)
	}
	return key, nil
}

func damagedSlot(slot uint64) error {
	return fmt.Errorf("%w: the data key %d is damaged, and what it seals is lost with it; restore a backup", auth.ErrUnavailable, slot)
}

// slotData is what a slot's tag covers besides its key.
func slotData(slot uint64, kind byte) []byte {
	return binary.BigEndian.AppendUint64(append([]byte("data key"), kind), slot)
}

// slotCipher wraps data keys. There are far fewer than the 2^32 that random
// nonces are safe for.
func slotCipher(root []byte) (cipher.AEAD, error) {
	key, err := subkey(root, "sidegate/1 data key", KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("wrapping data keys: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}
