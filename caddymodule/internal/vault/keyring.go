package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Keyring is the record of the root key in a store, and the rules for who may
// change which master keys open it. It is safe for concurrent use, also by
// several nodes: each change is one compare-and-swap.
type Keyring struct {
	Store auth.Store
	Now   func() time.Time
	// Witnesses are names of records of which every store that was used has at
	// least one. A store that has one of them but no root key has lost it, and
	// gets no other: nothing in it could be read.
	Witnesses []string
}

// Wrap is one master key that opens the store.
type Wrap struct {
	Fingerprint string
	Made        time.Time
}

// Open gives the vault of the store's root key. On first run it makes one; of
// several nodes that start at once, one writes, and the others find its key.
func (k *Keyring) Open(ctx context.Context, m *Master) (*Vault, error) {
	used, err := k.used(ctx) // before the root: whoever writes, writes it first
	if err != nil {
		return nil, err
	}
	w, _, err := k.read(ctx)
	if errors.Is(err, errNoRoot) && !used {
		w, err = k.create(ctx, m)
	}
	if err != nil {
		return nil, err
	}
	root, err := w.open(m)
	if err != nil {
		return nil, err
	}
	// Another node may have written it a moment ago, and nothing may be sealed
	// with a key that a power cut takes away.
	if err := k.Store.Sync(ctx); err != nil {
		return nil, fmt.Errorf("writing the root key: %w", err)
	}
	return New(root)
}

// Root gives the root key itself: for a backup, which is encrypted with a key of
// its own, and for nothing else.
func (k *Keyring) Root(ctx context.Context, m *Master) ([]byte, error) {
	w, _, err := k.read(ctx)
	if err != nil {
		return nil, err
	}
	return w.open(m)
}

// Plant puts a root key that another store had into an empty one, and gives its
// vault: what follows from the key is then what it was in the other.
func (k *Keyring) Plant(ctx context.Context, root []byte, m *Master) (*Vault, error) {
	v, err := New(root)
	if err != nil {
		return nil, err
	}
	w, err := wraps(nil).with(root, m, k.Now())
	if err != nil {
		return nil, err
	}
	if _, err := k.Store.Swap(ctx, 0, auth.Write{Key: RootRecord, Value: w.encode()}); err != nil {
		return nil, fmt.Errorf("writing the root key: %w", err)
	}
	return v, nil
}

func (k *Keyring) used(ctx context.Context) (bool, error) {
	if len(k.Witnesses) == 0 {
		return false, nil
	}
	records, err := k.Store.Get(ctx, k.Witnesses...)
	if errors.Is(err, ErrLocked) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking whether the store was used: %w", err)
	}
	for _, r := range records {
		if r.Version != 0 {
			return true, nil
		}
	}
	return false, nil
}

var errNoRoot = fmt.Errorf("%w: the store has records, but that of the root key is gone; restore a backup", auth.ErrUnavailable)

// read gives errNoRoot for a record that is not there.
func (k *Keyring) read(ctx context.Context) (wraps, auth.Version, error) {
	records, err := k.Store.Get(ctx, RootRecord)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the root key: %w", err)
	}
	if records[0].Version == 0 {
		return nil, 0, errNoRoot
	}
	w, err := parseWraps(records[0].Value)
	return w, records[0].Version, err
}

// create writes a new root key, unless somebody else was faster, and gives what
// is there in the end.
func (k *Keyring) create(ctx context.Context, m *Master) (wraps, error) {
	w, err := wraps(nil).with(NewKey(), m, k.Now())
	if err != nil {
		return nil, err
	}
	_, err = k.Store.Swap(ctx, 0, auth.Write{Key: RootRecord, Value: w.encode()})
	if err != nil && !errors.Is(err, auth.ErrConflict) {
		return nil, fmt.Errorf("writing the root key: %w", err)
	}
	w, _, err = k.read(ctx)
	return w, err
}

// Wraps lists the master keys that open the store, the oldest first.
func (k *Keyring) Wraps(ctx context.Context) ([]Wrap, error) {
	w, _, err := k.read(ctx)
	return w.list(), err
}

func (w wraps) list() []Wrap {
	list := make([]Wrap, len(w))
	for i := range w {
		list[i] = Wrap{w[i].fingerprint(), w[i].made()}
	}
	return list
}

// Add lets a second master key open the store; one that does already is no
// error. m must be one that does.
func (k *Keyring) Add(ctx context.Context, m, next *Master) error {
	return k.change(ctx, m, func(w wraps, root []byte) (wraps, error) {
		if _, there := w.of(next); there {
			return w, nil
		}
		return w.with(root, next, k.Now())
	})
}

// Retire takes all master keys but m from the store. It must be the one with
// which the next start opens it.
func (k *Keyring) Retire(ctx context.Context, m *Master) error {
	return k.change(ctx, m, func(w wraps, _ []byte) (wraps, error) {
		i, _ := w.of(m)
		return w[i : i+1], nil
	})
}

// tries bounds how often a change that somebody else has overtaken is made
// anew.
const tries = 8

func (k *Keyring) change(ctx context.Context, m *Master, to func(w wraps, root []byte) (wraps, error)) error {
	for range tries {
		w, version, err := k.read(ctx)
		if err != nil {
			return err
		}
		// Only a key that opens the root may say who else does; and whoever may
		// must not be able to lock everybody out.
		root, err := w.open(m)
		if err != nil {
			return err
		}
		next, err := to(w, root)
		if err != nil || len(next) == len(w) {
			return err // neither of the changes keeps their number
		}
		_, err = k.Store.Swap(ctx, version, auth.Write{Key: RootRecord, Value: next.encode()})
		if err == nil {
			return nil
		}
		if !errors.Is(err, auth.ErrConflict) {
			return fmt.Errorf("writing the root key: %w", err)
		}
	}
	return fmt.Errorf("writing the root key: %w", auth.ErrConflict)
}
