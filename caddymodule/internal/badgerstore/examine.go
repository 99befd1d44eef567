package badgerstore

import (
	"fmt"
	"log/slog"

	"github.com/dgraph-io/badger/v4"
)

// Examine looks at the files of a store that nobody has open, as Open does, and
// changes nothing. A store that is open, or is not there, gives ErrInUse or
// fs.ErrNotExist.
func Examine(path string) error {
	lock, err := lockDir(path, -1)
	if err != nil {
		return err
	}
	defer lock.Close()
	e, err := readEpoch(path)
	if err != nil {
		return err
	}
	return e.examine(path, engineOptions(dbDir(path), slog.New(slog.DiscardHandler)))
}

// examine looks at the files of a store that is not open, and changes nothing.
func (e epoch) examine(path string, opt badger.Options) error {
	newest, err := verify(dbDir(path), opt)
	if err != nil {
		return fmt.Errorf("the store is damaged: %w; restore a backup", err)
	}
	if want := max(e.marker, e.answered); newest < want {
		return lost(path, fmt.Sprintf("it had come to %d and is at %d", want, newest))
	}
	if e.marker == 0 {
		return nil // a store that was never used
	}
	return examineSlots(path)
}
