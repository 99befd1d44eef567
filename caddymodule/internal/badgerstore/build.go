package badgerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Build makes a store that fill has filled, whole or not at all: it grows in a
// directory of its own inside the path, and moves to its place at the end. A
// path that holds a store already, or is in use, is refused.
func Build(opt Options, fill func(*Store) error) error {
	if err := build(opt, fill); err != nil {
		return fmt.Errorf("building the store %s: %w", opt.Path, err)
	}
	return nil
}

func build(opt Options, fill func(*Store) error) error {
	path, growing := opt.Path, filepath.Join(opt.Path, "growing")
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	lock, err := lockDir(path, opt.LockWait)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := empty(path, growing); err != nil {
		return err
	}
	if err := os.RemoveAll(growing); err != nil { // what a kill has left
		return err
	}
	opt.Path = growing
	s, err := Open(opt)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(s), s.Close()); err != nil {
		return errors.Join(err, os.RemoveAll(growing))
	}
	return settle(path, growing)
}

// empty refuses a path that has a store. An epoch beside growing files is one
// that settle has not gone on from.
func empty(path, growing string) error {
	files, err := os.ReadDir(dbDir(path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, noEpoch := os.Stat(epochFile(path))
	_, notBegun := os.Stat(growing)
	if len(files) > 0 || noEpoch == nil && notBegun != nil {
		return errors.New("there is a store already; name an empty place, or move that one away")
	}
	return nil
}

// settle moves a store to its place, the epoch before the database: a crash in
// between leaves one without it, which does not open and can be built again.
func settle(path, growing string) error {
	if err := os.Rename(slotsFile(growing), slotsFile(path)); err != nil {
		return err
	}
	if err := os.Rename(epochFile(growing), epochFile(path)); err != nil {
		return err
	}
	if err := os.Remove(dbDir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(dbDir(growing), dbDir(path)); err != nil {
		return err
	}
	return errors.Join(syncFile(path), os.Remove(growing))
}
