package badgerstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func wantUnavailable(t *testing.T, err error, why string) {
	t.Helper()
	if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), why) {
		t.Fatalf("got %v, want unavailable with %q", err, why)
	}
}

// filled makes a store with two tables, closes it and returns its path.
func filled(t *testing.T) string {
	t.Helper()
	path := t.TempDir()
	for i := range 2 {
		s := openTest(t, Options{Path: path})
		for n := range 20 {
			w := auth.Write{Key: fmt.Sprintf("%d/%d", i, n), Value: make([]byte, 1000)}
			if _, err := s.Swap(t.Context(), 0, w); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// crashed is filled, with a log that was not closed.
func crashed(t *testing.T) string {
	t.Helper()
	path := filled(t)
	s := openTest(t, Options{Path: path})
	for n := range 20 {
		if _, err := s.Swap(t.Context(), 0, auth.Write{Key: fmt.Sprint("log/", n), Value: make([]byte, 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.writeEpoch(); err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(path)); err != nil {
		t.Fatal(err)
	}
	return copied
}

func files(t *testing.T, path, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dbDir(path), pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	return names
}

func cut(t *testing.T, name string, keep func(size int64) int64) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, keep(info.Size())); err != nil {
		t.Fatal(err)
	}
}

func half(n int64) int64           { return n / 2 }
func to(n int64) func(int64) int64 { return func(int64) int64 { return n } }

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, name string, at func(size int) int) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[at(len(data))] ^= 0x40
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func last(names []string) string { return names[len(names)-1] }

// TestDamage: Badger opens most of these without a word, with records missing
// that said a session was over; some end the process.
func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		make   func(*testing.T) string
		damage func(t *testing.T, path string)
		why    string // empty: opens
	}{
		{"an untouched store opens", filled, func(*testing.T, string) {}, ""},
		{"a crashed store opens", crashed, func(*testing.T, string) {}, ""},
		{"an empty log is no damage", filled, func(t *testing.T, p string) {
			if err := os.WriteFile(filepath.Join(dbDir(p), "00099.mem"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"the manifest is missing", filled, func(t *testing.T, p string) { remove(t, last(files(t, p, "MANIFEST"))) }, "MANIFEST is missing"},
		{"the manifest is empty", filled, func(t *testing.T, p string) { cut(t, last(files(t, p, "MANIFEST")), to(0)) }, "MANIFEST"},
		{"the manifest names no table", filled, func(t *testing.T, p string) { cut(t, last(files(t, p, "MANIFEST")), to(16)) }, "does not name table"},
		{"the manifest lost its last line", filled, func(t *testing.T, p string) {
			cut(t, last(files(t, p, "MANIFEST")), func(n int64) int64 { return n - 1 })
		}, "does not name table"},
		{"the manifest lost its last line, beside a log", filled, func(t *testing.T, p string) {
			cut(t, last(files(t, p, "MANIFEST")), func(n int64) int64 { return n - 1 })
			if err := os.WriteFile(filepath.Join(dbDir(p), "00099.mem"), make([]byte, 100), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "does not name table"},
		{"the manifest has a flipped bit", filled, func(t *testing.T, p string) {
			flip(t, last(files(t, p, "MANIFEST")), func(n int) int { return n / 2 })
		}, "MANIFEST"},
		{"a table is missing", filled, func(t *testing.T, p string) { remove(t, last(files(t, p, "*.sst"))) }, "table"},
		{"a table is cut in half", filled, func(t *testing.T, p string) { cut(t, last(files(t, p, "*.sst")), half) }, "index is damaged"},
		{"a table is empty", filled, func(t *testing.T, p string) { cut(t, last(files(t, p, "*.sst")), to(0)) }, "table"},
		{"a table has a flipped bit in its data", filled, func(t *testing.T, p string) {
			flip(t, last(files(t, p, "*.sst")), func(int) int { return 200 })
		}, "table"},
		{"a table has a flipped bit in its index", filled, func(t *testing.T, p string) {
			flip(t, last(files(t, p, "*.sst")), func(n int) int { return n - 60 })
		}, "index is damaged"},
		{"the log is missing", crashed, func(t *testing.T, p string) { remove(t, last(files(t, p, "*.mem"))) }, "lost data"},
		{"the log is cut in its header", crashed, func(t *testing.T, p string) { cut(t, last(files(t, p, "*.mem")), to(10)) }, "lost data"},
		{"the log is empty", crashed, func(t *testing.T, p string) { cut(t, last(files(t, p, "*.mem")), to(0)) }, "lost data"},
		{"the log is cut", crashed, func(t *testing.T, p string) { cut(t, last(files(t, p, "*.mem")), to(15_000)) }, "lost data"},
		{"the log has a flipped bit", crashed, func(t *testing.T, p string) {
			flip(t, last(files(t, p, "*.mem")), func(int) int { return 10_000 })
		}, "lost data"},
		{"the database is gone", filled, func(t *testing.T, p string) { remove(t, dbDir(p)) }, "lost data"},
		{"the database is empty", filled, func(t *testing.T, p string) {
			for _, name := range files(t, p, "*") {
				remove(t, name)
			}
		}, "lost data"},
		{"the epoch is not a number", filled, func(t *testing.T, p string) { flip(t, epochFile(p), func(int) int { return 0 }) }, "epoch file is damaged"},
		{"an operator accepts the loss", crashed, func(t *testing.T, p string) {
			remove(t, last(files(t, p, "*.mem")))
			remove(t, epochFile(p))
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := c.make(t)
			c.damage(t, path)
			if c.why == "" {
				openTest(t, Options{Path: path})
				return
			}
			refused(t, Options{Path: path}, c.why)
			refused(t, Options{Path: path}, c.why) // refusing repairs nothing
		})
	}
}

func TestPlacesThatCannotBeUsed(t *testing.T) {
	refused(t, Options{}, "no path")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, Options{Path: file}, "not a directory")
	refused(t, Options{Path: filepath.Join(file, "below")}, "not a directory")
	beside := t.TempDir()
	if err := os.WriteFile(dbDir(beside), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, Options{Path: beside}, "not a directory")
	refused(t, Options{Path: "/proc/sidegate"}, "cannot be made")
	refused(t, Options{Path: t.TempDir(), FreeFloor: 1 << 62}, "disk is full")
}

func TestReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	path := t.TempDir()
	if err := os.Chmod(path, 0o500); err != nil {
		t.Fatal(err)
	}
	refused(t, Options{Path: path}, "cannot be made")
}

func TestDirectoryIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	openTest(t, Options{Path: path})
	for _, dir := range []string{path, dbDir(path)} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", dir, info.Mode(), err)
		}
	}
}
