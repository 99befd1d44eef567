package badgerstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// slots is the file of the users' data keys, beside the database. Badger never
// changes what it has written, it writes anew and drops the old file one day; so
// what is to be gone at once must lie elsewhere. In this file a user's key is
// overwritten in its place.
//
// The file is a head and slots of one size, numbered from 1. It only grows, and
// no number is used twice: a record that names an erased slot is erased for good.
// A slot lies within one sector of a disk, which is written as a whole.
type slots struct {
	file *os.File
	name string

	mu     sync.Mutex
	next   uint64 // number of the next new slot
	safe   uint64 // how many slots are on the disk
	failed error  // after a failed fsync the kernel may have dropped what was written
	group  *group
}

const slotSize = 64

// slotsHead begins the file, so that another format can be told apart.
var slotsHead = append([]byte("Sidegate data keys, format 1\n"), make([]byte, slotSize-29)...)

func slotsFile(path string) string { return filepath.Join(path, "data.keys") }

const slotsRemedy = "restore a backup of the store; a copy of this file alone would bring back what was erased"

// openSlots opens the file, or makes it for a store that has no slots yet. least
// is how many slots there must be.
func openSlots(path string, least uint64) (*slots, error) {
	s := &slots{name: slotsFile(path)}
	err := s.open(least)
	if err != nil && s.file != nil {
		err = errors.Join(err, s.file.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("opening the data keys: %w", err)
	}
	s.group = newGroup(s.sync)
	return s, nil
}

func (s *slots) open(least uint64) (err error) {
	flags := os.O_RDWR
	if least == 0 {
		flags |= os.O_CREATE
	}
	if s.file, err = os.OpenFile(s.name, flags, 0o600); errors.Is(err, fs.ErrNotExist) {
		return s.missing()
	} else if err != nil {
		return err
	}
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < slotSize && least == 0 { // new, or a crash has kept it from being made
		if err := s.begin(); err != nil {
			return err
		}
	}
	if err := s.checkHead(); err != nil {
		return err
	}
	// A crash may have left a part of a slot behind that nobody knows of.
	s.next = max(1, uint64(info.Size()/slotSize))
	if have := s.next - 1; have < least {
		return fmt.Errorf("%s was cut short, it has %d keys and had %d: %s", s.name, have, least, slotsRemedy)
	}
	return s.sync()
}

func (s *slots) checkHead() error {
	head := make([]byte, slotSize)
	if _, err := s.file.ReadAt(head, 0); err != nil || !bytes.Equal(head, slotsHead) {
		return fmt.Errorf("%s is damaged, or of another version of Sidegate: %s", s.name, slotsRemedy)
	}
	return nil
}

// examineSlots looks at the file of a store that is not open, without its keys:
// whether it has lost some only the database knows.
func examineSlots(path string) error {
	s := &slots{name: slotsFile(path)}
	var err error
	if s.file, err = os.Open(s.name); errors.Is(err, fs.ErrNotExist) {
		return s.missing()
	} else if err != nil {
		return err
	}
	return errors.Join(s.checkHead(), s.file.Close())
}

func (s *slots) missing() error { return fmt.Errorf("%s is missing: %s", s.name, slotsRemedy) }

func (s *slots) begin() error {
	_, err := s.file.WriteAt(slotsHead, 0)
	return errors.Join(err, s.file.Sync(), syncFile(filepath.Dir(s.name)))
}

// count is how many slots survive a crash of the machine.
func (s *slots) count() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.safe
}

// read gives what lies in a slot.
func (s *slots) read(slot uint64) ([]byte, error) {
	held := make([]byte, slotSize)
	if slot > 1<<48 {
		return nil, fmt.Errorf("no data key can have the number %d", slot)
	}
	if _, err := s.file.ReadAt(held, int64(slot)*slotSize); err != nil {
		return nil, fmt.Errorf("reading data key %d of %s: %w; %s", slot, s.name, err, slotsRemedy)
	}
	return held, nil
}

// add makes n slots, and returns the first one's number when all are on the
// disk.
func (s *slots) add(n int, fill func(slot uint64) []byte) (first uint64, err error) {
	if first, err = s.write(n, fill); err != nil {
		return 0, fmt.Errorf("adding data keys: %w", err)
	}
	if err := s.group.join(); err != nil {
		return 0, fmt.Errorf("adding data keys: %w", err)
	}
	return first, nil
}

func (s *slots) write(n int, fill func(slot uint64) []byte) (first uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = s.next
	content := make([]byte, 0, n*slotSize)
	for slot := first; slot < first+uint64(n); slot++ {
		content = append(content, fill(slot)...)
	}
	if _, err := s.file.WriteAt(content, int64(first)*slotSize); err != nil {
		return 0, err
	}
	s.next += uint64(n)
	return first, nil
}

// overwrite replaces what lies in a slot, on the disk too.
func (s *slots) overwrite(slot uint64, held []byte) error {
	if _, err := s.file.WriteAt(held, int64(slot)*slotSize); err != nil {
		return fmt.Errorf("overwriting data key %d: %w", slot, err)
	}
	return s.group.join()
}

// sync is one round of the group. Others go on writing meanwhile.
func (s *slots) sync() error {
	s.mu.Lock()
	written, err := s.next-1, s.failed
	s.mu.Unlock()
	if err != nil {
		return err
	}
	err = s.file.Sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed = err; err == nil {
		s.safe = written
	}
	return err
}

func (s *slots) close() error {
	s.group.close()
	return s.file.Close()
}
