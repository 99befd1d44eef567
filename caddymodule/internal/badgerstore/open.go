package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Open opens the store at a path, or makes it. Its errors say what an operator
// can do; they all wrap auth.ErrUnavailable.
func Open(opt Options) (*Store, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.FreeFloor == 0 {
		opt.FreeFloor = defaultFreeFloor
	}
	if opt.LockWait == 0 {
		opt.LockWait = defaultLockWait
	}
	s, err := open(opt)
	if err != nil {
		return nil, fmt.Errorf("%w: opening the store %s: %w", auth.ErrUnavailable, opt.Path, err)
	}
	return s, nil
}

func open(opt Options) (s *Store, err error) {
	if err := makeDirs(opt.Path); err != nil {
		return nil, err
	}
	lock, err := lockDir(opt.Path, opt.LockWait)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	s = &Store{opt: opt, lock: lock, space: newSpace(opt.Path, opt.FreeFloor), engineWait: engineWait}
	if err := s.space.check(true, 0); err != nil {
		return nil, err
	}
	epoch, err := readEpoch(opt.Path)
	if err != nil {
		return nil, err
	}
	if err := s.openDB(epoch); err != nil {
		return nil, err
	}
	if err := s.begin(epoch); err != nil {
		return nil, errors.Join(err, guard(s.db.Close))
	}
	return s, nil
}

func dbDir(path string) string { return filepath.Join(path, "db") }

// makeDirs makes the directories, and says so plainly when they cannot be
// used.
func makeDirs(path string) error {
	if path == "" {
		return errors.New("no path given")
	}
	for _, dir := range []string{path, dbDir(path)} {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return fmt.Errorf("%s is not a directory", dir)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err != nil:
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("%s cannot be made: %w", dir, err)
			}
		}
	}
	probe, err := os.CreateTemp(dbDir(path), ".probe")
	if err != nil {
		return fmt.Errorf("%s cannot be written to: %w", dbDir(path), err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// ErrInUse says that a directory has been opened already.
var ErrInUse = errors.New("it is in use by another process or configuration; only one can open it, also for maintenance")

// lockDir holds a directory for one opener. The lock goes with the file, so a
// killed process leaves none behind.
func lockDir(path string, wait time.Duration) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return dir, nil
		}
		busy := errors.Is(err, syscall.EWOULDBLOCK)
		if busy && time.Now().Before(deadline) {
			continue
		}
		dir.Close()
		if busy {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("locking: %w", err)
	}
}

func (s *Store) openDB(e epoch) error {
	dir := dbDir(s.opt.Path)
	opt := engineOptions(dir, s.opt.Log)
	if err := dropEmptyLogs(dir); err != nil {
		return err
	}
	if err := e.examine(s.opt.Path, opt); err != nil {
		return err
	}
	err := guard(func() (err error) {
		s.db, err = badger.Open(opt)
		return err
	})
	if err != nil {
		return fmt.Errorf("the engine does not open it: %w; if its files are damaged, restore a backup", err)
	}
	return nil
}

// dropEmptyLogs removes logs that a crash left without a single byte. Badger
// would not open beside them; if they ever held something, the epoch tells.
func dropEmptyLogs(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	for _, name := range names {
		if info, statErr := os.Stat(name); statErr == nil && info.Size() == 0 {
			err = errors.Join(err, os.Remove(name))
		}
	}
	return err
}

// begin checks that nothing is missing, and starts what an open store runs.
func (s *Store) begin(e epoch) (err error) {
	slots, err := s.checkEpoch(e)
	if err != nil {
		return err
	}
	if s.slots, err = openSlots(s.opt.Path, slots); err != nil {
		return err
	}
	if s.wal, err = openWAL(s.db, dbDir(s.opt.Path)); err != nil {
		return errors.Join(err, s.slots.close())
	}
	s.group = newGroup(s.sync)
	if err := s.writeEpoch(); err != nil {
		s.group.close()
		s.wal.close()
		return errors.Join(err, s.slots.close())
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.keeping.Go(func() { s.keep(ctx) })
	s.keeping.Go(func() { s.scrub(ctx) })
	return nil
}

const (
	memtable  = 16 << 20
	blockSize = 4 << 10
	// tableSize is that of all tables. Badger's own grow to 16 MB with the store,
	// and a compaction holds two dozen in the making, each in a buffer of twice
	// that. Each table is an open file: 250 for a gigabyte.
	tableSize = 4 << 20
)

// engineOptions keep Badger small: its defaults take hundreds of megabytes.
func engineOptions(dir string, log *slog.Logger) badger.Options {
	opt := badger.DefaultOptions(dir).
		WithMemTableSize(memtable).
		WithNumMemtables(2).
		WithBlockSize(blockSize).
		WithBaseTableSize(tableSize).
		WithCompression(options.None). // sealed values do not compress
		WithBlockCacheSize(0).         // uncompressed blocks are read from the mapping
		WithIndexCacheSize(16 << 20).
		WithValueLogFileSize(64 << 20).
		WithNumCompactors(2).
		WithMetricsEnabled(false).
		WithDetectConflicts(true).
		WithSyncWrites(false) // group does it, for many at once
	opt.TableSizeMultiplier = 1
	return opt.WithLogger(engineLog{log})
}

// engineLog gives Badger's words to slog. Its chatter is dropped: at debug it
// prints keys.
type engineLog struct{ log *slog.Logger }

func (l engineLog) Errorf(f string, v ...any) { l.log.Error("badger", "message", fmt.Sprintf(f, v...)) }
func (l engineLog) Warningf(f string, v ...any) {
	l.log.Warn("badger", "message", fmt.Sprintf(f, v...))
}
func (l engineLog) Infof(f string, v ...any) { l.log.Debug("badger", "message", fmt.Sprintf(f, v...)) }
func (l engineLog) Debugf(string, ...any)    {}
