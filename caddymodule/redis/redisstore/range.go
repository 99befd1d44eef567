package redisstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// keyRange is a part of an index that is still to be read.
type keyRange struct {
	store    *Store
	kind     string
	begins   string // how the members begin
	from     string // the first one of the next set, as ZRANGEBYLEX takes it
	set, end int    // the next set, and the one behind the last
	width    int    // how many sets are asked at once
}

// rangeOf is where the members of all keys are that begin with prefix and come
// after one. Hidden names of one group lie in one set.
func (s *Store) rangeOf(prefix, after string) (*keyRange, error) {
	kind, ok := indexed(prefix)
	if !ok {
		return nil, fmt.Errorf("%w: of the kind %q there is no index", auth.ErrCannotList, kind)
	}
	r := &keyRange{store: s, kind: kind, begins: prefix[len(kind)+1:], end: indexSets, width: 1}
	if name := s.memberOf(prefix); r.begins != "" && name != r.begins {
		r.begins = name[:groupSize]
		r.set = setOf(name)
		r.end = r.set + 1
	}
	r.from = r.first()
	if after != "" {
		member := s.memberOf(after)
		r.set, r.from = setOf(member), "["+member+markPast
	}
	return r, nil
}

// memberOf is what stands for a key in the index of its kind.
func (s *Store) memberOf(key string) string {
	_, member, _ := strings.Cut(strings.TrimPrefix(s.stored(key), s.opt.Prefix), "/")
	return member
}

func (r *keyRange) first() string { return "[" + r.begins }
func (r *keyRange) last() string  { return "(" + r.begins + "\xff" }
func (r *keyRange) over() bool    { return r.set >= r.end }

// next reads up to n entries of the index, and fewer only at its end. Sets with
// little in them are asked several at once.
func (r *keyRange) next(ctx context.Context, n int) (found []candidate, err error) {
	for read := 0; !r.over(); r.width = min(2*r.width, setsMost) {
		sets := min(r.width, r.end-r.set)
		for _, result := range r.store.client.DoMulti(ctx, r.ask(sets, n-read)...) {
			members, err := result.AsStrSlice()
			if err != nil {
				return nil, err
			}
			members = members[:min(len(members), n-read)]
			found, read = gather(found, members), read+len(members)
			if read == n {
				r.from = "[" + found[len(found)-1].member + markPast
				return found, nil
			}
			r.set, r.from = r.set+1, r.first()
		}
	}
	return found, nil
}

func (r *keyRange) ask(sets, limit int) []rueidis.Completed {
	commands := make([]rueidis.Completed, sets)
	for i := range commands {
		from := r.first()
		if i == 0 {
			from = r.from
		}
		commands[i] = r.store.client.B().Zrangebylex().Key(r.store.indexSet(r.kind, r.set+i)).Min(from).Max(r.last()).Limit(0, int64(limit)).Build().Pin() // see fetch
	}
	return commands
}

// gather joins members with the marks behind them.
func gather(found []candidate, members []string) []candidate {
	for _, text := range members {
		member, _, isMark := strings.Cut(text, markSign)
		if len(found) == 0 || found[len(found)-1].member != member {
			found = append(found, candidate{member: member})
		}
		c := &found[len(found)-1]
		if isMark {
			c.marks = append(c.marks, text)
		} else {
			c.settled = true
		}
	}
	return found
}
