package badgerstore

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
)

// Size is how many bytes of the disk the files below a directory take: Badger
// makes its logs larger than they are, with holes. A file that goes away
// meanwhile takes none.
func Size(path string) (bytes int64, err error) {
	err = filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var n int64
			n, err = allocated(entry)
			bytes += n
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return bytes, err
}

func allocated(entry fs.DirEntry) (int64, error) {
	info, err := entry.Info()
	if err != nil {
		return 0, err
	}
	const unit = 512 // of st_blocks, whatever the file system's is
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * unit, nil
	}
	return info.Size(), nil
}
