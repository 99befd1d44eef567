package caddymodule_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Of two processes on one directory the second says what is wrong, and starts
// when the first has gone: at once if that happens while it tries.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := startChild(t, s.config("", "", ""))
	session := s.signIn(phoneA)
	second := *s
	second.address = freeAddress(t)
	err := spawn(t, second.config("", "", "")).ready()
	if err == nil || !strings.Contains(err.Error(), s.store()) || !strings.Contains(err.Error(), "in use by another process") {
		t.Fatalf("got %v", err)
	}
	wants(t, "the first", s.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")

	waiting := spawn(t, second.config("", "", ""))
	waitFor(t, "the second to try", func() bool { return waiting.hasOpen(s.store()) })
	first.kill()
	if err := waiting.ready(); err != nil {
		t.Fatal(err)
	}
	wants(t, "the second", second.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
}

// hasOpen reports whether the process has a file open: whoever waits for a
// directory's lock has the directory.
func (c *child) hasOpen(path string) bool {
	fds := fmt.Sprintf("/proc/%d/fd", c.cmd.Process.Pid)
	entries, err := os.ReadDir(fds)
	if err != nil {
		return true // not Linux: nobody can tell
	}
	for _, entry := range entries {
		if target, err := os.Readlink(filepath.Join(fds, entry.Name())); err == nil && target == path {
			return true
		}
	}
	return false
}

// A store that cannot be used keeps Caddy from starting, and the error says
// where and what to do.
func TestUnusableStore(t *testing.T) {
	s := newSite(t)
	s.load(s.config("", "", ""))
	session := s.signIn(phoneA)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(s.store(), "db", "MANIFEST")
	for _, c := range []struct {
		name   string
		config string
		damage func() error
		why    []string
	}{
		{"a place where nothing can be made", strings.Replace(s.config("", "", ""), s.store(), "/proc/sidegate", 1), func() error { return nil },
			[]string{"/proc/sidegate"}},
		{"a read-only directory", s.config("", "", ""), func() error { return os.Chmod(s.store(), 0o500) },
			[]string{s.store(), "cannot be written to"}},
		{"a store that lost a file", s.config("", "", ""), func() error { return os.Remove(manifest) },
			[]string{s.store(), "damaged", "MANIFEST is missing", "restore a backup"}},
		{"a key that is not the store's", s.config("master_key "+strings.Repeat("1a", 32), "", ""), func() error { return nil },
			[]string{"master_key"}},
		{"a key that others can read", s.config("", "", ""), func() error { return os.Chmod(filepath.Join(s.store(), "master.key"), 0o644) },
			[]string{"master.key", "chmod 600"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(c.name, "read-only") && os.Geteuid() == 0 {
				t.Skip("root may write everywhere")
			}
			kept := filepath.Join(t.TempDir(), "kept")
			if err := os.CopyFS(kept, os.DirFS(s.store())); err != nil {
				t.Fatal(err)
			}
			if err := c.damage(); err != nil {
				t.Fatal(err)
			}
			err := caddy.Load(adapt(t, c.config), true)
			for _, why := range c.why {
				if err == nil || !strings.Contains(err.Error(), why) {
					t.Errorf("got %v, want %q", err, why)
				}
			}
			restore(t, kept, s.store())
		})
	}
	s.load(s.config("", "", ""))
	t.Cleanup(func() { _ = caddy.Stop() })
	wants(t, "restored", s.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
}

// restore puts a copy in the place of a store.
func restore(t *testing.T, from, to string) {
	t.Helper()
	_ = os.Chmod(to, 0o700)
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, "master.key"), 0o600); err != nil {
		t.Fatal(err)
	}
}
