package badgerstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// The epoch file stands beside the database and says how far the database had
// come: the version of a marker record that was durable. Badger opens without a
// word when the end of its log or its manifest is gone, and then sessions live
// again that were ended. The marker would be gone with them.
//
// Badger's highest version would not do: it falls when the newest records were
// deletions and a compaction has dropped them. But it stands in for the marker
// in the moments after that: a second number says what has been answered since.
func epochFile(path string) string { return filepath.Join(path, "epoch") }

const epochRemedy = "restore a backup; or remove the file %s to go on with what is there, which may bring ended sessions back to life"

// epoch is what the file says; zero when there is none.
type epoch struct {
	marker   uint64 // the version of the marker, since when all was synced
	answered uint64 // the newest version that was answered
}

// epochFormat is the file. Its numbers are as wide as any, so that the second
// one is replaced in place. A file of the first alone is an older one.
const epochFormat = "%020d\n%020d\n"

const answeredAt = 21

func readEpoch(path string) (e epoch, err error) {
	name := epochFile(path)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err != nil {
		return e, fmt.Errorf("reading the epoch: %w", err)
	}
	numbers := strings.Fields(string(text))
	for i, to := range []*uint64{&e.marker, &e.answered}[:min(2, len(numbers))] {
		n, failed := strconv.ParseUint(numbers[i], 10, 64)
		err = errors.Join(err, failed)
		*to = n
	}
	if err != nil || len(numbers) > 2 || e.marker == 0 {
		return e, fmt.Errorf("the epoch file is damaged: "+epochRemedy, name)
	}
	return e, nil
}

func lost(path, what string) error {
	return fmt.Errorf("the store has lost data (%s): "+epochRemedy, what, epochFile(path))
}

// checkEpoch compares the marker record with the file, and gives how many data
// keys there were.
func (s *Store) checkEpoch(want epoch) (slots uint64, err error) {
	var have uint64
	err = s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(epochKey)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		have = item.Version()
		return item.Value(func(b []byte) error {
			if len(b) != markerSize {
				return errMarker
			}
			slots = binary.BigEndian.Uint64(b)
			return nil
		})
	})
	if err != nil {
		return 0, fmt.Errorf("reading the marker: %w", err)
	}
	if have < want.marker {
		return 0, lost(s.opt.Path, fmt.Sprintf("it had come to %d and is at %d", want.marker, have))
	}
	return slots, nil
}

const markerSize = 8

var errMarker = errors.New("it was written by another version of Sidegate, which this one cannot read; use that version, or begin with an empty store")

// writeEpoch writes a marker, waits until it is durable, and only then tells
// the file.
func (s *Store) writeEpoch() error {
	s.epochMu.Lock()
	defer s.epochMu.Unlock()
	if s.epochAt != 0 && s.begun.Load() == s.epochAt {
		return nil
	}
	if err := s.space.check(true, 0); err != nil {
		return fmt.Errorf("writing the epoch: %w", err)
	}
	version, err := s.writeMarker()
	if err != nil {
		return fmt.Errorf("writing the epoch's marker: %w", err)
	}
	if err := s.progress.begin(epochFile(s.opt.Path), uint64(version)); err != nil {
		return fmt.Errorf("writing the epoch: %w", err)
	}
	return nil
}

// progress keeps the second number of the file.
type progress struct {
	mu       sync.Mutex
	file     *os.File
	answered uint64
}

// begin replaces the file.
func (p *progress) begin(name string, marker uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered = max(p.answered, marker)
	if err := writeFile(name, fmt.Sprintf(epochFormat, marker, p.answered)); err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	p.close()
	p.file = file
	return nil
}

// note says that a version is durable. When the file comes to the disk is up to
// the kernel: it loses nothing of a killed process, and a power cut makes the
// check weaker, but never wrong.
func (p *progress) note(version uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if version <= p.answered || p.file == nil {
		return nil
	}
	p.answered = version
	if _, err := p.file.WriteAt(fmt.Appendf(nil, "%020d", version), answeredAt); err != nil {
		return fmt.Errorf("noting what is answered: %w", err)
	}
	return nil
}

// close lets go of the file. The caller holds the lock, or is alone.
func (p *progress) close() {
	if p.file != nil {
		p.file.Close()
	}
}

func (s *Store) writeMarker() (v auth.Version, err error) {
	err = guard(func() error {
		txn := s.db.NewTransaction(true)
		defer txn.Discard()
		e := badger.NewEntry(epochKey, binary.BigEndian.AppendUint64(nil, s.slots.count()))
		if err := txn.SetEntry(e); err != nil {
			return err
		}
		at := s.begun.Load() + 1
		if err := s.committed(txn); err != nil {
			return err
		}
		v = versionOf(e)
		if err := s.group.join(); err != nil {
			return err
		}
		s.epochAt = at
		return nil
	})
	return v, err
}

// writeFile replaces a file as a whole, durably.
func writeFile(name, text string) error {
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	return syncFile(filepath.Dir(name))
}

// keep sweeps and moves the epoch on while the store is open.
func (s *Store) keep(ctx context.Context) {
	tick := time.NewTicker(epochEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := errors.Join(s.sweep(), s.writeEpoch()); err != nil {
				s.opt.Log.Error("keeping the store", "error", err)
			}
		}
	}
}
