package badgerstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// history is a store that is not open, and what it holds: of each record the
// last version that was answered. Earlier ones lie in older files.
type history struct {
	records map[string]string
	files   []keptFile
}

// keptFile is a file without the zeros at its end: Badger makes its logs large.
type keptFile struct {
	name string // below the store's path
	data []byte
	size int64
}

func (f keptFile) write(path string) error {
	name := filepath.Join(path, f.name)
	err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, f.data, 0o600))
	return errors.Join(err, os.Truncate(name, f.size))
}

// keep reads the files of a store, which may be open: that is what a killed
// process leaves behind. The epoch comes first, for no other may be older.
func keep(path string) (files []keptFile, err error) {
	names := []string{epochFile(path)}
	err = filepath.WalkDir(path, func(name string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && name != names[0] {
			names = append(names, name)
		}
		return err
	})
	for _, name := range names {
		data, failed := os.ReadFile(name)
		err = errors.Join(err, failed)
		files = append(files, keptFile{name[len(path):], bytes.TrimRight(data, "\x00"), int64(len(data))})
	}
	return files, err
}

// at writes the store to a directory.
func (h *history) at(path string) error {
	for _, f := range h.files {
		if err := f.write(path); err != nil {
			return err
		}
	}
	return nil
}

// lived makes a store that was opened so often. At the last time it was killed,
// and what it wrote then is in a log; otherwise all is in tables.
func lived(t *testing.T, rounds int, killed bool) *history {
	t.Helper()
	h, path := &history{records: map[string]string{}}, t.TempDir()
	for round := range rounds {
		s, err := Open(Options{Path: path, Seal: testSeal()})
		if err != nil {
			t.Fatal(err)
		}
		h.write(t, s, round)
		last := round == rounds-1
		if last && killed {
			h.files, err = keep(path)
		}
		if err = errors.Join(err, s.Close()); err == nil && last && !killed {
			h.files, err = keep(path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// write ends a third of the records, deletes a tenth, and makes new ones.
func (h *history) write(t *testing.T, s *Store, round int) {
	for n := range 60 {
		key := fmt.Sprintf("session/%03d", n*4%61+round)
		r, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		w := auth.Write{Key: key, Value: fmt.Appendf(nil, "%s as of %d %s", key, round, bytes.Repeat([]byte{'x'}, 300)), Owner: uint64(n % 7)}
		if n%10 == 9 && r[0].Version != 0 {
			w.Value = nil
		}
		if _, err := s.Swap(t.Context(), r[0].Version, w); err != nil {
			t.Fatal(err)
		}
		h.records[key] = string(w.Value)
	}
}

// check opens a store and reads all that there was. It returns what is wrong: a
// record that is not as it was written, while nothing says so.
func (h *history) check(t interface {
	Helper()
	Fatal(...any)
}, path string) (wrong error) {
	s, err := Open(Options{Path: path, Seal: testSeal(), LockWait: -1})
	if err != nil {
		return refusal(err)
	}
	defer func() { wrong = errors.Join(wrong, s.Close()) }()
	listed := map[string]string{}
	all, err := s.List(context.Background(), "session/", "", 1000)
	for _, r := range all {
		listed[r.Key] = string(r.Value)
	}
	if err == nil && !maps.Equal(listed, h.present()) {
		return fmt.Errorf("listed %d records, want %d", len(listed), len(h.present()))
	}
	if err != nil && !errors.Is(err, auth.ErrUnavailable) {
		return err
	}
	for key, want := range h.records {
		r, err := s.Get(context.Background(), key)
		switch {
		case err != nil && !errors.Is(err, auth.ErrUnavailable):
			return err
		case err == nil && string(r[0].Value) != want:
			return fmt.Errorf("%s: %.40q, want %.40q", key, r[0].Value, want)
		}
	}
	return nil
}

// present are the records that were not deleted.
func (h *history) present() map[string]string {
	records := maps.Clone(h.records)
	maps.DeleteFunc(records, func(_, value string) bool { return value == "" })
	return records
}

// refusal is nil when an error of Open is of the right class and says what to do.
func refusal(err error) error {
	if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), "restore a backup") {
		return fmt.Errorf("no remedy: %w", err)
	}
	return nil
}

const lostEnd = "a lost end"

// damages are what may have become of a file, at a place in it.
var damages = map[string]func(data []byte, at int) []byte{
	"a flipped byte": func(data []byte, at int) []byte { data[at] ^= 0x40; return data },
	"another byte":   func(data []byte, at int) []byte { data[at] = ^data[at]; return data },
	lostEnd:          func(data []byte, at int) []byte { return data[:at] },
	"a lost block":   func(data []byte, at int) []byte { clear(data[at:min(at+4096, len(data))]); return data },
}

// A byte that has changed in any file of the store, wherever it is, gives no
// record another value than it had, and makes none come back that was ended or
// deleted: the store does not open, or the record is an error.
func TestDamageAltersNothing(t *testing.T) {
	t.Parallel()
	histories := map[string]*history{"killed": lived(t, 4, true), "closed": lived(t, 8, false)}
	kinds := slices.Sorted(maps.Keys(damages))
	rapid.Check(t, func(t *rapid.T) {
		h := histories[rapid.SampledFrom([]string{"closed", "killed"}).Draw(t, "history")]
		path, err := os.MkdirTemp("", "damage")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(path)
		if err := h.at(path); err != nil {
			t.Fatal(err)
		}
		f := h.files[rapid.IntRange(0, len(h.files)-1).Draw(t, "file")]
		kind := rapid.SampledFrom(kinds).Draw(t, "kind")
		data := append(slices.Clone(f.data), make([]byte, min(16, f.size-int64(len(f.data))))...)
		at := rapid.IntRange(0, max(0, len(data)-1)).Draw(t, "position")
		if len(data) > 0 {
			f.data = damages[kind](data, at)
		}
		if kind == lostEnd {
			f.size = int64(len(f.data))
		}
		if err := f.write(path); err != nil {
			t.Fatal(err)
		}
		if err := h.check(t, path); err != nil {
			t.Fatalf("%s of %s at %d of %d: %v", kind, f.name, at, len(data), err)
		}
	})
}

// What is as it was written opens, and is all there.
func TestUndamagedStoresOpen(t *testing.T) {
	for _, h := range []*history{lived(t, 4, true), lived(t, 8, false)} {
		path := t.TempDir()
		if err := h.at(path); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Path: path, Seal: testSeal()})
		if err == nil {
			err = s.Close()
		}
		if err = errors.Join(err, h.check(t, path)); err != nil {
			t.Error(err)
		}
	}
}

