package caddymodule

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// storeTimeout bounds one call of the store. A healthy one takes milliseconds;
// a disk that is busy with something else may take a second or two.
var storeTimeout = 5 * time.Second

// guarded stands before every store, also those of guests. It gives each call a
// deadline, since requests bring none: a disk or a network that hangs must
// become a 503, and not a growing crowd that waits. And it turns a panic into an
// error, so that the domain can take back what it has begun.
type guarded struct {
	store auth.Store
	log   *slog.Logger
}

// Get implements auth.Store.
func (g guarded) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	return guard(ctx, g.log, func(ctx context.Context) ([]auth.Record, error) { return g.store.Get(ctx, keys...) })
}

// Swap implements auth.Store.
func (g guarded) Swap(ctx context.Context, expected auth.Version, w auth.Write) (auth.Version, error) {
	return guard(ctx, g.log, func(ctx context.Context) (auth.Version, error) { return g.store.Swap(ctx, expected, w) })
}

// Put implements auth.Store.
func (g guarded) Put(ctx context.Context, writes []auth.Write) error {
	_, err := guard(ctx, g.log, func(ctx context.Context) (struct{}, error) { return struct{}{}, g.store.Put(ctx, writes) })
	return err
}

// Sync implements auth.Store.
func (g guarded) Sync(ctx context.Context) error {
	_, err := guard(ctx, g.log, func(ctx context.Context) (struct{}, error) { return struct{}{}, g.store.Sync(ctx) })
	return err
}

// List implements auth.Lister, where the store is one.
func (g guarded) List(ctx context.Context, prefix, after string, limit int) ([]auth.Listed, error) {
	lister, ok := g.store.(auth.Lister)
	if !ok {
		return nil, fmt.Errorf("%w: this store cannot list its records", auth.ErrUnavailable)
	}
	return guard(ctx, g.log, func(ctx context.Context) ([]auth.Listed, error) { return lister.List(ctx, prefix, after, limit) })
}

func guard[T any](ctx context.Context, log *slog.Logger, call func(context.Context) (T, error)) (v T, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	defer func() {
		if fault := recover(); fault != nil {
			log.Error("panic in the store", "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: a panic", auth.ErrUnavailable)
		}
	}()
	return call(ctx)
}
