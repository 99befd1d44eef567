package caddymodule_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/backup"
)

// vaulted is an office whose audit goes to a file, and what it takes to restore
// it at another place.
type vaulted struct {
	*office
	audit, key, recipient string
}

func startVaulted(t *testing.T) *vaulted {
	t.Helper()
	v := &vaulted{office: newOffice(t, socket(t))}
	v.audit, v.key = filepath.Join(v.dir, "audit.log"), filepath.Join(v.dir, "backup.key")
	t.Cleanup(func() { _ = caddy.Stop() })
	v.load(v.caddyfile("store"))
	v.recipient = strings.TrimSpace(v.must("backup", "new-key", v.key))
	return v
}

const (
	firstKey = "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"
	otherKey = "505152535455565758595a5b5c5d5e5f404142434445464748494a4b4c4d4e4f"
)

// caddyfile has the store at a place; at another one than the first it has
// another master key too.
func (v *vaulted) caddyfile(store string) string {
	key := firstKey
	if store != "store" {
		key = otherKey
	}
	config := strings.Replace(v.config(plenty+"\nmaster_key "+key, ""), "\tsidegate {", fmt.Sprintf(`	log audit {
		include sidegate.audit
		format json
		output file %s
	}
	sidegate {`, v.audit), 1)
	return strings.ReplaceAll(config, filepath.Join(v.dir, "store"), filepath.Join(v.dir, store))
}

func (v *vaulted) file(name, text string) string {
	v.t.Helper()
	name = filepath.Join(v.dir, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		v.t.Fatal(err)
	}
	return name
}

func (v *vaulted) must(args ...string) string {
	v.t.Helper()
	out, errs, err := run(args...)
	if err != nil {
		v.t.Fatalf("%v: %v %s", args, err, errs)
	}
	return out
}

func (v *vaulted) backup() string {
	v.t.Helper()
	return v.file("backup", v.must("backup", "--recipient", v.recipient, "--address", v.address))
}

func (v *vaulted) restore(file, store string, more ...string) (string, string, error) {
	v.t.Helper()
	config := v.file("Caddyfile."+store, v.caddyfile(store))
	return run(append([]string{"restore", file, "--identity", v.key, "--config", config, "--adapter", "caddyfile"}, more...)...)
}

// people is who is there: each with sessions, one of which may have ended.
type people []tokens

func (v *vaulted) settle(n int) (all people) {
	for i := range n {
		number := fmt.Sprintf("+4670123%04d", i)
		first, own := v.signIn(number), v.signIn(number)
		v.do("PUT", apiPath+"/device", map[string]any{"device_name": "Phone", "fcm_token": "push"}, "Authorization", bearer(own))
		if i%3 == 0 {
			wants(v.t, "logout", v.do("POST", apiPath+"/logout", nil, "Authorization", bearer(first)), 204, "")
		}
		all = append(all, own)
	}
	return all
}

// described is all that the server says of them.
func (v *vaulted) described(all people) string {
	var b strings.Builder
	for _, own := range all {
		for _, path := range []string{"users/%d", "users/%d/sessions", "users/%d/devices"} {
			r := v.ask("GET", fmt.Sprintf(path, own.UserID), "")
			wants(v.t, path, r, 200, "")
			b.Write(r.body)
		}
	}
	return b.String()
}

// load has people come and go until it is told to stop.
func (v *vaulted) loadUntil(stop chan struct{}, load *sync.WaitGroup) {
	for worker := range 4 {
		load.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				own := v.signIn(fmt.Sprintf("+467017%d%04d", worker, i%100))
				v.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": own.Refresh})
				if i%2 == 0 {
					v.do("POST", apiPath+"/logout", nil, "Authorization", bearer(own))
				}
			}
		})
	}
}

