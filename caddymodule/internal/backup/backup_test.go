package backup_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"pgregory.net/rapid"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/backup"
)

var at = time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)

const rootKey = "the root key of the store backed up"

func keys(t testing.TB) (backup.Lock, backup.Key) {
	t.Helper()
	identity, recipient, err := backup.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return backup.Lock{Recipient: recipient}, backup.Key{Identity: identity}
}

func records(n int) (all []auth.Write) {
	for i := range n {
		w := auth.Write{Key: fmt.Sprintf("user/%d", i), Value: []byte(fmt.Sprint("\x01<value> ", i))}
		if i%2 == 1 {
			w.Expires, w.Owner = at.Add(time.Duration(i)*time.Millisecond).Local(), uint64(i)
		}
		all = append(all, w)
	}
	return append(all, auth.Write{Key: "era", Value: []byte{}})
}

func file(t testing.TB, l backup.Lock, all []auth.Write) []byte {
	t.Helper()
	var to bytes.Buffer
	w, err := backup.NewWriter(&to, l, backup.Origin{At: at, Root: []byte(rootKey)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

func read(text []byte, k backup.Key) (all []auth.Write, s backup.Summary, err error) {
	s, err = backup.Read(bytes.NewReader(text), k, func(w auth.Write) error {
		all = append(all, w)
		return nil
	})
	return all, s, err
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	lock, key := keys(t)
	for name, pair := range map[string]struct {
		backup.Lock
		backup.Key
	}{
		"a key":        {lock, key},
		"a passphrase": {backup.Lock{Passphrase: "correct horse battery"}, backup.Key{Passphrase: "correct horse battery"}},
	} {
		want := records(1000)
		got, s, err := read(file(t, pair.Lock, want), pair.Key)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read %d records, want %d equal ones: %v", name, len(got), len(want), err)
		}
		if !s.At.Equal(at) || string(s.Root) != rootKey || s.Records != 1001 || s.Kinds["user"] != 1000 || s.Kinds["era"] != 1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestUselessWithoutItsKey(t *testing.T) {
	lock, _ := keys(t)
	_, other := keys(t)
	text := file(t, lock, []auth.Write{{Key: "user/1", Value: []byte("+46701234567")}})
	if bytes.Contains(text, []byte("+46701234567")) || bytes.Contains(text, []byte("user/1")) || bytes.Contains(text, []byte(rootKey)) {
		t.Error("the file is readable")
	}
	for name, key := range map[string]backup.Key{
		"another key": other, "a passphrase": {Passphrase: "correct horse battery"}, "nothing": {},
		"both": {Identity: other.Identity, Passphrase: "x"}, "no key": {Identity: "AGE-SECRET-KEY-1OOPS"},
	} {
		got, _, err := read(text, key)
		if err == nil || len(got) != 0 || strings.Contains(err.Error(), "OOPS") {
			t.Errorf("%s: read %d records: %v", name, len(got), err)
		}
	}
}

func TestLocksThatAreRefused(t *testing.T) {
	for name, l := range map[string]backup.Lock{
		"none": {}, "both": {Recipient: "age1x", Passphrase: "correct horse battery"}, "no key": {Recipient: "age1x"},
		"a short passphrase": {Passphrase: "12345678901"},
		"a secret key":       {Recipient: "AGE-SECRET-KEY-1OOPS"},
	} {
		if err := l.Check(); err == nil || strings.Contains(err.Error(), "OOPS") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Attack, or a bad disk: one bit of the file is another one.
func TestAnyFlippedBitShows(t *testing.T) {
	lock, key := keys(t)
	text := file(t, lock, records(3000)) // more than one chunk of 64 KiB
	if len(text) < 2<<16 {
		t.Fatalf("only %d bytes", len(text))
	}
	flipped := func(place, bit int) {
		damaged := bytes.Clone(text)
		damaged[place] ^= 1 << bit
		if _, _, err := read(damaged, key); err == nil {
			t.Fatalf("bit %d of byte %d was flipped unnoticed", bit, place)
		}
	}
	for place := range 400 { // the head, all of it
		flipped(place, place%8)
	}
	rapid.Check(t, func(r *rapid.T) {
		flipped(rapid.IntRange(0, len(text)-1).Draw(r, "place"), rapid.IntRange(0, 7).Draw(r, "bit"))
	})
}

func TestAnyCutShows(t *testing.T) {
	lock, key := keys(t)
	text := file(t, lock, records(3000))
	for _, end := range []int{0, 1, 100, 1 << 16, 1<<16 + 200, len(text) - 1} {
		if _, _, err := read(text[:end], key); err == nil {
			t.Errorf("cut to %d of %d bytes unnoticed", end, len(text))
		}
	}
	if _, _, err := read(append(bytes.Clone(text), 'x'), key); err == nil {
		t.Error("a byte too many was unnoticed")
	}
}

// sealed makes a file that age takes for whole.
func sealed(t testing.TB, l backup.Lock, plain string) []byte {
	t.Helper()
	r, err := age.ParseX25519Recipient(l.Recipient)
	if err != nil {
		t.Fatal(err)
	}
	var to bytes.Buffer
	w, err := age.Encrypt(&to, r)
	if err == nil {
		_, err = io.WriteString(w, plain)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

// Whoever has the public key can make a file; what is no backup is refused.
func TestLinesThatAreRefused(t *testing.T) {
	const head = `{"sidegate_backup":1,"at":"2027-01-01T12:00:00Z","root_key":"AQ=="}` + "\n"
	const record = `{"key":"user/1","value":"AQ=="}` + "\n"
	lock, key := keys(t)
	for name, plain := range map[string]string{
		"nothing": "", "no header": record, "another format": strings.Replace(head, ":1", ":2", 1),
		"no root key": strings.Replace(head, "AQ==", "", 1) + `{"records":0}`,
		"no trailer":  head + record, "a count too high": head + record + `{"records":2}`, "a count too low": head + record + `{"records":0}`,
		"more after the end": head + record + `{"records":1}` + "\n" + record, "a line that is cut": head + `{"key":"user/1","va`,
		"no key": head + `{"value":"AQ=="}` + "\n" + `{"records":1}`, "no value": head + `{"key":"a"}` + "\n" + `{"records":1}`,
		"an unknown member": head + `{"key":"a","value":"AQ==","more":1}` + "\n" + `{"records":1}`,
		"a line too long":   head + `{"key":"` + strings.Repeat("x", 200<<10) + `"}`,
	} {
		if _, _, err := read(sealed(t, lock, plain), key); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, s, err := read(sealed(t, lock, head+record+`{"records":1}`), key); err != nil || s.Records != 1 {
		t.Errorf("a whole one: %v", err)
	}
}

func TestWhatStopsAReader(t *testing.T) {
	lock, key := keys(t)
	enough, calls := errors.New("enough"), 0
	_, err := backup.Read(bytes.NewReader(file(t, lock, records(10))), key, func(auth.Write) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("%d records, %v", calls, err)
	}
}

func FuzzRead(f *testing.F) {
	lock, key := keys(f)
	f.Add([]byte("{\"sidegate_backup\":1,\"at\":\"2027-01-01T12:00:00Z\",\"root_key\":\"AQ==\"}\n{\"key\":\"a\",\"value\":\"AQ==\",\"expires\":1}\n{\"records\":1}\n"))
	f.Add([]byte("{\"sidegate_backup\":1,\"root_key\":\"AQ==\"}\n{\"records\":0}"))
	whole := file(f, lock, records(3))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, s, err := read(sealed(t, lock, string(text)), key); err == nil && len(got) != s.Records {
			t.Errorf("%d records are counted as %d", len(got), s.Records)
		}
		if bytes.Equal(text, whole) {
			return
		}
		if _, _, err := read(text, key); err == nil {
			t.Error("a file that nobody has encrypted was taken")
		}
	})
}
