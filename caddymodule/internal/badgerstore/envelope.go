package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// What Badger holds of a record: when it ends (big-endian Unix milliseconds,
// 0: never), then the sealed value. Badger's own expiry counts in seconds and
// truncates, so it serves garbage collection alone.
const envelopeHeader = 8

var errEnvelope = errors.New("damaged record")

func expiryOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(1, t.UnixMilli()) // a time before 1970 is past, not "never"
}

// wrap makes what Badger is to hold of a write.
func (s *Store) wrap(w auth.Write, at place) []byte {
	sealed := s.opt.Seal.Seal(w, at.slot, at.key)
	out := make([]byte, envelopeHeader, envelopeHeader+len(sealed))
	binary.BigEndian.PutUint64(out, uint64(expiryOf(w.Expires)))
	return append(out, sealed...)
}

// unwrap splits an envelope. The value is still sealed, and shares b.
func unwrap(b []byte) (expires int64, sealed []byte, err error) {
	if len(b) < envelopeHeader {
		return 0, nil, errEnvelope
	}
	expires = int64(binary.BigEndian.Uint64(b))
	if expires < 0 {
		return 0, nil, errEnvelope
	}
	return expires, b[envelopeHeader:], nil
}

// open makes a record of a stored one; the zero Record of one that has expired or
// whose owner was erased.
func (s *Store) open(key string, item *badger.Item) (r auth.Record, err error) {
	err = item.Value(func(b []byte) error {
		expires, sealed, err := unwrap(b)
		if err != nil || s.over(expires) {
			return err
		}
		plain, err := s.opt.Seal.Open(key, sealed, s.slots.read)
		if errors.Is(err, auth.ErrErased) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("opening a sealed record: %w", err)
		}
		// Never nil, never Badger's memory.
		r = auth.Record{Version: auth.Version(item.Version()), Value: append(make([]byte, 0, len(plain)), plain...)}
		return nil
	})
	return r, err
}

// reveal gives the write that made a stored record; the zero Write of one that
// nobody lists, has expired, or was erased with its owner.
func (s *Store) reveal(item *badger.Item) (w auth.Write, err error) {
	err = item.Value(func(b []byte) error {
		expires, sealed, err := unwrap(b)
		if err != nil || s.over(expires) {
			return err
		}
		shown, err := s.opt.Seal.Reveal(sealed, s.slots.read)
		if errors.Is(err, auth.ErrErased) || err == nil && shown.Unlisted {
			return nil
		}
		if err != nil {
			return fmt.Errorf("opening a sealed record: %w", err)
		}
		if !bytes.Equal(s.stored(shown.Key), item.Key()) {
			return fmt.Errorf("opening a sealed record: %w: it lies under another's key", errEnvelope)
		}
		w = shown
		w.Value = append(make([]byte, 0, len(shown.Value)), shown.Value...)
		if expires != 0 {
			w.Expires = time.UnixMilli(expires)
		}
		return nil
	})
	return w, err
}

func (s *Store) over(expires int64) bool { return expires != 0 && s.opt.Now().UnixMilli() >= expires }

// gcMargin keeps an expired record on the disk a while longer, so that a clock
// that was wrong for a moment removes nothing for good.
const gcMargin = time.Hour

// entry is what Badger is to write.
func (s *Store) entry(w auth.Write, at place) *badger.Entry {
	return s.expiring(badger.NewEntry(s.stored(w.Key), s.wrap(w, at)), w.Expires)
}

// expiring has Badger forget an entry after a time; the zero time: never. Its
// expiry is counted from Badger's own clock, which need not be ours.
func (s *Store) expiring(e *badger.Entry, t time.Time) *badger.Entry {
	if ms := expiryOf(t); ms != 0 {
		left := max(0, time.Duration(ms-s.opt.Now().UnixMilli())*time.Millisecond)
		e.ExpiresAt = uint64(time.Now().Add(left + gcMargin).Unix())
	}
	return e
}

// stored is a record's key in Badger. The prefix keeps records apart from what
// the store and Badger write for themselves.
func (s *Store) stored(key string) []byte {
	return append([]byte{recordPrefix}, s.opt.Seal.Name(key)...)
}

const recordPrefix = 'r'

// epochKey holds the record whose version the epoch file repeats. Its value is
// how many data keys there were.
var epochKey = []byte("epoch")
