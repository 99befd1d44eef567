package caddymodule

import (
	"context"
	"errors"
	"fmt"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/command"
	"github.com/sidegate/sidegate/caddymodule/internal/move"
	"github.com/sidegate/sidegate/caddymodule/internal/vault"
)

// openMark lets the mark of a move pass in the clear: it must be read before
// there is a root key, which half a copy has not got.
type openMark struct{ Sealer }

// markFormat begins the mark. No sealed record begins so.
const markFormat = 'm'

// Name implements Sealer.
func (o openMark) Name(key string) []byte {
	if key == move.MarkKey {
		return append([]byte{markFormat}, key...)
	}
	return o.Sealer.Name(key)
}

// Seal implements Sealer.
func (o openMark) Seal(w auth.Write, slot uint64, data []byte) []byte {
	if w.Key == move.MarkKey {
		return append([]byte{markFormat}, w.Value...)
	}
	return o.Sealer.Seal(w, slot, data)
}

// Open implements Sealer.
func (o openMark) Open(key string, sealed []byte, held func(slot uint64) ([]byte, error)) ([]byte, error) {
	if key == move.MarkKey && isMark(sealed) {
		return sealed[1:], nil
	}
	return o.Sealer.Open(key, sealed, held)
}

// Reveal implements Sealer. The mark is the store's own, and no walk shows it.
func (o openMark) Reveal(sealed []byte, held func(slot uint64) ([]byte, error)) (auth.Write, error) {
	if isMark(sealed) {
		return auth.Write{Unlisted: true}, nil
	}
	return o.Sealer.Reveal(sealed, held)
}

func isMark(sealed []byte) bool { return len(sealed) > 0 && sealed[0] == markFormat }

// unmarked refuses a store that was moved away, or is the half of a copy.
func unmarked(ctx context.Context, h home) error {
	m, marked, err := move.ReadMark(ctx, h.store)
	if err != nil || !marked {
		return err
	}
	remedy := "start with that store, and move it again"
	if m.Moved {
		remedy = "put that store into the configuration; or, to come back to this one and lose what was written there since, use `caddy sidegate migrate abandon`"
	}
	return fmt.Errorf("the store %s is not to be used: %s; %s", h.place, m, remedy)
}

// placeOf names a store for people.
func placeOf(m Store) string {
	if named, ok := m.(interface{ Place() string }); ok {
		return named.Place()
	}
	return m.Address()
}

// abandon takes the mark off the store of a configuration that no server has.
func abandon(ctx context.Context, a command.Abandonment) (said string, err error) {
	app, _, err := appOf(a.Config)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	store, closer, err := app.store.Open(ctx, openMark{new(vault.Late)}, app.log)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	m, marked, err := move.ReadMark(ctx, store)
	switch {
	case err != nil:
		return "", err
	case !marked:
		return "", fmt.Errorf("the store %s is not marked; it can be used as it is", placeOf(app.store))
	case !m.Moved && !a.Copy:
		return "", fmt.Errorf("the store %s is not to be used: %s; copy it anew, or add --unfinished if there is no other", placeOf(app.store), m)
	}
	if err := move.Unmark(ctx, store); err != nil {
		return "", err
	}
	return fmt.Sprintf("The store %s may be used again. Before: %s.", placeOf(app.store), m), nil
}
