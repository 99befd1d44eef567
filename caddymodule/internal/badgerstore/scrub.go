package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/dgraph-io/badger/v4/table"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// scrubEvery is how often one table is read again: of a million sessions there
// are about a hundred. It costs a core some thousandths of its time.
const scrubEvery = time.Second

// scrub reads the tables again while the store is open, one after the other. To
// Badger a key that has changed on the disk looks like one that is not there,
// and the version before it, which the new one had ended, would be found in its
// place. Values need no such care: they are sealed.
func (s *Store) scrub(ctx context.Context) {
	tick := time.NewTicker(scrubEvery)
	defer tick.Stop()
	for after := uint64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			var err error
			if after, err = s.scrubNext(after); err != nil {
				s.opt.Log.Error("the store refuses everything from now on", "error", err)
				s.calls.fail(err)
				return
			}
		}
	}
}

// scrubNext checks the table with the next higher id; at the end it returns to
// the first.
func (s *Store) scrubNext(after uint64) (id uint64, err error) {
	for listed := range s.tables() {
		if listed > after && (id == 0 || listed < id) {
			id = listed
		}
	}
	if id == 0 {
		return 0, nil
	}
	_, err = verifyTable(table.NewFilename(id, dbDir(s.opt.Path)))
	if _, listed := s.tables()[id]; err == nil || !listed {
		return id, nil // a compaction has taken it away meanwhile
	}
	if errors.Is(err, errUnopened) && !errors.Is(err, fs.ErrNotExist) {
		s.opt.Log.Warn("a table was not looked at", "table", id, "error", err)
		return id, nil
	}
	return id, fmt.Errorf("%w: the store is damaged: table %06d: %w; stop Caddy, check the disk, and restore a backup", auth.ErrUnavailable, id, err)
}

// tables are those that are in use.
func (s *Store) tables() map[uint64]bool {
	ids := map[uint64]bool{}
	for _, t := range s.db.Tables() {
		ids[t.ID] = true
	}
	return ids
}
