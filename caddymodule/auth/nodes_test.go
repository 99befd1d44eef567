package auth_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// bus is a store that several nodes share. It tells all of them of every change
// at once, unless the test holds the news back.
type bus struct {
	auth.Store
	reads atomic.Int64

	mu        sync.Mutex
	listeners []*subscriber
	holding   bool
	held      []string
	onRead    func(key string) error // once a record was read, before it is handed out
}

type subscriber struct {
	prefixes []string
	auth.Listener
}

func (b *bus) Follow(_ context.Context, prefixes []string, l auth.Listener) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listeners = append(b.listeners, &subscriber{prefixes, l})
	l.TrustUntil(time.Now().AddDate(100, 0, 0))
	return nil
}

func (b *bus) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	b.reads.Add(1)
	records, err := b.Store.Get(ctx, keys...)
	b.mu.Lock()
	onRead := b.onRead
	b.mu.Unlock()
	if onRead != nil {
		for _, key := range keys {
			if err := onRead(key); err != nil {
				return nil, err
			}
		}
	}
	return records, err
}

func (b *bus) Swap(ctx context.Context, v auth.Version, w auth.Write) (auth.Version, error) {
	next, err := b.Store.Swap(ctx, v, w)
	if err == nil {
		b.changed(w.Key)
	}
	return next, err
}

func (b *bus) Put(ctx context.Context, writes []auth.Write) error {
	err := b.Store.Put(ctx, writes)
	for _, w := range writes {
		b.changed(w.Key)
	}
	return err
}

func (b *bus) changed(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.holding {
		b.held = append(b.held, key)
		return
	}
	b.tell(key)
}

func (b *bus) tell(key string) {
	for _, l := range b.listeners {
		for _, prefix := range l.prefixes {
			if strings.HasPrefix(key, prefix) {
				l.Changed(key)
			}
		}
	}
}

// hold keeps the news back; deliver hands out what was held, and all to come.
func (b *bus) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = true
}

func (b *bus) deliver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range b.held {
		b.tell(key)
	}
	b.holding, b.held = false, nil
}

// whileReading does something between the reading of a record and its use, once.
func (b *bus) whileReading(prefix string, do func()) {
	var done atomic.Bool
	b.eachRead(func(key string) {
		if strings.HasPrefix(key, prefix) && !done.Swap(true) {
			do()
		}
	})
}

// onReadOf has the reading of a record end as do says.
func (b *bus) onReadOf(record string, do func() error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onRead = func(key string) error {
		if key != record {
			return nil
		}
		return do()
	}
}

// eachRead does something between every reading of a record and its use.
func (b *bus) eachRead(do func(key string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onRead = func(key string) error {
		do(key)
		return nil
	}
}

// all runs something on every node's table.
func (b *bus) all(do func(auth.Listener)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.listeners {
		do(l)
	}
}

// newNodes is n services over one store, as n processes would be.
func newNodes(t testing.TB, n int, change ...func(*auth.Settings)) (*bus, []*world) {
	t.Helper()
	first := newWorld(t, change...)
	b := &bus{Store: first.store}
	nodes := make([]*world, n)
	for i := range nodes {
		service := *first.Service
		service.Store, service.Live = b, auth.NewLive(1000)
		directory := *first.Directory.(*auth.LocalDirectory)
		directory.Store = b
		service.Directory = &directory
		if err := service.Live.Follow(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		nodes[i] = &world{Service: &service, t: t, clock: first.clock, outbox: first.outbox, store: first.store}
	}
	return b, nodes
}

// deaf is a store that cannot be followed.
type deaf struct{ auth.Store }

func (deaf) Follow(context.Context, []string, auth.Listener) error { return auth.ErrUnavailable }
