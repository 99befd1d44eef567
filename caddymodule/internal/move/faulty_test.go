package move_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
)

// faulty is a store that a disk or a network stands before.
type faulty struct {
	*memstore.Store
	down   atomic.Bool                                      // every call fails
	late   atomic.Int64                                     // a Swap or Put is carried out so many nanoseconds after it has failed
	before func(op string, keys ...string)                  // nil: nothing; is called before the call is carried out
	others atomic.Int64                                     // other processes that use it
	twist  func(w auth.Write) (changed auth.Write, do bool) // nil: writes are carried out as they are
}

func newFaulty() *faulty { return &faulty{Store: memstore.New(time.Now)} }

var errDown = fmt.Errorf("%w: it is down", auth.ErrUnavailable)

func (f *faulty) fault(op string, keys ...string) error {
	if f.before != nil {
		f.before(op, keys...)
	}
	if f.down.Load() {
		return errDown
	}
	return nil
}

func (f *faulty) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	if err := f.fault("get", keys...); err != nil {
		return nil, err
	}
	return f.Store.Get(ctx, keys...)
}

func (f *faulty) Fetch(ctx context.Context, keys ...string) ([]auth.Write, error) {
	if err := f.fault("fetch", keys...); err != nil {
		return nil, err
	}
	return f.Store.Fetch(ctx, keys...)
}

func (f *faulty) Erase(ctx context.Context, owner uint64, until time.Time) error {
	if err := f.fault("erase"); err != nil {
		return err
	}
	return f.Store.Erase(ctx, owner, until)
}

func (f *faulty) Swap(ctx context.Context, expected auth.Version, w auth.Write) (auth.Version, error) {
	if err := f.fault("swap", w.Key); err != nil {
		return 0, err
	}
	if f.overdue(func() { _, _ = f.Store.Swap(context.Background(), expected, w) }) {
		return 0, errDown
	}
	return f.Store.Swap(ctx, expected, w)
}

func (f *faulty) Put(ctx context.Context, writes []auth.Write) error {
	keys := []string{}
	for _, w := range writes {
		keys = append(keys, w.Key)
	}
	if err := f.fault("put", keys...); err != nil {
		return err
	}
	if f.overdue(func() { _ = f.Store.Put(context.Background(), writes) }) {
		return errDown
	}
	return f.Store.Put(ctx, f.twisted(writes))
}

// overdue has a write carried out after it has failed.
func (f *faulty) overdue(write func()) bool {
	late := time.Duration(f.late.Load())
	if late > 0 {
		time.AfterFunc(late, write)
	}
	return late > 0
}

func (f *faulty) twisted(writes []auth.Write) (out []auth.Write) {
	if f.twist == nil {
		return writes
	}
	for _, w := range writes {
		if changed, do := f.twist(w); do {
			out = append(out, changed)
		}
	}
	return out
}

func (f *faulty) Others(context.Context) (int, error) { return int(f.others.Load()), nil }
