package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const (
	listTimeout = 2 * callTimeout
	// listMost bounds what is read at once: of records, and of sets.
	listMost = 1000
	setsMost = 128
)

// List implements auth.Lister. The order is that of the sets of the index, and
// in each that of the names.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) (out []auth.Listed, err error) {
	ctx, cancel := s.bounded(ctx, listTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, unavailable("listing", err)
	}
	r, err := s.rangeOf(prefix, after)
	if err != nil {
		return nil, err
	}
	for size := limit; len(out) < limit && !r.over(); size *= 2 {
		found, err := r.next(ctx, min(size, listMost))
		if err != nil {
			return nil, unavailable("listing", err)
		}
		shown, err := s.show(ctx, r.kind, found)
		if err != nil {
			return nil, err
		}
		for _, one := range shown {
			if strings.HasPrefix(one.Key, prefix) && len(out) < limit {
				out = append(out, one)
			}
		}
	}
	return out, nil
}

// candidate is a name of which the index tells.
type candidate struct {
	name, member string
	settled      bool     // the member itself is there
	marks        []string // left beside it
}

// show gives the records that exist among the candidates, and puts right what
// the index has of the others.
func (s *Store) show(ctx context.Context, kind string, found []candidate) (out []auth.Listed, err error) {
	names := make([]string, len(found))
	for i, c := range found {
		names[i] = s.opt.Prefix + kind + "/" + c.member
		found[i].name = names[i]
	}
	stored, err := s.fetch(ctx, names)
	if err != nil {
		return nil, err
	}
	var erased []int
	err = s.withSlots(ctx, func(known heldSlots) (wanted error) {
		out, erased = nil, nil
		for i := range found {
			if stored[i] == nil {
				continue
			}
			w, err := s.reveal("", stored[i], known.read)
			switch {
			case errors.Is(err, errSlotWanted):
				wanted = err
			case errors.Is(err, auth.ErrErased):
				erased = append(erased, i)
			case err != nil:
				return unavailable("listing", err)
			case w.Key == "": // it has expired, or is unlisted
			case s.stored(w.Key) != names[i]:
				return unavailable("listing", fmt.Errorf("%w: it lies under another's key", errEnvelope))
			default:
				out = append(out, auth.Listed{Key: w.Key, Record: auth.Record{Value: w.Value, Version: auth.Version(binary.BigEndian.Uint64(stored[i]))}})
			}
		}
		return wanted
	})
	for _, i := range erased {
		err = errors.Join(err, s.discard(ctx, names[i], stored[i]))
	}
	if err = errors.Join(err, s.mend(ctx, found, stored)); err != nil {
		return nil, unavailable("listing", err)
	}
	return out, nil
}

// mend takes members out of the index that stand for nothing any more, and marks
// of writes that were never finished. What is read here was read after the index.
func (s *Store) mend(ctx context.Context, found []candidate, stored [][]byte) error {
	var stale []entry
	var names []string
	var calls []call
	for i, c := range found {
		e, _ := s.entryOf(c.name)
		for _, mark := range c.marks {
			if s.isOld(mark) {
				calls = append(calls, entry{e.set, e.member, mark}.settle(stored[i] != nil))
			}
		}
		if stored[i] == nil && c.settled && len(c.marks) == 0 {
			stale, names, calls = append(stale, e), append(names, c.name), append(calls, s.announce(e, true, true))
		}
	}
	if err := s.evalAll(ctx, calls); err != nil || len(stale) == 0 {
		return err
	}
	// Somebody may have made the record meanwhile, and added the member before it
	// was taken out.
	made, err := s.fetch(ctx, names)
	if err != nil {
		return err
	}
	calls = nil
	for i, e := range stale {
		calls = append(calls, e.settle(made[i] != nil))
	}
	return s.evalAll(ctx, calls)
}

func (s *Store) isOld(mark string) bool {
	if len(mark) < markSize {
		return false
	}
	left := binary.BigEndian.Uint64([]byte(mark[len(mark)-markSize:]))
	return s.opt.Now().Sub(time.UnixMilli(int64(left))) > markLife
}

var _ auth.Lister = (*Store)(nil)
