package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/admin"
	"github.com/sidegate/sidegate/caddymodule/internal/move"
)

// moves is what operators can do about the place of the records.
type moves struct {
	app    *App
	engine *engine
}

// Begin implements admin.Moves.
func (m moves) Begin(ctx context.Context, o admin.MoveOrder) (from, to string, err error) {
	store, err := m.app.loadStore(o.Store)
	if err != nil {
		return "", "", refuseMove(err)
	}
	source := masterSource{value: o.MasterKey, file: store.KeyFile()}
	if o.MasterKeyExec != nil {
		if err := json.Unmarshal(o.MasterKeyExec, &source.command); err != nil {
			return "", "", refuseMove(fmt.Errorf("master_key_exec: %w", err))
		}
	}
	if err := source.opens(ctx, m.engine); err != nil {
		return "", "", refuseMove(err)
	}
	opt := move.Options{Overwrite: o.Overwrite, Hold: m.app.settings.OTP.TTL}
	if o.SkipCodes {
		opt.Hold = 0
	}
	t, err := m.engine.transferTo(ctx, store, opt)
	if errors.Is(err, move.ErrRefused) {
		return "", "", refuseMove(err)
	}
	if err != nil {
		return "", "", err
	}
	return t.from.place, t.to.place, nil
}

// Status implements admin.Moves.
func (m moves) Status() (status any, ok bool) {
	m.engine.moving.Lock()
	defer m.engine.moving.Unlock()
	if m.engine.transfer == nil {
		return nil, false
	}
	return m.engine.transfer.Status(), true
}

// Cancel implements admin.Moves.
func (m moves) Cancel() (from, to string, err error) {
	m.engine.moving.Lock()
	t := m.engine.transfer
	m.engine.moving.Unlock()
	switch {
	case t == nil || t.over():
		return "", "", refuseMove(errors.New("no move is under way"))
	case t.Phase() == move.Moved:
		return "", "", refuseMove(errors.New("the new store has taken over; to have the records back, move them back"))
	}
	t.End()
	<-t.ended
	return t.from.place, t.to.place, nil
}

// loadStore loads the module of a store that no configuration in use has.
func (a *App) loadStore(raw json.RawMessage) (Store, error) {
	var of struct {
		Engine string `json:"engine"`
	}
	if raw == nil {
		raw = json.RawMessage(`{"engine":"badger"}`)
	}
	if err := json.Unmarshal(raw, &of); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	a.opening.Lock() // a configuration's list of its modules knows no locks
	defer a.opening.Unlock()
	guest, err := a.ctx.LoadModuleByID("sidegate.stores."+of.Engine, withoutEngine(raw))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	m, ok := guest.(Store)
	if !ok {
		return nil, fmt.Errorf("store: %q is none", of.Engine)
	}
	return m, nil
}

// withoutEngine takes the name of the module out of its options, as Caddy does.
func withoutEngine(raw json.RawMessage) json.RawMessage {
	options := map[string]json.RawMessage{}
	if json.Unmarshal(raw, &options) != nil {
		return raw
	}
	delete(options, "engine")
	text, err := json.Marshal(options)
	if err != nil {
		return raw
	}
	return text
}

// opens reports, as an error, that the configuration to come could not open the
// records: better now than at its reload.
func (s masterSource) opens(ctx context.Context, e *engine) error {
	if err := s.check(); err != nil {
		return err
	}
	if s.ours() {
		if _, err := os.Stat(s.file); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("master_key: the new configuration has none; name the one in use, or copy its file to %s", s.file)
		}
	}
	return e.sameKey(ctx, s)
}

func refuseMove(err error) error {
	return auth.Refuse(auth.CodeInvalidRequest).Because(sentence(err))
}
