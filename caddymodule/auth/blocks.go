package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// Block keeps codes from a country's numbers, or from those that begin alike.
type Block struct {
	Country string    `json:"country,omitempty"` // ISO 3166, two letters
	Prefix  string    `json:"prefix,omitempty"`  // as E.164, such as +4670
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since"`
}

// covers reports whether a number is meant.
func (b Block) covers(phone, country string) bool {
	return b.Country != "" && b.Country == country || b.Prefix != "" && strings.HasPrefix(phone, b.Prefix)
}

func (b Block) same(other Block) bool { return b.Country == other.Country && b.Prefix == other.Prefix }

// blocks is the record of all of them. The number grows with each change, so
// that what was read before a change does not replace it in memory.
type blocks struct {
	Number uint32  `json:"number"`
	List   []Block `json:"list"`
}

const (
	blocksKey = "blocks"
	mostBytes = 60 << 10 // a record holds 64 KiB
)

// block has all requests see the blocks.
func (l *Live) block(b blocks) {
	for {
		now := l.blocks.Load()
		if now != nil && b.Number <= now.Number || l.blocks.CompareAndSwap(now, &b) {
			return
		}
	}
}

// isBlocked reports whether a number gets no codes. Every node knows the blocks
// by heart, and hears of new ones within seconds.
func (l *Live) isBlocked(phone, country string) bool {
	b := l.blocks.Load()
	return b != nil && slices.ContainsFunc(b.List, func(b Block) bool { return b.covers(phone, country) })
}

// Blocks lists what is blocked.
func (o Operator) Blocks(ctx context.Context) ([]Block, error) {
	b, _, err := read[blocks](ctx, o.service.Store, blocksKey)
	return b.List, err
}

// Block keeps codes from a country or a prefix, whoever has the number: those
// who have an account there are not told apart from those who have none.
// Sessions go on.
func (o Operator) Block(ctx context.Context, b Block) error {
	if err := b.check(); err != nil {
		return err
	}
	b.Since = o.service.now()
	return o.changeBlocks(ctx, Event{Name: EventBlockAdded, After: b}, func(all *blocks) error {
		if slices.ContainsFunc(all.List, b.same) {
			return errUnchanged
		}
		all.List = append(all.List, b)
		if text, err := encode(all); err != nil || len(text) > mostBytes {
			return Refuse(CodeInvalidRequest).Because("There are too many blocks; block shorter prefixes or countries.")
		}
		return nil
	})
}

// Unblock lets the codes go out again.
func (o Operator) Unblock(ctx context.Context, b Block) error {
	if err := b.check(); err != nil {
		return err
	}
	was := new(Block)
	return o.changeBlocks(ctx, Event{Name: EventBlockRemoved, Before: was}, func(all *blocks) error {
		i := slices.IndexFunc(all.List, b.same)
		if i < 0 {
			return Refuse(CodeNotFound).Because("This is not blocked.")
		}
		*was = all.List[i]
		all.List = slices.Delete(all.List, i, i+1)
		return nil
	})
}

func (b Block) check() error {
	digits := strings.TrimPrefix(b.Prefix, "+")
	badPrefix := b.Prefix != "" && (len(digits) != len(b.Prefix)-1 || digits == "" || digits[0] == '0' || len(digits) > 15 || strings.Trim(digits, "0123456789") != "")
	badCountry := b.Country != "" && (len(b.Country) != 2 || strings.Trim(b.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "")
	if badPrefix || badCountry || (b.Prefix == "") == (b.Country == "") {
		return Refuse(CodeInvalidRequest).Because("Name either a country, such as NG, or a prefix, such as +4670.")
	}
	return nil
}

func (o Operator) changeBlocks(ctx context.Context, e Event, apply func(*blocks) error) error {
	ctx, cancel := lasting(ctx)
	defer cancel()
	changed := false
	after, err := update(ctx, o.service.Store, blocksKey, func(b *blocks, _ bool) (Write, error) {
		changed = false
		if err := apply(b); err != nil {
			return Write{}, err
		}
		changed = true
		b.Number++
		return Write{Ending: e.Name == EventBlockAdded}, nil
	})
	if err != nil {
		if errors.Is(err, ErrUnavailable) {
			o.service.hearAgain(ctx)
		}
		return err
	}
	o.service.Live.block(after)
	if changed {
		o.Tell(e)
	}
	return nil
}