// A table that changes under an open store: whatever is read before it is
// noticed, nothing is afterwards, and the error says what to do.
func TestOpenStoreNoticesDamage(t *testing.T) {
	h := lived(t, 4, false)
	path := t.TempDir()
	if err := h.at(path); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, Options{Path: path, Seal: testSeal()})
	var after uint64
	for round := range 2 { // 0 begins anew
		for range len(s.tables()) + 1 {
			var err error
			if after, err = s.scrubNext(after); err != nil {
				t.Fatal(err)
			}
		}
		if after != 0 {
			t.Errorf("round %d ended at table %d", round, after)
		}
	}
	flipInPlace(t, last(files(t, path, "*.sst")), 200)
	for err := error(nil); err == nil; _, err = s.Get(t.Context(), "session/001") {
		select {
		case <-t.Context().Done():
			t.Fatal("not noticed")
		case <-time.After(10 * time.Millisecond):
		}
	}
	_, err := s.Swap(t.Context(), 0, auth.Write{Key: "k", Value: []byte("v"), Ending: true})
	wantUnavailable(t, err, "restore a backup")
	_, err = s.List(t.Context(), "session/", "", 10)
	wantUnavailable(t, err, "restore a backup")
}

// What cannot be opened just now is no damage: a process may have run out of
// files. What is gone is.
func TestTableThatCannotBeOpened(t *testing.T) {
	path := filled(t)
	s := openTest(t, Options{Path: path})
	s.stop() // the test looks by itself
	s.keeping.Wait()
	table := last(files(t, path, "*.sst"))
	scrubAll := func() (err error) {
		for after, n := uint64(0), 0; err == nil && n <= len(s.tables()); n++ {
			after, err = s.scrubNext(after)
		}
		return err
	}
	if err := os.Rename(table, table+".away"); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, scrubAll(), "restore a backup")
	if err := os.Mkdir(table, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := scrubAll(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(os.Remove(table), os.Rename(table+".away", table), scrubAll()); err != nil {
		t.Error(err)
	}
}

// flipInPlace changes a byte as a disk would: under whoever has mapped the file.
func flipInPlace(t *testing.T, name string, at int64) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	_, err = file.ReadAt(b, at)
	b[0] ^= 0x40
	_, failed := file.WriteAt(b, at)
	if err := errors.Join(err, failed, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// Examine says of a store what Open would, and changes nothing.
func TestExamine(t *testing.T) {
	h, path := lived(t, 3, true), t.TempDir()
	if err := h.at(path); err != nil {
		t.Fatal(err)
	}
	if err := Examine(path); err != nil {
		t.Errorf("untouched: %v", err)
	}
	if err := Examine(filepath.Join(path, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a store: %v", err)
	}
	log := last(files(t, path, "*.mem"))
	before, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	flipped := len(bytes.TrimRight(before, "\x00")) / 2
	flipInPlace(t, log, int64(flipped))
	for range 2 {
		if err := Examine(path); err == nil || !strings.Contains(err.Error(), "the store has lost data") || !strings.Contains(err.Error(), "restore a backup") {
			t.Errorf("damaged: %v", err)
		}
		refused(t, Options{Path: path, Seal: testSeal()}, "the store has lost data")
	}
	after, err := os.ReadFile(log)
	if before[flipped] ^= 0x40; err != nil || !bytes.Equal(after, before) {
		t.Errorf("the log was changed, %v", err)
	}
	s := openTest(t, Options{Path: t.TempDir()})
	if err := Examine(s.opt.Path); !errors.Is(err, ErrInUse) {
		t.Errorf("an open one: %v", err)
	}
}
