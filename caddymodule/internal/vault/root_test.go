package vault

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func testMaster(t testing.TB, fill byte) *Master {
	t.Helper()
	m, err := NewMaster(bytes.Repeat([]byte{fill}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// wrappedUnder is the record of a root key of fives, under these master keys.
func wrappedUnder(t testing.TB, masters ...*Master) []byte {
	t.Helper()
	var w wraps
	for _, m := range masters {
		var err error
		if w, err = w.with(bytes.Repeat([]byte{5}, KeySize), m, time.Unix(1_700_000_000, 0)); err != nil {
			t.Fatal(err)
		}
	}
	return w.encode()
}

func openWith(record []byte, m *Master) ([]byte, error) {
	w, err := parseWraps(record)
	if err != nil {
		return nil, err
	}
	return w.open(m)
}

func TestEachMasterKeyOpensTheRoot(t *testing.T) {
	a, b := testMaster(t, 1), testMaster(t, 2)
	record := wrappedUnder(t, a, b)
	for _, m := range []*Master{a, b} {
		root, err := openWith(record, m)
		if err != nil || !bytes.Equal(root, bytes.Repeat([]byte{5}, KeySize)) {
			t.Errorf("got %x, %v", root, err)
		}
	}
	w, _ := parseWraps(record)
	if list := w.list(); list[1].Fingerprint != b.Fingerprint() || list[0].Made.Unix() != 1_700_000_000 {
		t.Errorf("listed as %v", list)
	}
	if bytes.Equal(record, wrappedUnder(t, a, b)) {
		t.Error("two wraps are the same")
	}
}

// Fingerprints stand in logs and at the start of wraps: they must stay what
// they are.
func TestMasterFingerprintIsFixed(t *testing.T) {
	if got := testMaster(t, 7).Fingerprint(); got != "47abd5aff962d64dd33ba9b788baa3b1" {
		t.Errorf("got %s", got)
	}
	if _, err := NewMaster(make([]byte, 31)); err == nil {
		t.Error("NewMaster took 31 bytes")
	}
}

func TestRootRefusals(t *testing.T) {
	a, b := testMaster(t, 1), testMaster(t, 2)
	good := wrappedUnder(t, a)
	// somebody who knows the format, but no master key
	forge := func(alter func(body []byte) []byte) []byte {
		body := alter(bytes.Clone(good[:len(good)-checkSize]))
		return append(body, checkOf(body)...)
	}
	const other, damaged = "another master key", "restore a backup"
	for _, c := range []struct {
		name   string
		record []byte
		says   string
	}{
		{"another master key", wrappedUnder(t, b), other},
		{"nothing", nil, damaged},
		{"a format alone", []byte{rootFormat}, damaged},
		{"no wrap", forge(func(b []byte) []byte { return b[:1] }), damaged},
		{"cut off", good[:len(good)-1], damaged},
		{"one byte more", append(bytes.Clone(good), 0), damaged},
		{"another format", forge(func(b []byte) []byte { b[0] = 2; return b }), damaged},
		{"half a wrap more", forge(func(b []byte) []byte { return append(b, b[1:40]...) }), damaged},
		{"more wraps than there can be", forge(func(b []byte) []byte { return append(b, bytes.Repeat(b[1:], maxWraps)...) }), damaged},
		{"another's wrap under our fingerprint", forge(func(b []byte) []byte {
			copy(b[1+printSize:], wrappedUnder(t, testMaster(t, 3))[1+printSize:])
			return b
		}), damaged},
		{"another date", forge(func(b []byte) []byte { b[1+printSize] ^= 1; return b }), damaged},
	} {
		_, err := openWith(c.record, a)
		if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	// A flipped bit must not look like another master key: the operator would
	// go and look for one.
	for i := range good {
		altered := bytes.Clone(good)
		altered[i] ^= 1
		if _, err := openWith(altered, a); !errors.Is(err, errRootDamaged) {
			t.Errorf("byte %d altered: got %v", i, err)
		}
	}
}

func TestTooManyMasters(t *testing.T) {
	var masters []*Master
	for i := range maxWraps {
		masters = append(masters, testMaster(t, byte(i)))
	}
	w, err := parseWraps(wrappedUnder(t, masters...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.with(make([]byte, KeySize), testMaster(t, 99), time.Now()); !errors.Is(err, ErrManyMasters) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseWraps(f *testing.F) {
	a, b := testMaster(f, 1), testMaster(f, 2)
	f.Add(wrappedUnder(f, a))
	f.Add(wrappedUnder(f, b, a))
	f.Add([]byte{rootFormat})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, record []byte) {
		w, err := parseWraps(record)
		if err != nil {
			return
		}
		if !bytes.Equal(w.encode(), record) {
			t.Errorf("%x is another spelling of %x", record, w.encode())
		}
		if root, err := w.open(a); err == nil && !bytes.Equal(root, bytes.Repeat([]byte{5}, KeySize)) {
			t.Errorf("opened what nobody wrapped: %x", root)
		}
	})
}
