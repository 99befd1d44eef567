package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/rueidis"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// walkPage is how many keys a server is asked for at once.
const walkPage = 1000

// errSlotsMoved says that a walk may have missed records on their way from one
// server to another.
var errSlotsMoved = errors.New("slots of the Cluster have moved meanwhile")

// Walk implements auth.Walker, in no order: each server that takes writes is
// scanned. Without a Cluster nothing that stays is missed (see SCAN).
func (s *Store) Walk(ctx context.Context, visit func(auth.Write) error) error {
	before, err := s.shards(ctx)
	if err != nil {
		return unavailable("walking", err)
	}
	for _, one := range before {
		if err := s.scan(ctx, one.node, visit); err != nil {
			return err
		}
	}
	after, err := s.shards(ctx)
	if err == nil && !sameSpans(before, after) {
		err = errSlotsMoved
	}
	if err != nil {
		return unavailable("walking", err)
	}
	return nil
}

func sameSpans(a, b []shard) bool {
	place := func(one shard) string { return fmt.Sprint(one.address, one.spans) }
	places := func(all []shard) (out []string) {
		for _, one := range all {
			out = append(out, place(one))
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(places(a), places(b))
}

// scan walks one server.
func (s *Store) scan(ctx context.Context, node rueidis.Client, visit func(auth.Write) error) error {
	for cursor, begun := uint64(0), false; cursor != 0 || !begun; begun = true {
		page, err := s.page(ctx, node, cursor)
		if err != nil {
			return err
		}
		for _, w := range page.writes {
			if err := visit(w); err != nil {
				return fmt.Errorf("walking: %w", err)
			}
		}
		cursor = page.next
	}
	return nil
}

// page is a part of a walk.
type page struct {
	writes []auth.Write
	next   uint64 // the cursor; 0: there are no more
}

func (s *Store) page(ctx context.Context, node rueidis.Client, cursor uint64) (p page, err error) {
	ctx, cancel := s.bounded(ctx, callTimeout)
	defer cancel()
	found, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(s.opt.Prefix+"*").Count(walkPage).Build().Pin()).AsScanEntry()
	if err != nil {
		return p, unavailable("walking", err)
	}
	p.next = found.Cursor
	names := slices.DeleteFunc(found.Elements, s.isNoRecord)
	stored, err := s.fetch(ctx, names)
	if err != nil {
		return p, err
	}
	all, err := s.revealAll(ctx, make([]string, len(names)), stored)
	for i, w := range all {
		if w.Key != "" && s.stored(w.Key) != names[i] {
			return p, unavailable("walking", fmt.Errorf("%w: it lies under another's key", errEnvelope))
		}
		if w.Key != "" { // else it is unlisted, or has gone
			p.writes = append(p.writes, w)
		}
	}
	return p, err
}

// ofNodes tells whether a name is of what nodes write for themselves.
func (s *Store) ofNodes(name string) bool {
	return strings.HasPrefix(name, s.opt.Prefix+pulseKeys) || strings.HasPrefix(name, s.opt.Prefix+syncKeys)
}

// isNoRecord tells whether a name is of nodes or of the index.
func (s *Store) isNoRecord(name string) bool {
	return s.ofNodes(name) || strings.HasPrefix(name, s.opt.Prefix+indexKeys)
}

// revealAll makes stored records the writes that make them. Keys that are not
// known are empty; those of unlisted records then stay so.
func (s *Store) revealAll(ctx context.Context, keys []string, stored [][]byte) (out []auth.Write, err error) {
	err = s.withSlots(ctx, func(known heldSlots) (wanted error) {
		out = make([]auth.Write, len(keys))
		for i, key := range keys {
			if stored[i] == nil {
				continue
			}
			w, err := s.reveal(key, stored[i], known.read)
			switch {
			case errors.Is(err, errSlotWanted):
				wanted = err
			case errors.Is(err, auth.ErrErased):
			case err != nil:
				return unavailable("reading", err)
			default:
				out[i] = w
			}
		}
		return wanted
	})
	return out, err
}

// Fetch implements auth.Walker.
func (s *Store) Fetch(ctx context.Context, keys ...string) ([]auth.Write, error) {
	ctx, cancel := s.bounded(ctx, callTimeout)
	defer cancel()
	stored, err := s.fetch(ctx, s.storedAll(keys))
	if err != nil {
		return nil, err
	}
	out, err := s.revealAll(ctx, keys, stored)
	for i, w := range out {
		switch w.Key {
		case keys[i]:
		case "":
			out[i] = auth.Write{Key: keys[i]}
		default:
			return nil, unavailable("reading", fmt.Errorf("%w: it lies under another's key", errEnvelope))
		}
	}
	return out, err
}

// Clear implements auth.Walker. The data keys go too: nothing is left that they
// open.
func (s *Store) Clear(ctx context.Context, but string) error {
	found, err := s.shards(ctx)
	if err != nil {
		return unavailable("clearing", err)
	}
	kept := s.stored(but)
	for _, one := range found {
		for cursor, begun := uint64(0), false; cursor != 0 || !begun; begun = true {
			if cursor, err = s.clear(ctx, one.node, cursor, kept); err != nil {
				return unavailable("clearing", err)
			}
		}
	}
	return nil
}

func (s *Store) clear(ctx context.Context, node rueidis.Client, cursor uint64, kept string) (uint64, error) {
	ctx, cancel := s.bounded(ctx, callTimeout)
	defer cancel()
	found, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(s.opt.Prefix+"*").Count(walkPage).Build().Pin()).AsScanEntry()
	if err != nil {
		return 0, err
	}
	var gone []rueidis.Completed
	for _, name := range found.Elements {
		if name != kept && !s.ofNodes(name) {
			gone = append(gone, s.client.B().Del().Key(name).Build())
		}
	}
	for _, result := range s.client.DoMulti(ctx, gone...) {
		if err := result.Error(); err != nil {
			return 0, err
		}
	}
	return found.Cursor, nil
}

// Estimate implements auth.Walker. What others keep in the same database is
// counted too.
func (s *Store) Estimate(ctx context.Context) (n int, err error) {
	found, err := s.shards(ctx)
	if err != nil {
		return 0, unavailable("counting", err)
	}
	for _, one := range found {
		ctx, cancel := s.bounded(ctx, callTimeout)
		size, err := one.node.Do(ctx, one.node.B().Dbsize().Build().Pin()).AsInt64()
		cancel()
		if err != nil {
			return 0, unavailable("counting", err)
		}
		n += int(size)
	}
	return n, nil
}

var _ auth.Walker = (*Store)(nil)
