package badgerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// wal syncs Badger's write-ahead logs. badger.DB.Sync is not enough: it syncs
// the log of the active memtable, but when a memtable is full Badger goes on to
// the next one without syncing the old log (db.go, ensureRoomForWrite), so a
// commit at the end of the old one would be answered and lie in the page cache
// until its table is built. It also holds the lock that every reader and writer
// takes. So this follows the logs by name and syncs the files itself; fsync
// writes what was changed through a mapping, too.
type wal struct {
	db  *badger.DB
	dir string

	mu     sync.Mutex
	number int      // of the newest log
	file   *os.File // the newest log
	failed error    // after a failed fsync the kernel may have dropped pages
}

func logName(dir string, number int) string {
	return filepath.Join(dir, fmt.Sprintf("%05d.mem", number))
}

// logNumbers lists the logs, oldest first.
func logNumbers(dir string) (numbers []int, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), ".mem"))
		if err != nil {
			return nil, fmt.Errorf("unknown log %s", name)
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, nil
}

// openWAL finds the log that the open database writes to. It syncs all there
// are: a killed process may have left some to the kernel.
func openWAL(db *badger.DB, dir string) (*wal, error) {
	numbers, err := logNumbers(dir)
	if err != nil || len(numbers) == 0 {
		return nil, fmt.Errorf("no logs where this version of Badger keeps them (%v)", err)
	}
	for _, n := range numbers {
		if err := syncFile(logName(dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("syncing a log: %w", err)
		}
	}
	w := &wal{db: db, dir: dir, number: numbers[len(numbers)-1]}
	if w.file, err = os.Open(logName(dir, w.number)); err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	return w, syncFile(dir)
}

// sync makes every commit durable that has ended before the call.
func (w *wal) sync() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = w.syncAll()
	}
	return w.failed
}

func (w *wal) syncAll() error {
	// Whoever waits has written to a log that exists by now, or whose table is
	// on the disk already.
	for turned := false; ; turned = true {
		if err := w.file.Sync(); err != nil {
			return fmt.Errorf("syncing the log: %w", err)
		}
		next, err := w.successor()
		if err != nil {
			return fmt.Errorf("looking for the next log: %w", err)
		}
		if next == w.number {
			if turned {
				return syncFile(w.dir) // the names of the new files
			}
			return w.elsewhere()
		}
		if err := w.turn(next); err != nil {
			return fmt.Errorf("turning to the next log: %w", err)
		}
	}
}

// successor tells which log comes after the current one, or the current one
// when it is the newest.
func (w *wal) successor() (int, error) {
	if _, err := os.Lstat(logName(w.dir, w.number+1)); !errors.Is(err, fs.ErrNotExist) {
		return w.number + 1, err
	}
	// Logs are removed in order, once their tables are durable. So while the
	// current one is there, none after it has come and gone.
	if _, err := os.Lstat(logName(w.dir, w.number)); !errors.Is(err, fs.ErrNotExist) {
		return w.number, err
	}
	numbers, err := logNumbers(w.dir)
	if err != nil {
		return 0, err
	}
	for _, n := range numbers {
		if n > w.number {
			return n, nil
		}
	}
	return 0, fmt.Errorf("none after %d", w.number)
}

// turn goes on to a later log. The old one gets nothing any more, but may have
// grown since it was synced.
func (w *wal) turn(next int) error {
	file, err := os.Open(logName(w.dir, next))
	if errors.Is(err, fs.ErrNotExist) {
		w.number = next // built and removed meanwhile: look again
		return nil
	}
	if err != nil {
		return err
	}
	err = errors.Join(w.file.Sync(), w.file.Close())
	w.file, w.number = file, next
	return err
}

// elsewhere does what only Linux promises of fsync on a mapped file.
func (w *wal) elsewhere() error {
	if runtime.GOOS == "linux" {
		return nil
	}
	return w.db.Sync()
}

func (w *wal) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.file.Close()
	w.failed = errClosed
}

// syncFile syncs a file or directory by name.
func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
