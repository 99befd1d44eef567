package redisstore

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// What Redis holds of a record: its version, when it ends (big-endian Unix
// milliseconds, 0: never), then the sealed value. Redis's own expiry follows
// the server's clock, which need not be ours, so it serves garbage collection
// alone.
const (
	versionSize    = 8
	envelopeHeader = versionSize + 8
)

var errEnvelope = errors.New("damaged record")

// newVersion draws a version. A counter would have to live somewhere: beside the
// record it begins anew when that has expired, and after a failover that lost
// the newest writes it gives their numbers to others. Of 2^64 random ones none
// comes twice.
func newVersion() auth.Version {
	var b [versionSize]byte
	for {
		rand.Read(b[:]) // never fails
		if v := auth.Version(binary.BigEndian.Uint64(b[:])); v != 0 {
			return v
		}
	}
}

// versionText is how a script knows a version; empty for no record.
func versionText(v auth.Version) string {
	if v == 0 {
		return ""
	}
	return string(binary.BigEndian.AppendUint64(nil, uint64(v)))
}

func expiryOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(1, t.UnixMilli()) // a time before 1970 is past, not "never"
}

// wrap makes what is stored of a write whose owner's data key lies there; nothing
// for a deletion.
func (s *Store) wrap(w auth.Write, v auth.Version, at place) string {
	if w.Value == nil || at.gone {
		return ""
	}
	sealed := s.opt.Seal.Seal(w, at.slot, at.key)
	out := make([]byte, 0, envelopeHeader+len(sealed))
	out = binary.BigEndian.AppendUint64(out, uint64(v))
	out = binary.BigEndian.AppendUint64(out, uint64(expiryOf(w.Expires)))
	return string(append(out, sealed...))
}

// expiresAt is when a stored record ends.
func expiresAt(stored []byte) int64 { return int64(binary.BigEndian.Uint64(stored[versionSize:])) }

// unwrap makes a record of a stored one. held tells what lies in a slot.
func (s *Store) unwrap(key string, stored []byte, held func(slot uint64) ([]byte, error)) (r auth.Record, err error) {
	if len(stored) < envelopeHeader {
		return r, errEnvelope
	}
	expires := expiresAt(stored)
	if expires != 0 && s.opt.Now().UnixMilli() >= expires {
		return r, nil
	}
	value, err := s.opt.Seal.Open(key, stored[envelopeHeader:], held)
	if err != nil {
		return r, fmt.Errorf("opening a sealed record: %w", err)
	}
	r.Version = auth.Version(binary.BigEndian.Uint64(stored))
	r.Value = append(make([]byte, 0, len(value)), value...) // never nil
	return r, nil
}

// reveal makes a stored record the write that makes it, without its version; nil
// for one that does not exist any more. Of an unlisted one the key must be known,
// and the owner is not told.
func (s *Store) reveal(key string, stored []byte, held func(slot uint64) ([]byte, error)) (w auth.Write, err error) {
	if len(stored) < envelopeHeader {
		return w, errEnvelope
	}
	expires := expiresAt(stored)
	if expires != 0 && s.opt.Now().UnixMilli() >= expires {
		return w, nil
	}
	w, err = s.opt.Seal.Reveal(stored[envelopeHeader:], held)
	if err == nil && w.Unlisted && key != "" {
		w.Key = key
		w.Value, err = s.opt.Seal.Open(key, stored[envelopeHeader:], held)
	}
	if err != nil {
		return auth.Write{}, fmt.Errorf("opening a sealed record: %w", err)
	}
	if w.Key != "" {
		w.Value = append(make([]byte, 0, len(w.Value)), w.Value...) // never nil
	}
	if expires != 0 {
		w.Expires = time.UnixMilli(expires)
	}
	return w, nil
}

// gcMargin keeps an expired record a while longer, so that a clock that was
// wrong for a moment removes nothing for good.
const gcMargin = time.Hour

// left is how long Redis is to keep a record, in milliseconds; 0: for ever.
func (s *Store) left(w auth.Write) int64 {
	expires := expiryOf(w.Expires)
	if expires == 0 {
		return 0
	}
	return max(0, expires-s.opt.Now().UnixMilli()) + gcMargin.Milliseconds()
}

// stored is where Redis has a record. Keys that others must hear of stay as they
// are. Of the rest, which could tell of a person, also long after in Redis's
// files, only the kind does.
func (s *Store) stored(key string) string {
	if slices.ContainsFunc(auth.Followed(), func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
		return s.opt.Prefix + key
	}
	kind, _, _ := strings.Cut(key, "/")
	return s.opt.Prefix + kind + "/" + base64.RawURLEncoding.EncodeToString(s.opt.Seal.Name(key))
}
