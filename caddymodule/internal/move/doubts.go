package move

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// doubts are keys of which nobody knows that both stores have the same: a write
// to one of them got no answer, and may yet be carried out.
type doubts struct {
	mu    sync.Mutex
	keys  map[string]doubt
	gone  map[uint64]time.Time // owners to be erased, and until when nothing is written of them
	fault error                // why the stores are in trouble; nil: they are not
	since time.Time            // the trouble's
	last  time.Time            // when a call last failed
}

type doubt struct {
	since time.Time
	owner uint64 // of the write
}

const (
	// lateness is for how long after the last fault a write that got no answer may
	// still be carried out, by a disk or a server that has hung. A key is brought
	// over again and again until then.
	lateness = 15 * time.Second
	// giveUp is how long the stores may be in trouble.
	giveUp = time.Minute
	// maxDoubts bounds the memory; what has missed more is better copied anew.
	maxDoubts = 1 << 20
)

func (d *doubts) add(now time.Time, writes ...auth.Write) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys == nil {
		d.keys = map[string]doubt{}
	}
	for _, w := range writes {
		d.keys[w.Key] = doubt{now, w.Owner}
	}
}

func (d *doubts) addOwner(owner uint64, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone == nil {
		d.gone = map[uint64]time.Time{}
	}
	d.gone[owner] = until
}

func (d *doubts) failed(now time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.last = err, now
}

func (d *doubts) trouble() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fault != nil
}

// list gives what is in doubt now.
func (d *doubts) list() (keys map[string]doubt, gone map[uint64]time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.keys), maps.Clone(d.gone)
}

func (d *doubts) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.keys) + len(d.gone)
}

// settled takes out a key that was brought over at an instant, unless it is too
// early to be sure or it has come into doubt again.
func (d *doubts) settled(key string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if of, ok := d.keys[key]; ok && at.Sub(of.since) >= lateness && at.Sub(d.last) >= lateness {
		delete(d.keys, key)
	}
}

func (d *doubts) erased(owner uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.gone, owner)
}

// settle brings over what is in doubt. An error says that it cannot go on like
// this.
func (p *pair) settle(ctx context.Context) error {
	return p.doubts.judge(p.now(), p.bringOver(ctx))
}

func (p *pair) bringOver(ctx context.Context) error {
	keys, gone := p.doubts.list()
	for owner, until := range gone { // first: what is written of them since counts
		if err := p.second.erase(ctx, owner, until); err != nil {
			return err
		}
		p.doubts.erased(owner)
	}
	for key, of := range keys {
		at := p.now()
		if err := p.renew(ctx, key, of.owner); err != nil {
			return err
		}
		p.doubts.settled(key, at)
	}
	return nil
}

// judge keeps why the stores are in trouble, and for how long.
func (d *doubts) judge(now time.Time, fault error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault = fault; fault == nil {
		d.since = time.Time{}
		return nil
	}
	if d.last = now; d.since.IsZero() {
		d.since = now
	}
	switch {
	case now.Sub(d.since) >= giveUp:
		return fmt.Errorf("no record could be brought over for %v: %w", giveUp, fault)
	case len(d.keys) > maxDoubts:
		return errors.Join(errors.New("too many records have changed while they could not be brought over"), fault)
	}
	return nil
}

func (d *doubts) has(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.keys[key]
	return ok
}