// Backup under load, restore elsewhere: users, sessions and devices are equal,
// tokens of before are good, and what was ended after the backup stays over.
func TestRestoreElsewhere(t *testing.T) {
	v := startVaulted(t)
	stays := v.settle(25)
	ends, banned := v.signIn("+46701234568"), v.signIn("+46701234569")
	stop, load := make(chan struct{}), sync.WaitGroup{}
	v.loadUntil(stop, &load)
	before := v.described(stays)
	file := v.backup()
	if whole := v.must("backup", "verify", file, "--identity", v.key); !strings.Contains(whole, "The backup is whole") {
		t.Errorf("verify says %s", whole)
	}
	close(stop)
	load.Wait()
	late := v.signIn("+46701234570") // a user of whom the backup knows nothing
	for i := range stays[:10] {      // who go on, and hold tokens that the backup does not know
		stays[i] = v.tokens(v.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": stays[i].Refresh}))
	}
	wants(t, "logout", v.do("POST", apiPath+"/logout", nil, "Authorization", bearer(ends)), 204, "")
	wants(t, "ban", v.ask("POST", fmt.Sprintf("users/%d/ban", banned.UserID), `{}`), 200, "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}

	out, errs, err := v.restore(file, "elsewhere", "--audit", v.audit)
	if err != nil || !strings.Contains(out, "The store is made") || strings.Contains(out, "To do") {
		t.Fatalf("%v %s%s", err, out, errs)
	}
	if err := caddy.Load(adapt(t, strings.Replace(v.caddyfile("elsewhere"), otherKey, firstKey, 1)), true); err == nil {
		t.Error("the master key of the other place opens the store")
	}
	v.load(v.caddyfile("elsewhere"))
	if after := v.described(stays); before != after {
		t.Errorf("got %s, want %s", after, before)
	}
	v.restoredIs(file)
	for _, own := range stays {
		next := v.tokens(v.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": own.Refresh}))
		wants(t, "a session that lived", v.do("GET", apiPath+"/user", nil, "Authorization", bearer(next)), 200, "")
	}
	wants(t, "an access token of before", v.do("GET", apiPath+"/user", nil, "Authorization", bearer(stays[20])), 200, "")
	for name, own := range map[string]tokens{"one that was ended": ends, "one of a banned user": banned} {
		wants(t, name, v.do("GET", apiPath+"/user", nil, "Authorization", bearer(own)), 401, "session_revoked")
		wants(t, name, v.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": own.Refresh}), 400, "")
	}
	if again := v.signIn("+46701230000"); again.UserID != stays[0].UserID {
		t.Errorf("the user is %d, was %d", again.UserID, stays[0].UserID)
	}
	if fresh := v.signIn("+46701234571"); fresh.UserID <= late.UserID {
		t.Errorf("a new user is %d, and %d was given before", fresh.UserID, late.UserID)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, errs, err := v.restore(file, "elsewhere", "--end-all-sessions"); err == nil || !strings.Contains(errs, "there is a store already") {
		t.Errorf("over a store: %v %s", err, errs)
	}
}

// restoredIs compares the store in use with a backup, record by record. Sessions
// that have ended since are in the audit, and so is the ban.
func (v *vaulted) restoredIs(file string) {
	v.t.Helper()
	f, err := os.Open(file)
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	identity, err := os.ReadFile(v.key)
	if err != nil {
		v.t.Fatal(err)
	}
	stored, same, other := caddymodule.Stored(v.t), 0, 0
	_, err = backup.Read(f, backup.Key{Identity: string(identity)}, func(want auth.Write) error {
		got, there := stored[want.Key]
		kind, _, _ := strings.Cut(want.Key, "/")
		switch {
		case kind == "audit" || kind == "counter":
		case !there:
			v.t.Errorf("%s is gone", want.Key)
		case !bytes.Equal(bytes.Replace(got.Value, []byte(`,"restored":true`), nil, 1), want.Value) || !got.Expires.Equal(want.Expires):
			if other++; kind != "session" && kind != "user" {
				v.t.Errorf("%s: got %q until %v, want %q until %v", want.Key, got.Value, got.Expires, want.Value, want.Expires)
			}
		default:
			same++
		}
		return nil
	})
	if err != nil || same < 200 || other > same/2 {
		v.t.Errorf("%d records are the same, %d are not: %v", same, other, err)
	}
	v.t.Logf("%d records are the same, %d have ended since", same, other)
}

func TestRestoreThatIsRefused(t *testing.T) {
	v := startVaulted(t)
	own := v.signIn("+46701234567")
	file := v.backup()
	wants(t, "logout", v.do("POST", apiPath+"/logout", nil, "Authorization", bearer(own)), 204, "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(v.audit)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSpace(string(text)), "\n")
	other := filepath.Join(v.dir, "other.key")
	v.must("backup", "new-key", other)
	backup, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(backup)
	flipped[len(flipped)/2] ^= 1
	for _, row := range []struct {
		name string
		file string
		args []string
		says string
	}{
		{"without a word on sessions", file, nil, "must not live again"},
		{"with two words", file, []string{"--audit", v.audit, "--end-all-sessions"}, "must not live again"},
		{"an altered audit", file, []string{"--audit", v.file("altered", strings.Replace(string(text), "session_ended", "session_ende_", 1))}, "not whole"},
		{"a line missing in the middle", file, []string{"--audit", v.file("gap", lines[0]+strings.Join(lines[2:], ""))}, "not whole"},
		{"an audit of later only", file, []string{"--audit", v.file("late", lines[len(lines)-1])}, "does not reach back"},
		{"an audit without lines", file, []string{"--audit", v.file("none", "{}\n")}, "no line of the audit"},
		{"an audit that is not there", file, []string{"--audit", "/nowhere"}, "/nowhere"},
		{"another key", file, []string{"--end-all-sessions", "--identity", other}, "does not open"},
		{"a flipped bit", v.file("flipped", string(flipped)), []string{"--end-all-sessions"}, "damaged"},
		{"a cut", v.file("cut", string(backup[:len(backup)-1])), []string{"--end-all-sessions"}, "damaged"},
		{"no file", "/nowhere", []string{"--end-all-sessions"}, "/nowhere"},
	} {
		if _, errs, err := v.restore(row.file, "elsewhere", row.args...); err == nil || !strings.Contains(errs, row.says) {
			t.Errorf("%s: %v %s", row.name, err, errs)
		}
		if left, _ := os.ReadDir(filepath.Join(v.dir, "elsewhere")); len(left) != 0 {
			t.Errorf("%s: left %v", row.name, left)
		}
	}
	// A log that Caddy has rotated away, and the rest.
	var older bytes.Buffer
	z := gzip.NewWriter(&older)
	if _, err := z.Write([]byte(lines[0])); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	out, errs, err := v.restore(file, "elsewhere", "--json", "--audit", v.file("audit-1.log.gz", older.String()), "--audit", v.file("rest", strings.Join(lines[1:], "")))
	var report struct {
		Ended int `json:"sessions_ended"`
	}
	if err != nil || json.Unmarshal([]byte(out), &report) != nil || report.Ended != 1 {
		t.Errorf("%v %s%s", err, out, errs)
	}
	if out, errs, err = v.restore(file, "third", "--json", "--end-all-sessions"); err != nil || json.Unmarshal([]byte(out), &report) != nil || report.Ended != 1 {
		t.Errorf("%v %s%s", err, out, errs)
	}
	v.load(v.caddyfile("third"))
	wants(t, "a session of the backup", v.do("GET", apiPath+"/user", nil, "Authorization", bearer(own)), 401, "")
}

// A machine that was gone before the backup, such as a container of before, has no
// lines after it, and its log may be gone too. One that was there must be heard.
func TestRestoreWantsTheAuditsOfThoseWhoLived(t *testing.T) {
	v := startVaulted(t)
	v.signIn("+46701234567")
	for _, row := range []struct {
		name  string
		since time.Duration
		wants string // what the error says; empty: none
	}{{"gone", 2 * time.Hour, ""}, {"there", 9 * time.Minute, "does not reach back"}} {
		head := fmt.Sprintf(`{"chain":%q,"n":7,"hash":%[1]q,"at":%[2]q}`, row.name, time.Now().UTC().Add(-row.since).Format(time.RFC3339))
		caddymodule.StoreRecord(t, auth.Write{Key: "audit/" + row.name, Value: []byte(head)})
		_, errs, err := v.restore(v.backup(), row.name, "--audit", v.audit)
		if (err != nil) != (row.wants != "") || !strings.Contains(errs, row.wants) {
			t.Errorf("%s: %v %s", row.name, err, errs)
		}
	}
}

func TestBackupsWithWrongInput(t *testing.T) {
	v := startVaulted(t)
	at := []string{"--address", v.address}
	short := v.file("short", "12345678901\n")
	long := v.file("long", "correct horse battery\n")
	for _, row := range []struct {
		args []string
		says string
	}{
		{append([]string{"backup"}, at...), "give --recipient"},
		{append([]string{"backup", "--recipient", v.recipient, "--passphrase-file", long}, at...), "not both"},
		{append([]string{"backup", "--recipient", "age1x"}, at...), "no public key"},
		{append([]string{"backup", "--passphrase-file", short}, at...), "fewer than 12"},
		{append([]string{"backup", "--passphrase-file", "/nowhere"}, at...), "/nowhere"},
		{append([]string{"backup", "now"}, at...), "unknown command"},
		{[]string{"backup", "--recipient", v.recipient, "--address", "unix//nowhere"}, "is it running"},
		{[]string{"backup", "new-key", v.key}, "exists"},
		{[]string{"backup", "verify", long}, "--identity"},
		{[]string{"backup", "verify", long, "--identity", v.key}, "damaged"},
		{[]string{"backup", "verify", long, "--identity", long}, "no key of age"},
		{[]string{"backup", "verify", "/nowhere", "--identity", v.key}, "/nowhere"},
		{[]string{"restore", long, "--identity", v.key, "--end-all-sessions"}, "give --config"},
		{[]string{"restore", long, "--end-all-sessions"}, "--identity"},
	} {
		out, errs, err := run(row.args...)
		if err == nil || !strings.Contains(errs, row.says) || strings.Contains(errs, "correct horse") || strings.Contains(out+errs, "AGE-SECRET-KEY-1Q") {
			t.Errorf("%v: %v %s%s", row.args, err, out, errs)
		}
	}
	file := v.file("by passphrase", v.must(append([]string{"backup", "--passphrase-file", long}, at...)...))
	v.must("backup", "verify", file, "--passphrase-file", long)
	if info, err := os.Stat(v.key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v %v", info.Mode(), err)
	}
	for _, name := range []string{"caddy.log", "audit.log"} {
		if text, err := os.ReadFile(filepath.Join(v.dir, name)); err != nil || bytes.Contains(text, []byte("correct horse")) {
			t.Errorf("%s has the passphrase: %v", name, err)
		}
	}
}

// Whoever adds a kind of record must say what a backup makes of it; the domain's
// own tests see to its own kinds.
func TestEveryKindOfRecordHasItsPlaceInBackups(t *testing.T) {
	t.Setenv("EVENT_SECRET", "0123456789abcdef0123456789abcdef")
	v := startVaulted(t)
	v.load(v.config(plenty+"\nmaster_key "+firstKey+"\nnotify webhook http://127.0.0.1:1/events {\n secret {env.EVENT_SECRET}\n}", ""))
	v.people()
	wants(t, "health", v.do("GET", apiPath+"/health", nil), 200, "")
	v.backup()
	stored := map[string]int{}
	for key := range caddymodule.Stored(t) {
		kind, _, _ := strings.Cut(key, "/")
		stored[kind]++
	}
	for kind := range stored {
		if _, known := auth.Kinds[kind]; !known {
			t.Errorf("records of the kind %s are not in auth.Kinds: say there whether a backup carries them", kind)
		}
	}
	for _, kind := range []string{"user", "session", "keys", "audit", "notify", "health"} {
		if stored[kind] == 0 {
			t.Errorf("no record of the kind %s was made", kind)
		}
	}
}
