package caddymodule_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
)

func init() { caddy.RegisterModule(FaultyStore{}) }

// FaultyStore is a store that fails on command. Its records outlive Caddy, as
// those on a disk do.
type FaultyStore struct{}

// CaddyModule returns the Caddy module information.
func (FaultyStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.stores.faulty", New: func() caddy.Module { return new(FaultyStore) }}
}

func (FaultyStore) Address() string { return "faulty" }
func (FaultyStore) KeyFile() string { return "" }

func (FaultyStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

// theFaulty is what FaultyStore opens.
var theFaulty *faulty

func (FaultyStore) Open(context.Context, caddymodule.Sealer, *slog.Logger) (auth.Store, io.Closer, error) {
	return theFaulty, io.NopCloser(nil), nil
}

var _ caddymodule.Store = FaultyStore{}

// how tells what a broken store does.
type how string

const (
	fails  how = "fails"
	hangs  how = "hangs" // until the caller's context ends
	panics how = "panics"
)

// faulty breaks calls that requests make. Those in the background, such as the
// writing of touches, are left alone: they would make the count a matter of
// luck.
type faulty struct {
	auth.Store

	mu     sync.Mutex
	calls  int  // since it was broken
	first  int  // the first call that breaks; -1: none
	always bool // and all that follow
	how    how
	hit    bool
}

func newFaulty(t *testing.T) *faulty {
	theFaulty = &faulty{Store: memstore.New(time.Now), first: -1}
	t.Cleanup(func() { theFaulty = nil })
	return theFaulty
}

// breakAt breaks the n-th call from now, and all after it.
func (f *faulty) breakAt(n int, how how, always bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.first, f.how, f.always, f.hit = 0, n, how, always, false
}

// heal reports how many calls there were, and whether one broke.
func (f *faulty) heal() (calls int, hit bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.first = -1
	return f.calls, f.hit
}

var errBroken = errors.New("this is a test of broken stores")

func (f *faulty) trip(ctx context.Context) error {
	if ctx.Value(http.ServerContextKey) == nil {
		return nil
	}
	f.mu.Lock()
	n := f.calls
	f.calls++
	broken := f.first >= 0 && (n == f.first || n > f.first && f.always)
	f.hit = f.hit || broken
	how := f.how
	f.mu.Unlock()
	switch {
	case !broken:
		return nil
	case how == panics:
		panic(errBroken)
	case how == hangs:
		<-ctx.Done()
		return fmt.Errorf("%w: %w", auth.ErrUnavailable, ctx.Err())
	}
	return fmt.Errorf("%w: %w", auth.ErrUnavailable, errBroken)
}

func (f *faulty) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	if err := f.trip(ctx); err != nil {
		return nil, err
	}
	return f.Store.Get(ctx, keys...)
}

func (f *faulty) Swap(ctx context.Context, expected auth.Version, w auth.Write) (auth.Version, error) {
	if err := f.trip(ctx); err != nil {
		return 0, err
	}
	return f.Store.Swap(ctx, expected, w)
}

func (f *faulty) Put(ctx context.Context, writes []auth.Write) error {
	if err := f.trip(ctx); err != nil {
		return err
	}
	return f.Store.Put(ctx, writes)
}

func (f *faulty) Sync(ctx context.Context) error {
	if err := f.trip(ctx); err != nil {
		return err
	}
	return f.Store.Sync(ctx)
}
