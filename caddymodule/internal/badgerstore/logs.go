package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
)

// readLogs gives the oldest and the newest version that the logs hold, as far as
// they can be read. Without any, the oldest is beyond all versions.
func readLogs(dir string) (first, last uint64, err error) {
	first = math.MaxUint64
	numbers, err := logNumbers(dir)
	if err != nil {
		return 0, 0, err
	}
	for _, n := range numbers {
		oldest, newest, err := readLog(logName(dir, n))
		if err != nil {
			return 0, 0, fmt.Errorf("log %05d: %w", n, err)
		}
		first, last = min(first, oldest), max(last, newest)
	}
	return first, last, nil
}

// logHeader is what stands before the entries of a log: a key's id and an IV.
const logHeader = 20

// readLog reads one log up to the first entry that is damaged, or was never
// written: Badger will do the same.
func readLog(name string) (first, last uint64, err error) {
	first = math.MaxUint64
	if info, err := os.Stat(name); err != nil || info.Size() <= logHeader {
		return first, 0, err
	}
	file, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, file.Close(-1)) }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	err = guard(func() error {
		for rest := file.Data[logHeader:]; ; {
			version, size := entryOf(rest)
			if size == 0 {
				return nil
			}
			first, last, rest = min(first, version), max(last, version), rest[size:]
		}
	})
	return first, last, err
}

// entryOf reads the entry that a log goes on with: two bytes of flags, the
// lengths of key and value, the expiry, the key with its version behind it, the
// value, and a checksum of all that (structs.go and memtable.go of Badger). size
// is 0 when there is none, or none that is whole.
func entryOf(log []byte) (version uint64, size int) {
	const flags, versionSize, sumSize = 2, 8, 4
	at, numbers := flags, [3]uint64{} // of key, value, expiry
	for i := range numbers {
		n, read := binary.Uvarint(log[min(at, len(log)):])
		if read <= 0 {
			return 0, 0
		}
		numbers[i], at = n, at+read
	}
	key, value := numbers[0], numbers[1]
	if key < versionSize || key > maxEntry || value > maxEntry || at+int(key+value)+sumSize > len(log) {
		return 0, 0
	}
	end := at + int(key+value)
	if crc32.Checksum(log[:end], y.CastagnoliCrcTable) != binary.BigEndian.Uint32(log[end:]) {
		return 0, 0
	}
	return y.ParseTs(log[at : at+int(key)]), end + sumSize
}

// maxEntry is more than any key or value has.
const maxEntry = 1 << 20
