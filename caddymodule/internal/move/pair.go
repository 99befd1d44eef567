package move

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// pair is two stores that are kept in step: what is written to the first is
// written to the second before it is answered. The second cannot fail a request:
// a key that it has missed is in doubt until it has been brought over again.
type pair struct {
	first, second *side // change places when the second takes over
	seed          maphash.Seed
	locks         [1 << stripeBits]sync.Mutex // each for some keys: held over both writes, so they come in one order
	written       *written
	doubts        doubts
	now           func() time.Time
}

const (
	stripeBits = 10

	// patience bounds one write to the second store. It comes on top of what the
	// request waits for anyway, and only until the first one fails.
	patience = 2 * time.Second
)

// timeout bounds one call of a store, as those who call a Mirror do.
const timeout = 5 * time.Second

func newPair(first, second *side, now func() time.Time) *pair {
	return &pair{first: first, second: second, seed: maphash.MakeSeed(), written: new(written), now: now}
}

func (p *pair) swap(ctx context.Context, expected auth.Version, w auth.Write) (auth.Version, error) {
	if err := given(ctx); err != nil {
		return 0, err
	}
	hash := p.hash(w.Key)
	lock := p.stripe(hash)
	lock.Lock()
	defer lock.Unlock()
	p.written.add(hash) // first: the copier looks at it after its own write
	ctx, cancel := bounded(ctx)
	defer cancel()
	v, err := p.first.Swap(ctx, expected, w)
	switch {
	case errors.Is(err, auth.ErrConflict):
	case err != nil:
		p.doubts.add(p.now(), w) // it may have been written all the same, and be so only later
	default:
		p.repeat(ctx, func(ctx context.Context) error { return overwrite(ctx, p.second, w) }, w)
	}
	return v, err
}

// putAtOnce is how many writes go to both stores together: the fewer, the less
// other writes wait for their locks.
const putAtOnce = 64

func (p *pair) put(ctx context.Context, writes []auth.Write) error {
	if err := given(ctx); err != nil {
		return err
	}
	for part := range slices.Chunk(writes, putAtOnce) {
		if err := p.putPart(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

func (p *pair) putPart(ctx context.Context, writes []auth.Write) error {
	defer p.lock(writes)()
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := p.first.Put(ctx, writes); err != nil {
		p.doubts.add(p.now(), writes...)
		return err
	}
	p.repeat(ctx, func(ctx context.Context) error { return p.second.Put(ctx, writes) }, writes...)
	return nil
}

// repeat has the second store do what the first one has done. While it is in
// trouble it is not asked: who waits for the request has nothing of it.
func (p *pair) repeat(ctx context.Context, write func(context.Context) error, writes ...auth.Write) {
	if !p.doubts.trouble() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		err := write(ctx)
		if err == nil {
			return
		}
		p.doubts.failed(p.now(), err)
	}
	p.doubts.add(p.now(), writes...)
}

// given refuses what came too late; a write that has begun is carried through.
func given(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
	}
	return nil
}

// bounded keeps the deadline of a call, and not its end: a client that goes away
// would leave a key in doubt.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(context.WithoutCancel(ctx), timeout)
	}
	return context.WithDeadline(context.WithoutCancel(ctx), deadline)
}

// overwrite writes a record whatever there is, to last as a Swap does.
func overwrite(ctx context.Context, to *side, w auth.Write) error {
	for {
		records, err := to.Get(ctx, w.Key)
		if err != nil {
			return err
		}
		_, err = to.Swap(ctx, records[0].Version, w)
		if !errors.Is(err, auth.ErrConflict) || ctx.Err() != nil {
			return err
		}
	}
}

// renew brings a record over as it is now. owner is the one that an unlisted
// record does not tell.
func (p *pair) renew(ctx context.Context, key string, owner uint64) error {
	lock := p.stripe(p.hash(key))
	lock.Lock()
	defer lock.Unlock()
	ctx, cancel := bounded(ctx)
	defer cancel()
	w, err := fetch(ctx, p.first, key)
	if err != nil {
		return err
	}
	w.Ending = w.Value == nil
	if w.Unlisted {
		w.Owner = owner
	}
	return overwrite(ctx, p.second, w)
}

func (p *pair) hash(key string) uint64 { return maphash.String(p.seed, key) }

func (p *pair) stripe(hash uint64) *sync.Mutex { return &p.locks[hash&(1<<stripeBits-1)] }

// lock locks what some writes need and notes their keys as written. The order is
// the same for all, or two that need each other's would wait for ever.
func (p *pair) lock(writes []auth.Write) (unlock func()) {
	stripes := make([]uint64, len(writes))
	for i, w := range writes {
		hash := p.hash(w.Key)
		p.written.add(hash)
		stripes[i] = hash & (1<<stripeBits - 1)
	}
	slices.Sort(stripes)
	stripes = slices.Compact(stripes)
	for _, i := range stripes {
		p.locks[i].Lock()
	}
	return func() {
		for _, i := range stripes {
			p.locks[i].Unlock()
		}
	}
}

func keysOf(writes []auth.Write) []string {
	keys := make([]string, len(writes))
	for i, w := range writes {
		keys[i] = w.Key
	}
	return keys
}

// fetch reads one record as the write that makes it.
func fetch(ctx context.Context, from *side, key string) (auth.Write, error) {
	found, err := from.Store.(auth.Walker).Fetch(ctx, key)
	if err != nil {
		return auth.Write{}, err
	}
	return found[0], nil
}

// written remembers which keys were written since a move began, in memory that
// does not grow: of a hundred million keys it takes some more for written, which
// costs a second look.
type written [1 << (writtenBits - 6)]atomic.Uint64

const writtenBits = 27 // 16 MB

func (w *written) add(hash uint64) {
	word, bit := w.at(hash)
	word.Or(bit)
}

func (w *written) has(hash uint64) bool {
	word, bit := w.at(hash)
	return word.Load()&bit != 0
}

func (w *written) at(hash uint64) (*atomic.Uint64, uint64) {
	hash >>= 64 - writtenBits // the low bits choose the lock
	return &w[hash>>6], 1 << (hash & 63)
}
