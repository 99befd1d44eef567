package badgerstore

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func FuzzEnvelope(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("1234567"))
	f.Add(make([]byte, 8))
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	s := &Store{opt: Options{Now: time.Now, Seal: testSeal()}}
	f.Add(s.wrap(auth.Write{Key: "k", Value: []byte("v"), Expires: time.UnixMilli(1_700_000_000_123)}, place{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		expires, sealed, err := unwrap(b)
		if err != nil {
			return
		}
		again := append(binary.BigEndian.AppendUint64(nil, uint64(expires)), sealed...)
		if expires < 0 || !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

func FuzzTableIndex(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{1, 2, 3, 0, 0, 0, 1, 8, 0, 16, 9, 0, 0, 0, 4})
	f.Fuzz(func(_ *testing.T, b []byte) { _ = verifyIndex(b) })
}

func set(t *testing.T, s *Store, key, value []byte) {
	t.Helper()
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(key, value) }); err != nil {
		t.Fatal(err)
	}
}

func stolen(t *testing.T, s *Store, key string) (out []byte) {
	t.Helper()
	err := s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(s.stored(key))
		if err != nil {
			return err
		}
		out, err = item.ValueCopy(nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Whoever can write to the disk can put one person's record in the place of
// another's, unless the key is bound to the value.
func TestForeignRecordsAreNotRead(t *testing.T) {
	s := openTest(t, Options{Path: t.TempDir()})
	if _, err := s.Swap(t.Context(), 0, auth.Write{Key: "user/1", Value: []byte("secret of one")}); err != nil {
		t.Fatal(err)
	}
	sealed := stolen(t, s, "user/1")
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("the value lies in the clear")
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	for name, value := range map[string][]byte{
		"of another key": sealed, "flipped": flipped, "empty": {}, "short": {1}, "only a header": make([]byte, 8),
		"of a time before all": append([]byte{0xff}, sealed[1:]...),
	} {
		set(t, s, s.stored("user/2"), value)
		if r, err := s.Get(t.Context(), "user/2"); err == nil {
			t.Errorf("%s: read %q", name, r[0].Value)
		} else {
			wantUnavailable(t, err, "")
		}
	}
}
