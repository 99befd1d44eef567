package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/admin"
	"github.com/sidegate/sidegate/caddymodule/internal/token"
	"github.com/sidegate/sidegate/caddymodule/internal/vault"
)

// keyring is the record of the root key in the engine's store.
func (e *engine) keyring() *vault.Keyring {
	return &vault.Keyring{Store: e.store, Now: time.Now, Witnesses: token.RecordNames()}
}

// sameKey refuses a configuration whose master key does not open the store that
// is open.
func (e *engine) sameKey(ctx context.Context, source masterSource) error {
	m, err := source.master(ctx, false)
	if err != nil {
		return err
	}
	v, err := e.keyring().Open(ctx, m)
	if err != nil {
		return fmt.Errorf("master_key: the store is open with another key; this one can be added to it with `caddy sidegate keys rewrap --new-key-file FILE`: %w", err)
	}
	if v.Fingerprint() != e.vault.Fingerprint() {
		return errors.New("master_key: the store's root key was replaced while it was open; restart Caddy")
	}
	return nil
}

// masters are the keys that open the engine's store, as a configuration may
// change them.
type masters struct {
	engine *engine
	source masterSource
}

// List implements admin.Masters.
func (m masters) List(ctx context.Context) ([]admin.Master, error) {
	own, err := m.source.master(ctx, false)
	if err != nil {
		return nil, err
	}
	wraps, err := m.engine.keyring().Wraps(ctx)
	list := make([]admin.Master, len(wraps))
	for i, w := range wraps {
		list[i] = admin.Master{Fingerprint: w.Fingerprint, AddedAt: w.Made, InUse: w.Fingerprint == own.Fingerprint()}
	}
	return list, err
}

// Rewrap implements admin.Masters.
func (m masters) Rewrap(ctx context.Context, brought string) error {
	m.engine.masters.Lock()
	defer m.engine.masters.Unlock()
	if brought == "" && !m.source.ours() {
		return refuseKey("The key is not in a file of Sidegate's own: bring the new one (new_key), and then configure it.")
	}
	if brought == "" {
		return asRefusal(m.engine.keyring().ReplaceKey(ctx, m.source.file))
	}
	key, err := vault.ParseKey(brought)
	if err != nil {
		return refuseKey(sentence(err))
	}
	next, err := vault.NewMaster(key)
	if err != nil {
		return err
	}
	own, err := m.source.master(ctx, false)
	if err != nil {
		return err
	}
	return asRefusal(m.engine.keyring().Add(ctx, own, next))
}

// Retire implements admin.Masters. The key is asked for anew, since it is the
// next start that must open the store.
func (m masters) Retire(ctx context.Context) error {
	m.engine.masters.Lock()
	defer m.engine.masters.Unlock()
	own, err := m.source.master(ctx, true)
	if err != nil {
		return err
	}
	return asRefusal(m.engine.keyring().Retire(ctx, own))
}

// asRefusal tells an operator what they can do something about.
func asRefusal(err error) error {
	switch {
	case errors.Is(err, vault.ErrManyMasters):
		return refuseKey(sentence(err))
	case errors.Is(err, vault.ErrOtherMaster):
		return refuseKey("The key that the configuration gives by now does not open the store; nothing was changed.")
	}
	return err
}

func refuseKey(detail string) error { return auth.Refuse(auth.CodeInvalidRequest).Because(detail) }

func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
