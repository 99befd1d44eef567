package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
// deletions and a compaction has dropped them.
func epochFile(path string) string { return filepath.Join(path, "epoch") }

const epochRemedy = "restore a backup; or remove the file %s to go on with what is there, which may bring ended sessions back to life"

// readEpoch returns 0 when there is no file.
func readEpoch(path string) (uint64, error) {
	name := epochFile(path)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the epoch: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("the epoch file is damaged: "+epochRemedy, name)
	}
	return n, nil
}

func lost(path, what string) error {
	return fmt.Errorf("the store has lost data (%s): "+epochRemedy, what, epochFile(path))
}

// checkEpoch compares the marker record with the file.
func (s *Store) checkEpoch(want uint64) error {
	var have uint64
	err := s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(epochKey)
		if err == nil {
			have = item.Version()
		}
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the marker: %w", err)
	}
	if have < want {
		return lost(s.opt.Path, fmt.Sprintf("it had come to %d and is at %d", want, have))
	}
	return nil
}

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
	text := strconv.FormatUint(uint64(version), 10) + "\n"
	if err := writeFile(epochFile(s.opt.Path), text); err != nil {
		return fmt.Errorf("writing the epoch: %w", err)
	}
	return nil
}

func (s *Store) writeMarker() (v auth.Version, err error) {
	err = guard(func() error {
		txn := s.db.NewTransaction(true)
		defer txn.Discard()
		e := badger.NewEntry(epochKey, []byte{1})
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

// keep moves the epoch on while the store is open.
func (s *Store) keep(ctx context.Context) {
	defer s.keeping.Done()
	tick := time.NewTicker(epochEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.writeEpoch(); err != nil {
				s.opt.Log.Error("keeping the store", "error", err)
			}
		}
	}
}
