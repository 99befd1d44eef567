package move

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// MarkKey is the record of a store that must not be used. It belongs to the one
// store, and is not copied.
const MarkKey = "move/mark"

// Mark says why a store must not be used.
type Mark struct {
	// Moved: the records were taken to the peer, and have changed there since.
	// Else this is the copy of the peer's, which was never handed over: it may be
	// unfinished or out of date.
	Moved bool      `json:"moved"`
	Peer  string    `json:"peer"` // the other store's place, for people
	At    time.Time `json:"at"`
}

// String says what the mark means, for people.
func (m Mark) String() string {
	at := m.At.UTC().Format(time.RFC3339)
	if m.Moved {
		return fmt.Sprintf("its records were moved to %s at %s", m.Peer, at)
	}
	return fmt.Sprintf("it is a copy of %s, begun at %s, that was never handed over: it may be unfinished or out of date", m.Peer, at)
}

// ReadMark reads the mark of a store; marked is false when it has none.
func ReadMark(ctx context.Context, store auth.Store) (m Mark, marked bool, err error) {
	records, err := store.Get(ctx, MarkKey)
	if err != nil {
		return m, false, fmt.Errorf("reading the mark of a move: %w", err)
	}
	if records[0].Version == 0 {
		return m, false, nil
	}
	if err := json.Unmarshal(records[0].Value, &m); err != nil {
		return m, true, fmt.Errorf("%w: reading the mark of a move: %w", auth.ErrUnavailable, err)
	}
	return m, true, nil
}

// Unmark takes the mark off a store.
func Unmark(ctx context.Context, store auth.Store) error {
	return mark(ctx, &side{Store: store}, nil)
}

// mark marks a store, to last; nil takes the mark away.
func mark(ctx context.Context, of *side, m *Mark) error {
	w := auth.Write{Key: MarkKey, Unlisted: true, Ending: true} // also when space is short: it takes access away
	if m != nil {
		var err error
		if w.Value, err = json.Marshal(m); err != nil {
			return fmt.Errorf("marking a store: %w", err)
		}
	}
	if err := overwrite(ctx, of, w); err != nil {
		return fmt.Errorf("marking a store: %w", err)
	}
	return nil
}
