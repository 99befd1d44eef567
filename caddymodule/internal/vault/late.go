package vault

import (
	"fmt"
	"sync/atomic"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Late seals for a store that must be open before its root key can be read out
// of it. The record of the root key passes through it as it is, wrapped
// already; for all others there must be a vault first.
type Late struct{ vault atomic.Pointer[Vault] }

// ErrLocked says that a sealed record was to be read before there was a vault.
var ErrLocked = fmt.Errorf("%w: a record cannot be opened before the root key", auth.ErrUnavailable)

// Use hands over the vault. Call it once, before the first record.
func (l *Late) Use(v *Vault) { l.vault.Store(v) }

// Seal is the vault's. Without one it panics: the record would lie in the clear.
func (l *Late) Seal(key string, plain []byte) []byte {
	if key == RootRecord {
		return plain
	}
	return l.vault.Load().Seal(key, plain)
}

// Open is the vault's; without one it gives ErrLocked.
func (l *Late) Open(key string, sealed []byte) ([]byte, error) {
	if key == RootRecord {
		return sealed, nil
	}
	v := l.vault.Load()
	if v == nil {
		return nil, ErrLocked
	}
	return v.Open(key, sealed)
}
