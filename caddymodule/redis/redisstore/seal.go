package redisstore

import "github.com/sidegate/sidegate/caddymodule/auth"

// Sealer encrypts records, and hides whom they are about.
type Sealer interface {
	Records
	Slots
	// Name is what stands for a key that need not be heard of.
	Name(key string) []byte
}

// Records seals values. What was sealed under one key does not open under
// another.
type Records interface {
	// Seal encrypts the value of a write, with the data key of a slot; 0 and nil:
	// with none.
	Seal(w auth.Write, slot uint64, data []byte) []byte
	// Open gives the value that was sealed under a key. held tells what lies in a
	// slot. The error is auth.ErrErased when that was erased.
	Open(key string, sealed []byte, held func(slot uint64) ([]byte, error)) ([]byte, error)
	// Reveal gives key, value and owner of a sealed record, or an unlisted Write
	// without them.
	Reveal(sealed []byte, held func(slot uint64) ([]byte, error)) (auth.Write, error)
}

// Slots makes what lies in the slots of data keys.
type Slots interface {
	NewSlot(slot uint64) []byte
	ErasedSlot(slot uint64) []byte
	// SlotKey gives the key that lies in a slot. The error is auth.ErrErased when
	// it was erased.
	SlotKey(slot uint64, held []byte) ([]byte, error)
}
