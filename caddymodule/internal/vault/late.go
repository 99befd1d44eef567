package vault

import (
	"fmt"
	"sync/atomic"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Late seals for a store that must be open before its root key can be read out
// of it. The record of the root key passes through it as it is, wrapped already;
// for all others there must be a vault first.
type Late struct{ vault atomic.Pointer[Vault] }

// ErrLocked says that a sealed record was to be read before there was a vault.
var ErrLocked = fmt.Errorf("%w: a record cannot be opened before the root key", auth.ErrUnavailable)

// Use hands over the vault. Call it once, before the first record.
func (l *Late) Use(v *Vault) { l.vault.Store(v) }

// Name is the vault's. Without one, only what must be found then has a name.
func (l *Late) Name(key string) []byte { return l.vault.Load().Name(key) }

// Branch is the vault's.
func (l *Late) Branch(prefix string) []byte { return l.vault.Load().Branch(prefix) }

// Seal is the vault's. Without one it panics: the record would lie in the clear.
func (l *Late) Seal(w auth.Write, slot uint64, data []byte) []byte {
	if w.Key == RootRecord {
		return append([]byte{openFormat}, w.Value...)
	}
	return l.vault.Load().Seal(w, slot, data)
}

// Open is the vault's; without one it gives ErrLocked.
func (l *Late) Open(key string, sealed []byte, held func(slot uint64) ([]byte, error)) ([]byte, error) {
	if key == RootRecord && isOpen(sealed) {
		return sealed[1:], nil
	}
	v := l.vault.Load()
	if v == nil {
		return nil, ErrLocked
	}
	return v.Open(key, sealed, held)
}

// Reveal is the vault's; without one it gives ErrLocked.
func (l *Late) Reveal(sealed []byte, held func(slot uint64) ([]byte, error)) (auth.Write, error) {
	if isOpen(sealed) {
		return auth.Write{Key: RootRecord, Value: sealed[1:]}, nil
	}
	v := l.vault.Load()
	if v == nil {
		return auth.Write{}, ErrLocked
	}
	return v.Reveal(sealed, held)
}

func isOpen(sealed []byte) bool { return len(sealed) > 0 && sealed[0] == openFormat }

// NewSlot is the vault's.
func (l *Late) NewSlot(slot uint64) []byte { return l.vault.Load().NewSlot(slot) }

// ErasedSlot is the vault's.
func (l *Late) ErasedSlot(slot uint64) []byte { return l.vault.Load().ErasedSlot(slot) }

// SlotKey is the vault's.
func (l *Late) SlotKey(slot uint64, held []byte) ([]byte, error) {
	return l.vault.Load().SlotKey(slot, held)
}
