package auth

import (
	"context"
	"errors"
	"time"
)

// Restoration fills an empty store from a backup. It is used by one goroutine,
// while nobody else has the store. The store must have the root key of the one
// that the backup is of: what keys hide, and what clients hold, follows from it.
type Restoration struct {
	store Store
	since *Aftermath
	kept  time.Duration // how long a session's record outlives it

	batch  []Write
	last   uint64 // the highest id that was given until the backup
	blocks blocks
	// Restored counts what is in the store now, Ended the sessions that the
	// aftermath has ended.
	Restored, Ended int
}

// NewRestoration begins to fill a store.
func NewRestoration(store Store, since *Aftermath) *Restoration {
	return &Restoration{store: store, since: since, kept: sessionRetention}
}

// restoreBatch is how many records are written at once.
const restoreBatch = 500

// Add puts a record of the backup in its place, in whatever order they come.
func (r *Restoration) Add(ctx context.Context, w Write) error {
	w, keep, err := r.adapt(w)
	if err != nil || !keep {
		return err
	}
	return r.put(ctx, w)
}

func (r *Restoration) put(ctx context.Context, w Write) error {
	r.Restored++
	if r.batch = append(r.batch, w); len(r.batch) < restoreBatch {
		return nil
	}
	return r.flush(ctx)
}

func (r *Restoration) flush(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	err := r.store.Put(ctx, r.batch)
	r.batch = r.batch[:0]
	return err
}

// adapt makes a record of the backup one of the new store's.
func (r *Restoration) adapt(w Write) (_ Write, keep bool, err error) {
	if w.Owner != 0 && r.since.deleted[w.Owner] {
		return w, false, nil
	}
	kind := kindOf(w.Key)
	switch kind {
	case "phone":
		return r.number(w)
	case "user":
		return r.user(w)
	case "session":
		return r.session(w)
	case "device":
		return w, true, decode(w.Value, new(Device))
	case "counter":
		var c counter
		err := decode(w.Value, &c)
		r.last = max(r.last, c.Last)
		return w, false, err // see count
	case "keys":
		return w, !r.since.keys, nil
	case blocksKey:
		return w, false, decode(w.Value, &r.blocks) // see block
	case "audit":
		return w, false, nil // the audit of the new store is a chain of its own
	}
	return w, archived(kind), nil
}

// number keeps what leads to a user. A number that its user has given up since
// leads nowhere: whoever has it now may be a stranger.
func (r *Restoration) number(w Write) (Write, bool, error) {
	var e phoneEntry
	err := decode(w.Value, &e)
	return w, !r.since.moved[e.UserID], err
}

func (r *Restoration) user(w Write) (Write, bool, error) {
	var u User
	if err := decode(w.Value, &u); err != nil {
		return w, false, err
	}
	r.since.apply(&u)
	var err error
	w.Value, err = encode(u)
	return w, true, err
}

func (r *Restoration) session(w Write) (Write, bool, error) {
	var v Session
	if err := decode(w.Value, &v); err != nil {
		return w, false, err
	}
	if end, over := r.since.endOf(v.ID, v.UserID, v.DeviceID); over && v.EndReason == "" {
		r.Ended++
		v.over(end.reason, end.at)
		w.Expires = end.at.Add(r.kept)
	}
	v.Restored = v.EndReason == ""
	var err error
	w.Value, err = encode(v)
	return w, true, err
}

// count has ids go on above all that were given until and after the backup: the
// app knows them as somebody's.
func (r *Restoration) count(ctx context.Context) error {
	last := max(r.last, r.since.highest)
	if last == 0 {
		return nil
	}
	value, err := encode(counter{last})
	if err != nil {
		return err
	}
	return r.put(ctx, Write{Key: counterKey, Value: value})
}

// block writes what gets no codes.
func (r *Restoration) block(ctx context.Context) error {
	r.since.applyBlocks(&r.blocks)
	if r.blocks.Number == 0 {
		return nil
	}
	value, err := encode(r.blocks)
	if err != nil {
		return err
	}
	return r.put(ctx, Write{Key: blocksKey, Value: value})
}

// Finish writes what stands in no single record, and makes all of it durable.
func (r *Restoration) Finish(ctx context.Context) error {
	if err := errors.Join(r.count(ctx), r.block(ctx), r.flush(ctx)); err != nil {
		return err
	}
	return r.store.Sync(ctx)
}
