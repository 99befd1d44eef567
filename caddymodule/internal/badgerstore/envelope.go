package badgerstore

import (
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

func (s *Store) wrap(w auth.Write) []byte {
	value := w.Value
	if s.opt.Seal != nil {
		value = s.opt.Seal.Seal(w.Key, value)
	}
	out := make([]byte, envelopeHeader, envelopeHeader+len(value))
	binary.BigEndian.PutUint64(out, uint64(expiryOf(w.Expires)))
	return append(out, value...)
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

// open makes a record of a stored one.
func (s *Store) open(key string, item *badger.Item) (r auth.Record, err error) {
	err = item.Value(func(b []byte) error {
		expires, sealed, err := unwrap(b)
		if err != nil || s.over(expires) {
			return err
		}
		r = auth.Record{Version: auth.Version(item.Version())}
		if s.opt.Seal == nil {
			r.Value = append(make([]byte, 0, len(sealed)), sealed...)
			return nil
		}
		plain, err := s.opt.Seal.Open(key, sealed)
		if err != nil {
			return fmt.Errorf("opening a sealed record: %w", err)
		}
		r.Value = append(make([]byte, 0, len(plain)), plain...) // never nil, never Badger's memory
		return nil
	})
	if err != nil {
		return auth.Record{}, err
	}
	return r, nil
}

func (s *Store) over(expires int64) bool { return expires != 0 && s.opt.Now().UnixMilli() >= expires }

// gcMargin keeps an expired record on the disk a while longer, so that a clock
// that was wrong for a moment removes nothing for good.
const gcMargin = time.Hour

// entry is what Badger is to write. Its expiry is counted from Badger's own
// clock, which need not be ours.
func (s *Store) entry(w auth.Write) *badger.Entry {
	e := badger.NewEntry(stored(w.Key), s.wrap(w))
	if ms := expiryOf(w.Expires); ms != 0 {
		left := max(0, time.Duration(ms-s.opt.Now().UnixMilli())*time.Millisecond)
		e.ExpiresAt = uint64(time.Now().Add(left + gcMargin).Unix())
	}
	return e
}

// stored is a record's key in Badger. The prefix keeps records apart from what
// the store and Badger write for themselves.
func stored(key string) []byte { return append([]byte{'r'}, key...) }

// epochKey holds the record whose version the epoch file repeats.
var epochKey = []byte("epoch")
