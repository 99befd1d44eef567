package badgerstore

import (
	"bytes"
	"os"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// logOf is what the log of a new store holds after so many writes, without its
// header.
func logOf(t testing.TB, writes int) []byte {
	s, err := Open(Options{Path: t.TempDir(), Seal: testSeal()})
	if err != nil {
		t.Fatal(err)
	}
	for n := range writes {
		w := auth.Write{Key: string(rune('a' + n)), Value: bytes.Repeat([]byte{1}, n*100), Ending: true}
		if _, err := s.Swap(t.Context(), 0, w); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(logName(s.wal.dir, s.wal.number))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimRight(data[logHeader:], "\x00")
}

// The entries of a real log are read one after the other, and their versions
// grow.
func TestEntriesOfALog(t *testing.T) {
	log, n, newest := logOf(t, 5), 0, uint64(0)
	for len(log) > 0 {
		version, size := entryOf(log)
		if size == 0 || version < newest {
			t.Fatalf("entry %d: version %d of %d bytes, after %d", n, version, size, newest)
		}
		log, newest, n = log[size:], version, n+1
	}
	if n < 5 {
		t.Errorf("%d entries", n)
	}
}

// Whatever a disk makes of a log, an entry is whole or none.
func FuzzEntryOf(f *testing.F) {
	log := logOf(f, 3)
	for len(log) > 0 {
		f.Add(log)
		_, size := entryOf(log)
		log = log[size:]
	}
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, log []byte) {
		version, size := entryOf(log)
		if size == 0 {
			return
		}
		if size > len(log) {
			t.Fatalf("%d bytes of %d", size, len(log))
		}
		if same, again := entryOf(log[:size]); same != version || again != size {
			t.Errorf("alone it has version %d and %d bytes", same, again)
		}
		if _, cut := entryOf(log[:size-1]); cut != 0 {
			t.Error("a byte less is an entry, too")
		}
		altered := bytes.Clone(log[:size])
		altered[size/2] ^= 1
		if _, still := entryOf(altered); still == size {
			t.Error("another byte is the same entry")
		}
	})
}
