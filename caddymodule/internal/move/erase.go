package move

import (
	"context"
	"errors"
	"hash/maphash"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// erase erases an owner's records in both stores. Only a former store may be
// unable to: it is out of date anyway.
func (p *pair) erase(ctx context.Context, owner uint64, until time.Time) error {
	if err := given(ctx); err != nil {
		return err
	}
	p.written.add(p.hashOwner(owner)) // first: the copier looks at it after its own write
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := p.first.erase(ctx, owner, until); err != nil {
		return err // whoever asked asks again
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := p.second.erase(ctx, owner, until)
	if err != nil && !errors.Is(err, auth.ErrCannotErase) {
		p.doubts.failed(p.now(), err)
		p.doubts.addOwner(owner, until)
	}
	return nil
}

// hashOwner is for the records of an owner what hash is for a key.
func (p *pair) hashOwner(owner uint64) uint64 { return maphash.Comparable(p.seed, owner) }
