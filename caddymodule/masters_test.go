package caddymodule_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// keyFile writes a master key of one letter and gives its path and text.
func keyFile(t *testing.T, dir, name, letter string) (path, text string) {
	t.Helper()
	path, text = filepath.Join(dir, name), strings.Repeat(letter, 63)+"0"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, text
}

// A master key that operators bring takes the place of the one before while the
// server runs: it is let in, configured, and at last the only one.
func TestAnotherMasterKeyByReload(t *testing.T) {
	o := newOffice(t, socket(t))
	a, textA := keyFile(t, o.dir, "a.key", "a")
	b, textB := keyFile(t, o.dir, "b.key", "b")
	with := func(path string) string { return o.config(plenty+"\nmaster_key {file."+path+"}", "") }
	load := func(path string) error {
		o.loads++
		return caddy.Load(adapt(t, with(path)), true)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	if err := load(a); err != nil {
		t.Fatal(err)
	}
	session := o.signIn(phoneA)
	if err := load(b); err == nil || !strings.Contains(err.Error(), "keys rewrap --new-key-file") {
		t.Errorf("a key that opens nothing: %v", err)
	}
	wants(t, "a new key of ours, where the key is the operator's", o.ask("POST", "keys/master", `{}`), 400, "invalid_request")
	wants(t, "what is no key", o.ask("POST", "keys/master", `{"new_key":"abc"}`), 400, "invalid_request")
	wants(t, "the new key", o.ask("POST", "keys/master", `{"new_key":"`+textB+`"}`), 200, "")
	wants(t, "once more", o.ask("POST", "keys/master", `{"new_key":"`+textB+`"}`), 200, "")
	if err := load(b); err != nil {
		t.Fatal(err)
	}
	wants(t, "the app", o.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
	r := o.ask("POST", "keys/master/retire", `{}`)
	if wants(t, "retire", r, 200, ""); strings.Count(string(r.body), "fingerprint") != 1 {
		t.Errorf("more than one is left: %s", r.body)
	}
	if err := load(a); err == nil {
		t.Error("the retired key opens the store")
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := load(a); err == nil || !strings.Contains(err.Error(), "sealed with another master key") {
		t.Errorf("a start with the retired key: %v", err)
	}
	if err := load(b); err != nil {
		t.Fatal(err)
	}
	session = o.tokens(o.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": session.Refresh}))
	wants(t, "after a start", o.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")

	log, err := os.ReadFile(filepath.Join(o.dir, "caddy.log"))
	if err != nil || bytes.Contains(log, []byte(textA)) || bytes.Contains(log, []byte(textB)) {
		t.Errorf("a master key is in the log (%v)", err)
	}
}

// A file that was replaced by hand with a key that opens nothing must not become
// the last key of the store.
func TestRetiringAsksForTheKeyAnew(t *testing.T) {
	o := newOffice(t, socket(t))
	a, _ := keyFile(t, o.dir, "a.key", "a")
	o.load(o.config("master_key {file."+a+"}", ""))
	t.Cleanup(func() { _ = caddy.Stop() })
	keyFile(t, o.dir, "a.key", "c")
	wants(t, "retire", o.ask("POST", "keys/master/retire", `{}`), 400, "invalid_request")
	keyFile(t, o.dir, "a.key", "a")
	wants(t, "retire", o.ask("POST", "keys/master/retire", `{}`), 200, "")
}

// A command may give the master key. It runs for the store and not for `caddy
// validate`, and nothing of what it says is shown.
func TestMasterKeyByCommand(t *testing.T) {
	o := newOffice(t, socket(t))
	_, key := keyFile(t, o.dir, "a.key", "a")
	runs := filepath.Join(o.dir, "runs")
	script := filepath.Join(o.dir, "key.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho run >>"+runs+"\necho complaint-of-the-key-service >&2\ncat \"$1\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := func(file string) string {
		return o.config("master_key exec "+script+" "+filepath.Join(o.dir, file)+" {\n timeout 5s\n}", "")
	}
	ran := func() int {
		text, _ := os.ReadFile(runs)
		return bytes.Count(text, []byte("run"))
	}
	var parsed caddy.Config
	if err := caddy.StrictUnmarshalJSON(adapt(t, config("a.key")), &parsed); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&parsed); err != nil || ran() != 0 {
		t.Errorf("validating: %v, and the command ran %d times", err, ran())
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	o.load(config("a.key"))
	session := o.signIn(phoneA)
	wants(t, "the app", o.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
	if ran() == 0 {
		t.Error("the command did not run")
	}
	wants(t, "the list", o.ask("GET", "keys/master", ""), 200, "")
	for _, row := range []struct{ name, text, says string }{
		{"none.key", "", "gives no key; run it by hand"},
		{"wrong.key", "5ec2e75ec2e7", "wrote no key: the master key must be 32 random bytes"},
	} {
		if row.text != "" {
			if err := os.WriteFile(filepath.Join(o.dir, row.name), []byte(row.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		o.loads++
		err := caddy.Load(adapt(t, config(row.name)), true)
		if err == nil || !strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "5ec2e7") {
			t.Errorf("%s: got %v", row.name, err)
		}
	}
	wants(t, "the one before runs on", o.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
	log, err := os.ReadFile(filepath.Join(o.dir, "caddy.log"))
	if err != nil || bytes.Contains(log, []byte(key)) || bytes.Contains(log, []byte("5ec2e7")) || bytes.Contains(log, []byte("complaint-of")) {
		t.Errorf("what the command said is in the log (%v)", err)
	}
}

// change is a change of the master key that a kill may meet.
type change struct {
	*office
	path string // of the key file
}

// key is the file's text; the file is always there and whole.
func (c change) key() string {
	text, err := os.ReadFile(c.path)
	if err != nil || len(text) < 40 {
		c.t.Errorf("the key file: %q, %v", text, err)
	}
	return string(text)
}

// staged reports whether a new key lies beside the file.
func (c change) staged() bool {
	entries, _ := os.ReadDir(filepath.Dir(c.path))
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".master-key-") {
			return true
		}
	}
	return false
}

// killAt asks for a new key and kills the process when it has come so far. It
// tells how far it had come in the end.
func (c change) killAt(process *child, reached func(before string) bool) string {
	before := c.key()
	answered := make(chan bool, 1)
	go func() {
		r, err := c.door.Post("http://localhost/sidegate/keys/master", "application/json", strings.NewReader("{}"))
		if err == nil {
			err = r.Body.Close()
		}
		answered <- err == nil && r.StatusCode == http.StatusOK
	}()
	for len(answered) == 0 && !reached(before) {
		continue // a swap takes a fraction of a millisecond: there is no time to sleep
	}
	process.kill()
	done := <-answered
	switch {
	case c.key() == before:
		return "killed before the swap"
	case !done:
		return "killed after the swap"
	}
	return "answered"
}

// Whatever a kill meets of a change of the master key, before or after the key
// file is swapped, the next start needs no hands, and nobody is signed out.
func TestKillWhileTheMasterKeyChanges(t *testing.T) {
	t.Parallel()
	const enough = 3
	o := newOffice(t, socket(t))
	config := o.config(crowdLimits, "")
	process := startChild(t, config)
	session := o.signIn(phoneA)
	c := change{o, filepath.Join(o.dir, "store", "master.key")}
	seen := map[string]int{}
	for round := 0; seen["killed before the swap"] < enough || seen["killed after the swap"] < enough; round++ {
		if round == 80 {
			t.Fatalf("the kills came at the wrong moments: %v", seen)
		}
		reached := func(string) bool { return c.staged() }
		switch round % 3 {
		case 1:
			reached = func(before string) bool { return c.key() != before }
		case 2:
			at := time.Now().Add(time.Duration(round) * 200 * time.Microsecond)
			reached = func(string) bool { return time.Now().After(at) }
		}
		how := c.killAt(process, reached)
		seen[how]++
		o.client.CloseIdleConnections()
		o.door.CloseIdleConnections()
		process = spawn(t, config)
		if err := process.ready(); err != nil {
			t.Fatalf("round %d, %s: starting: %v", round, how, err)
		}
		wants(t, how, o.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
		session = o.tokens(o.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": session.Refresh}))
		r := o.ask("POST", "keys/master/retire", `{}`)
		if wants(t, how, r, 200, ""); strings.Count(string(r.body), `"in_use":true`) != 1 {
			t.Errorf("%s: %s", how, r.body)
		}
		if t.Failed() {
			t.Fatal(fmt.Sprint("after round ", round, ": ", seen))
		}
	}
	t.Log(seen)
}
