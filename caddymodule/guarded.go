package caddymodule

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/metrics"
)

// storeTimeout bounds one call of the store. A healthy one takes milliseconds;
// a disk that is busy with something else may take a second or two.
var storeTimeout = 5 * time.Second

// guarded stands before every store, also those of guests. It gives each call a
// deadline, since requests bring none: a disk or a network that hangs must
// become a 503, and not a growing crowd that waits. It turns a panic into an
// error, so that the domain can take back what it has begun. And it measures.
type guarded struct {
	store auth.Store
	log   *slog.Logger
}

// Get implements auth.Store.
func (g guarded) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	first := ""
	if len(keys) > 0 {
		first = keys[0]
	}
	return guard(ctx, g.log, metrics.Get, first, func(ctx context.Context) ([]auth.Record, error) { return g.store.Get(ctx, keys...) })
}

// Swap implements auth.Store.
func (g guarded) Swap(ctx context.Context, expected auth.Version, w auth.Write) (auth.Version, error) {
	return guard(ctx, g.log, metrics.Swap, w.Key, func(ctx context.Context) (auth.Version, error) { return g.store.Swap(ctx, expected, w) })
}

// Put implements auth.Store.
func (g guarded) Put(ctx context.Context, writes []auth.Write) error {
	first := ""
	if len(writes) > 0 {
		first = writes[0].Key
	}
	_, err := guard(ctx, g.log, metrics.Put, first, func(ctx context.Context) (struct{}, error) { return struct{}{}, g.store.Put(ctx, writes) })
	return err
}

// Sync implements auth.Store.
func (g guarded) Sync(ctx context.Context) error {
	_, err := guard(ctx, g.log, metrics.Sync, "", func(ctx context.Context) (struct{}, error) { return struct{}{}, g.store.Sync(ctx) })
	return err
}

// List implements auth.Lister, where the store is one.
func (g guarded) List(ctx context.Context, prefix, after string, limit int) ([]auth.Listed, error) {
	lister, ok := g.store.(auth.Lister)
	if !ok {
		return nil, auth.ErrCannotList
	}
	return guard(ctx, g.log, metrics.List, prefix, func(ctx context.Context) ([]auth.Listed, error) { return lister.List(ctx, prefix, after, limit) })
}

// Snapshot implements auth.Snapshotter, where the store is one. It has no
// deadline: whoever receives a backup sets the pace.
func (g guarded) Snapshot(ctx context.Context, visit func(auth.Write) error) error {
	snapshotter, ok := g.store.(auth.Snapshotter)
	if !ok {
		return fmt.Errorf("%w: this store cannot show one moment of all its records", auth.ErrUnavailable)
	}
	return snapshotter.Snapshot(ctx, visit)
}

// Erase implements auth.Eraser, where the store is one.
func (g guarded) Erase(ctx context.Context, owner uint64, until time.Time) error {
	eraser, ok := g.store.(auth.Eraser)
	if !ok {
		return auth.ErrCannotErase
	}
	_, err := guard(ctx, g.log, metrics.Erase, "", func(ctx context.Context) (struct{}, error) { return struct{}{}, eraser.Erase(ctx, owner, until) })
	return err
}

// guard carries a call out. key is one of those it is about.
func guard[T any](ctx context.Context, log *slog.Logger, o metrics.Operation, key string, call func(context.Context) (T, error)) (v T, err error) {
	ctx, end := span(ctx, "store."+o.String(), "record", kindOf(key))
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	began := time.Now()
	defer func() {
		if fault := recover(); fault != nil {
			log.Error("panic in the store", "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: a panic", auth.ErrUnavailable)
		}
		meters.StoreCall(o, time.Since(began), err)
		end(err)
	}()
	return call(ctx)
}

// kindOf is what a trace may say of a key: the rest names a person.
func kindOf(key string) string {
	kind, _, _ := strings.Cut(key, "/")
	return kind
}
