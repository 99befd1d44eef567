package move

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Difference is how many records of a kind are not the same in both stores.
type Difference struct {
	Kind    string `json:"kind"` // of records: what stands before the first slash of their names
	What    string `json:"what"` // missing, surplus, value, expiry or owner: what is wrong in the target
	Records int    `json:"records"`
}

// The ways in which a record of the target can be wrong.
const (
	missing   = "missing"
	surplus   = "surplus"
	wrong     = "value"
	wrongTime = "expiry"
	wrongUser = "owner"
)

// differences counts by many goroutines.
type differences struct {
	mu     sync.Mutex
	counts map[Difference]int
}

func (d *differences) add(key, what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil {
		d.counts = map[Difference]int{}
	}
	kind, _, _ := strings.Cut(key, "/")
	d.counts[Difference{Kind: kind, What: what}]++
}

func (d *differences) list() []Difference {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []Difference
	for _, one := range slices.SortedFunc(maps.Keys(d.counts), func(a, b Difference) int {
		return strings.Compare(a.Kind+" "+a.What, b.Kind+" "+b.What)
	}) {
		one.Records = d.counts[one]
		list = append(list, one)
	}
	return list
}

// check compares all records of both stores: none may be missing, none too many.
func (p *pair) check(ctx context.Context, done *atomic.Int64, found *differences) error {
	compare := func(from, with *side) error {
		return inBatches(ctx, from, func(ctx context.Context, batch []auth.Write) error {
			if err := stubborn(ctx, func() error { return p.compare(ctx, batch, with, found) }); err != nil {
				return fmt.Errorf("checking: %w", err)
			}
			done.Add(int64(len(batch)))
			return nil
		})
	}
	if err := compare(p.first, p.second); err != nil {
		return err
	}
	return compare(p.second, p.first)
}

// compare looks for differences. Most records are the same at first sight; what
// is not may just be written, so it is looked at again while it cannot be.
func (p *pair) compare(ctx context.Context, batch []auth.Write, with *side, found *differences) error {
	others, err := with.Store.(auth.Walker).Fetch(ctx, keysOf(batch)...)
	if err != nil {
		return err
	}
	for i, w := range batch {
		if differ(w, others[i], p.now()) == "" {
			continue
		}
		what, err := p.compareOne(ctx, w.Key)
		if err != nil {
			return err
		}
		if what != "" {
			found.add(w.Key, what)
		}
	}
	return nil
}

func (p *pair) compareOne(ctx context.Context, key string) (string, error) {
	lock := p.stripe(p.hash(key))
	lock.Lock()
	defer lock.Unlock()
	if p.doubts.has(key) {
		return "", nil // it is brought over before the stores count as equal
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	first, err := fetch(ctx, p.first, key)
	if err != nil {
		return "", err
	}
	second, err := fetch(ctx, p.second, key)
	return differ(first, second, p.now()), err
}

// differ tells what is wrong with the second, at first sight from either side. A
// record that is over by now was so for one of the two readings.
func differ(first, second auth.Write, now time.Time) string {
	if over(first, now) && over(second, now) {
		return ""
	}
	switch {
	case second.Value == nil:
		return missing
	case first.Value == nil:
		return surplus
	case string(first.Value) != string(second.Value):
		return wrong
	case millis(first.Expires) != millis(second.Expires):
		return wrongTime
	case first.Owner != second.Owner:
		return wrongUser
	}
	return ""
}

func over(w auth.Write, now time.Time) bool {
	return w.Value == nil || !w.Expires.IsZero() && !now.Before(w.Expires)
}

// millis is the precision that a store keeps; 0: never.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
