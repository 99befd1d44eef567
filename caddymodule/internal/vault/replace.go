package vault

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// replacement is the change of the master key in a file of ours, step by step:
// wherever a kill or a power cut stops it, the key in the file opens the store.
type replacement struct {
	ring *Keyring
	path string
	old  *Master
	key  []byte // the new one
	temp string
}

// ReplaceKey puts a new master key in the place of the one in a file that
// LoadOrCreateKey has made. The old one opens the store until it is retired.
// Neither another ReplaceKey nor a Retire may run at the same time, or the key
// that ends up in the file could be one that was retired meanwhile.
func (k *Keyring) ReplaceKey(ctx context.Context, path string) error {
	key, err := loadKey(path)
	if err != nil {
		return err
	}
	old, err := NewMaster(key)
	if err != nil {
		return err
	}
	removeStaged(filepath.Dir(path))
	r := &replacement{ring: k, path: path, old: old, key: NewKey()}
	defer func() {
		if r.temp != "" {
			os.Remove(r.temp) // gone when all went well
		}
	}()
	for _, step := range r.steps() {
		if err := step(ctx); err != nil {
			return fmt.Errorf("replacing master key %s: %w", path, err)
		}
	}
	return nil
}

// steps are in this order because the store must know the new key before the
// file has it.
func (r *replacement) steps() []func(context.Context) error {
	return []func(context.Context) error{r.add, r.stage, r.rename, r.settle}
}

func (r *replacement) add(ctx context.Context) error {
	next, err := NewMaster(r.key)
	if err != nil {
		return err
	}
	return r.ring.Add(ctx, r.old, next)
}

func (r *replacement) stage(context.Context) (err error) {
	r.temp, err = stageKey(filepath.Dir(r.path), r.key)
	return err
}

// removeStaged takes away what killed replacements have left: such a key may
// open the store.
func removeStaged(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // what comes next will tell
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), stagePrefix) {
			os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
}

func (r *replacement) rename(context.Context) error { return os.Rename(r.temp, r.path) }

func (r *replacement) settle(context.Context) error { return syncDir(filepath.Dir(r.path)) }

// SettledKey reads the key of a file that is sure to have the same key after a
// power cut: only such a key may be the last one that opens a store.
func SettledKey(path string) ([]byte, error) {
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("reading master key: %w", err)
	}
	return loadKey(path)
}
