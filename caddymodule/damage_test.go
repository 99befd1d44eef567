package caddymodule_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// alter changes a byte of a file of the store, as a disk would: also under a
// process that has mapped it. It returns how to change it back.
func alter(t *testing.T, s *site, pattern string, at int64) (undo func()) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(s.dir, "store", "db", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	flip := func() {
		file, err := os.OpenFile(names[len(names)-1], os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		b := make([]byte, 1)
		if _, err := file.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 0x40
		if _, err := file.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	flip()
	return flip
}

// A store with a flipped byte does not start: the operator hears why and what to
// do, from the start and from doctor. What is whole again serves again.
func TestDamagedStoreDoesNotStart(t *testing.T) {
	o := newOffice(t, socket(t))
	t.Cleanup(func() { _ = caddy.Stop() })
	config := o.config(plenty, "")
	o.load(config)
	own, over := o.signIn("+46701234567"), o.signIn("+46707654321")
	wants(t, "logout", o.do("POST", apiPath+"/logout", nil, "Authorization", bearer(over)), 204, "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(o.dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	doctor := func(want string, fails bool) {
		t.Helper()
		out, _, err := run("doctor", file)
		if fails != (err != nil) || !strings.Contains(out, want) {
			t.Errorf("doctor: want %q, got %v\n%s", want, err, out)
		}
	}
	doctor("ok       store\n", false)
	for _, damage := range []struct {
		pattern string
		at      int64
	}{{"*.sst", 100}, {"MANIFEST", 17}, {"KEYREGISTRY", 20}} {
		undo := alter(t, o.site, damage.pattern, damage.at)
		err := caddy.Load(adapt(t, config), true)
		if err == nil || !strings.Contains(err.Error(), "opening the store "+filepath.Join(o.dir, "store")) || !strings.Contains(err.Error(), "restore a backup") {
			t.Errorf("%s: started: %v", damage.pattern, err)
		}
		if damage.pattern != "KEYREGISTRY" { // which only the engine reads
			doctor("wrong    store", true)
			doctor("restore a backup", true)
		}
		undo()
	}
	o.load(config)
	doctor("skipped  store (a server has it open", false)
	wants(t, "a session", o.do("GET", "/", nil, "Authorization", bearer(own)), 200, "")
	wants(t, "one that was over", o.do("GET", "/", nil, "Authorization", bearer(over)), 401, "session_revoked")
}

// A byte that flips under a running server: within seconds nothing is answered
// from the store any more. Nobody is signed out, and doctor says what to do.
func TestStoreDamagedUnderAServer(t *testing.T) {
	o := newOffice(t, socket(t))
	t.Cleanup(func() { _ = caddy.Stop() })
	config := o.config(plenty, "")
	o.load(config)
	own := o.signIn("+46701234567")
	if err := caddy.Stop(); err != nil { // so that there is a table
		t.Fatal(err)
	}
	o.load(config)
	alter(t, o.site, "*.sst", 100)
	for o.do("GET", apiPath+"/health", nil).status != 503 {
		select {
		case <-t.Context().Done():
			t.Fatal("not noticed")
		case <-time.After(50 * time.Millisecond):
		}
	}
	refresh := map[string]any{"refresh_token": own.Refresh}
	wants(t, "a refresh", o.do("POST", apiPath+"/refresh", refresh), 503, "store_unavailable")
	wants(t, "a sign-in", o.do("POST", apiPath+"/otp", map[string]any{"phone": "+46701234567"}), 503, "store_unavailable")
	wants(t, "a request", o.do("GET", "/", nil, "Authorization", bearer(own)), 503, "store_unavailable")
	out, errs, err := run("--address", o.address, "doctor")
	if err == nil || !strings.Contains(out, "wrong    store") || !strings.Contains(out, "table 00000") || !strings.Contains(out, "restore a backup") {
		t.Errorf("doctor: %v\n%s%s", err, out, errs)
	}
	log, err := os.ReadFile(filepath.Join(o.dir, "caddy.log"))
	if err != nil || !strings.Contains(string(log), "the store refuses everything from now on") {
		t.Errorf("the log does not say so: %v", err)
	}
}
