// Package badgerstore is the embedded auth.Store: one node, no server beside
// it. It adds to Badger what the contract asks: durable answers that share
// their syncs, expiry to the millisecond, sealed values, and a refusal to open
// when data went missing.
//
// Values stay in Badger's tables (all are far below its value threshold), so
// its value log is always empty and needs no garbage collection.
package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Options say where and how to keep records.
type Options struct {
	// Path is the directory of the store. It is made when missing, mode 0700.
	Path string
	// Now is the time that records expire by. Nil: time.Now.
	Now func() time.Time
	// Seal encrypts values and hides keys. It is needed.
	Seal Sealer
	// Log gets what nobody asked for: Badger's warnings, the keeper's errors.
	// Nil: nobody.
	Log *slog.Logger
	// FreeFloor is the free space in bytes below which only Ending writes are
	// taken; below an eighth of it, none. Badger writes through mmap, where a
	// full disk kills the process, so the floor must leave room for a memtable
	// and a compaction. 0: 64 MiB.
	FreeFloor uint64
	// LockWait is how long Open waits for another opener to let go, such as the
	// configuration before this one. 0: 5 s. Negative: not at all.
	LockWait time.Duration
}

const (
	defaultFreeFloor = 64 << 20
	defaultLockWait  = 5 * time.Second
	epochEvery       = 3 * time.Second
)

// Store is an open store. It is safe for concurrent use.
type Store struct {
	opt   Options
	db    *badger.DB
	lock  *os.File
	space *space
	calls calls
	group *group
	wal   *wal
	slots *slots
	known knownOwners

	// writes counts transactions that have begun and that have ended.
	begun, ended atomic.Uint64
	clean        atomic.Uint64 // value of begun that is known durable

	reached atomic.Uint64 // the newest version that was committed

	epochMu  sync.Mutex
	epochAt  uint64 // begun when the epoch was last written
	progress progress

	swept uint64 // day of the last sweep; the keeper's alone

	stop       context.CancelFunc
	keeping    sync.WaitGroup
	engineWait time.Duration
	closeOnce  sync.Once
	closeErr   error
}

// Close waits for running calls, up to ten seconds, makes everything durable
// and lets go of the directory. Calls that come later get ErrUnavailable. An
// engine that does not end is left behind, with the directory's lock.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

const closeWait = 10 * time.Second

// engineWait is how long the engine may take to end: it has two memtables to
// write at most, and tries for ever when it cannot.
const engineWait = 20 * time.Second

func (s *Store) close() error {
	idle := s.calls.close()
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
		s.opt.Log.Warn("closing the store while calls are running")
	}
	s.stop()
	s.keeping.Wait()
	epochErr := s.writeEpoch()
	s.group.close()
	s.wal.close()
	s.progress.close()
	epochErr = errors.Join(epochErr, s.slots.close())
	if err := s.space.check(true, 0); err != nil {
		// Badger would flush its memory through mmap and kill the process. The
		// log on the disk holds everything; the next process reads it. The lock
		// stays, because Badger's goroutines still use the files.
		return fmt.Errorf("closing the store: left to its log: %w", err)
	}
	return errors.Join(epochErr, s.closeEngine())
}

func (s *Store) closeEngine() error {
	done := make(chan error, 1)
	go func() { done <- errors.Join(guard(s.db.Close), s.lock.Close()) }()
	select {
	case err := <-done:
		return err
	case <-time.After(s.engineWait):
		return fmt.Errorf("closing the store %s: the engine has not ended within %s, and is left behind: its files cannot be written to, or are gone", s.opt.Path, s.engineWait)
	}
}

var _ auth.Store = (*Store)(nil)
