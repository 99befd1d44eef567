package command

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"
)

// openLogs reads files one after the other, as one log. Caddy packs those that
// it has rotated away.
func openLogs(names []string) (log io.Reader, closeAll func(), err error) {
	var files []*os.File
	closeAll = func() {
		for _, f := range files {
			f.Close()
		}
	}
	var parts []io.Reader
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			closeAll()
			return nil, nil, usageError{err}
		}
		files = append(files, f)
		var part io.Reader = f
		if strings.HasSuffix(name, ".gz") {
			if part, err = gzip.NewReader(f); err != nil {
				closeAll()
				return nil, nil, fmt.Errorf("reading %s: %w", name, err)
			}
		}
		parts = append(parts, part, strings.NewReader("\n"))
	}
	return io.MultiReader(parts...), closeAll, nil
}
