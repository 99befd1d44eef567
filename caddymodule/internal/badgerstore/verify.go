package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
)

// verify looks at the files before Badger does. Badger ends the process for a
// table that was cut short, deletes tables that a damaged manifest does not
// name, takes a missing manifest for an empty database, and cuts a log off at
// its first damaged entry; here nothing is touched. It returns the newest
// version there is.
func verify(dir string, opt badger.Options) (newest uint64, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return 0, err
	}
	manifest, err := readManifest(dir, opt)
	if errors.Is(err, fs.ErrNotExist) {
		for _, name := range names {
			if base := filepath.Base(name); base != "LOCK" && base != "MANIFEST-REWRITE" {
				return 0, fmt.Errorf("its MANIFEST is missing, but there is %s", base)
			}
		}
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("its MANIFEST: %w", err)
	}
	return verifyTables(dir, names, manifest)
}

func readManifest(dir string, opt badger.Options) (m badger.Manifest, err error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return m, err
	}
	defer f.Close()
	err = guard(func() (err error) {
		m, _, err = badger.ReplayManifestFile(f, opt.ExternalMagicVersion, opt)
		return err
	})
	return m, err
}

// verifyTables reads every table that the manifest names, and asks what the
// others are: left over from a crash, or forgotten by the manifest.
func verifyTables(dir string, names []string, m badger.Manifest) (newest uint64, err error) {
	var known uint64 // highest version in the tables that will be used
	for id := range m.Tables {
		version, err := verifyTable(table.NewFilename(id, dir))
		if err != nil {
			return 0, fmt.Errorf("table %06d: %w", id, err)
		}
		known = max(known, version)
	}
	first, last, err := readLogs(dir)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		id, ok := table.ParseFileID(name)
		if _, listed := m.Tables[id]; !ok || listed {
			continue
		}
		// A table that was being built of a log when the process ended holds what
		// that log does, and will be built again.
		version, err := verifyTable(name)
		if err == nil && version > known && version < first {
			return 0, fmt.Errorf("its MANIFEST does not name table %06d, which is newer than all others", id)
		}
	}
	return max(known, last), nil
}

// verifyTable checks all checksums of a table and returns its highest version.
// The index comes first: Badger's own reader ends the process when it is cut.
func verifyTable(name string) (version uint64, err error) {
	file, err := z.OpenMmapFile(name, os.O_RDWR, 0)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errUnopened, err)
	}
	defer func() { err = errors.Join(err, file.Close(-1)) }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	err = guard(func() error {
		if err := verifyIndex(file.Data); err != nil {
			return err
		}
		t, err := table.OpenTable(file, table.Options{BlockSize: blockSize})
		if err != nil {
			return err
		}
		version = t.MaxVersion()
		return t.VerifyChecksum()
	})
	return version, err
}

// errUnopened says that a file could not be looked at, which need not be its own
// fault: a process may have too many open.
var errUnopened = errors.New("it cannot be opened")

var errIndex = errors.New("its index is damaged or cut short")

// verifyIndex checks the end of a table: index, its length, its checksum, the
// checksum's length (table/table.go, initIndex).
func verifyIndex(data []byte) error {
	sum, data, ok := lastPart(data)
	if !ok {
		return errIndex
	}
	index, _, ok := lastPart(data)
	if !ok || len(index) == 0 {
		return errIndex
	}
	want, ok := parseChecksum(sum)
	if !ok || y.VerifyChecksum(index, want) != nil {
		return errIndex
	}
	return nil
}

// lastPart cuts a part and the four bytes of its length off the end.
func lastPart(data []byte) (part, rest []byte, ok bool) {
	if len(data) < 4 {
		return nil, nil, false
	}
	n := uint64(binary.BigEndian.Uint32(data[len(data)-4:]))
	data = data[:len(data)-4]
	if n > uint64(len(data)) {
		return nil, nil, false
	}
	at := len(data) - int(n)
	return data[at:], data[:at], true
}

// parseChecksum reads the protobuf message of two varints.
func parseChecksum(b []byte) (*pb.Checksum, bool) {
	sum := &pb.Checksum{}
	for r := bytes.NewReader(b); r.Len() > 0; {
		tag, err := r.ReadByte()
		if err != nil {
			return nil, false
		}
		n, err := binary.ReadUvarint(r)
		switch {
		case err != nil:
			return nil, false
		case tag == 1<<3 && n <= uint64(pb.Checksum_XXHash64):
			sum.Algo = pb.Checksum_Algorithm(n)
		case tag == 2<<3:
			sum.Sum = n
		default:
			return nil, false
		}
	}
	return sum, true
}
