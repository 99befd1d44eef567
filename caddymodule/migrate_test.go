package caddymodule_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	_ "github.com/sidegate/sidegate/caddymodule/redis"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

// mover is a site that moves between stores, with its operators.
type mover struct {
	*office
	stores map[string]string // the lines of each one's block, by a name
}

const plentyLimits = "limits {\n phone_sends off\n ip_sends off\n global_sends off\n prefix_sends off\n phone_failures off\n ip_failures off\n}"

// newMover prepares a site with a badger and, if it is there, a redis. The master
// key is in a file for both.
func newMover(t *testing.T) *mover {
	t.Helper()
	return moverOf(t, newOffice(t, socket(t)))
}

func moverOf(t *testing.T, o *office) *mover {
	t.Helper()
	m := &mover{o, map[string]string{}}
	key := m.writeKey("key")
	for _, name := range []string{"one", "two"} {
		m.stores[name] = fmt.Sprintf("master_key {file.%s}\n store badger {\n path %s\n }", key, filepath.Join(m.dir, name))
	}
	return m
}

// writeKey makes a master key in a file.
func (m *mover) writeKey(name string) (file string) {
	m.t.Helper()
	file = filepath.Join(m.dir, name)
	key := make([]byte, 32)
	rand.Read(key) // never fails
	if err := os.WriteFile(file, []byte(hex.EncodeToString(key)), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return file
}

// withRedis starts a server, and makes it one of the stores.
func (m *mover) withRedis() *redistest.Server {
	m.t.Helper()
	redistest.Need(m.t)
	server, err := redistest.Start(m.t.TempDir(), "--appendonly", "yes")
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = server.Close() })
	key, _, _ := strings.Cut(m.stores["one"], "\n")
	m.stores["redis"] = fmt.Sprintf("%s\n store redis {\n address %s\n }", key, server.Address)
	return server
}

// on is the site's configuration with one of the stores.
func (m *mover) on(store string) string { return m.with(store, m.config(plentyLimits, "")) }

// with has a configuration of the site use one of the stores.
func (m *mover) with(store, config string) string {
	block := fmt.Sprintf("store badger {\n\t\t\tpath %s\n\t\t}", m.store())
	if !strings.Contains(config, block) {
		m.t.Fatal("the site's store is not where it was")
	}
	return strings.Replace(config, block, m.stores[store], 1)
}

// reload loads a configuration that serves on a socket, over the one before.
func (m *mover) reload(store string) {
	m.t.Helper()
	m.load(m.onSocket(m.on(store)))
}

func (m *mover) open(store string) {
	m.t.Helper()
	m.reload(store)
	m.t.Cleanup(func() { _ = caddy.Stop() })
}

// file is a configuration in a file, as commands read it.
func (m *mover) file(store string) string {
	m.t.Helper()
	name := filepath.Join(m.t.TempDir(), "Caddyfile") // so it needs no adapter
	if err := os.WriteFile(name, []byte(m.on(store)), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return name
}

func (m *mover) migrate(args ...string) (string, error) {
	m.t.Helper()
	out, errs, err := run(append([]string{"migrate", "--address", m.address}, args...)...)
	return out + errs, err
}

// mustMigrate moves the records to another store, until both are in step.
func (m *mover) mustMigrate(to string, args ...string) {
	m.t.Helper()
	said, err := m.migrate(append([]string{"--to", m.file(to), "--skip-codes"}, args...)...)
	if err != nil || !strings.Contains(said, "in_step") {
		m.t.Fatalf("migrate: %v\n%s", err, said)
	}
}

// refused wants a configuration not to load.
func (m *mover) refused(store, why string) {
	m.t.Helper()
	m.loads++
	err := caddy.Load(adapt(m.t, m.on(store)), true)
	if err == nil || !strings.Contains(err.Error(), why) {
		m.t.Errorf("loading the store %s: got %v, want %q", store, err, why)
	}
}

// busy is a crowd that never rests.
type busy struct {
	crowd []*client
	acts  atomic.Int64
	over  atomic.Bool
	wg    sync.WaitGroup
}

func (m *mover) busy(n int) *busy {
	b := &busy{}
	for i := range n {
		b.crowd = append(b.crowd, &client{site: m.site, number: i, answered: map[string]int{}})
	}
	return b
}

func (b *busy) begin() {
	b.over.Store(false)
	for _, one := range b.crowd {
		b.wg.Go(func() {
			for !b.over.Load() {
				one.act()
				b.acts.Add(1)
			}
		})
	}
}

func (b *busy) wait(t *testing.T, acts int64) {
	t.Helper()
	until := b.acts.Load() + acts
	waitFor(t, "people to do something", func() bool { return b.acts.Load() >= until || t.Failed() })
}

// rest ends what they do, and holds the site to all that it has answered.
func (b *busy) rest() {
	b.over.Store(true)
	b.wg.Wait()
	everyone(b.crowd, (*client).check)
}

// unplugged is for reloads: Caddy itself drops a connection now and then, and
// what became of such a request is found out later.
func (b *busy) unplugged(do func()) {
	for _, one := range b.crowd {
		one.dead.Store(true)
	}
	do()
	for _, one := range b.crowd {
		one.dead.Store(false)
	}
}

// People sign in, refresh, sign out and end each other's sessions while the
// records go from Badger to Redis and back: every request is answered as if
// nothing was, and every answer holds in the new store.
func TestMoveUnderLoad(t *testing.T) {
	m := newMover(t)
	m.withRedis()
	m.open("one")
	people := m.busy(4)
	people.begin()
	people.wait(t, 60)
	for _, to := range []string{"redis", "one"} {
		people.rest() // a code that was sent before is not copied
		if said, err := m.migrate("--to", m.file(to), "--overwrite", "--skip-codes", "--detach"); err != nil {
			t.Fatalf("migrate: %v\n%s", err, said)
		}
		people.begin()
		waitFor(t, "the stores to be in step", func() bool {
			said, err := m.migrate("status")
			return err != nil || strings.Contains(said, "in_step")
		})
		leaver := m.signIn("+46709990001")
		wants(t, "a sign-out while it is moved", m.do("POST", apiPath+"/logout", nil, "Authorization", bearer(leaver)), 204, "")
		people.wait(t, 40)
		people.unplugged(func() { m.reload(to) })
		people.wait(t, 40)
		people.rest()
		wants(t, "who was signed out", m.do("GET", "/app", nil, "Authorization", bearer(leaver)), 401, "session_revoked")
		if said, err := m.migrate("status"); err != nil || !strings.Contains(said, "moved") {
			t.Errorf("after the reload: %v\n%s", err, said)
		}
		people.begin()
		m.refused(map[string]string{"redis": "one", "one": "redis"}[to], "its records were moved to")
	}
	people.rest()
	m.restart("one")
	everyone(people.crowd, (*client).check)
	sum(t, people.crowd)
}

func (m *mover) restart(store string) {
	m.t.Helper()
	if err := caddy.Stop(); err != nil {
		m.t.Fatal(err)
	}
	m.reload(store)
}

// The process is killed while the records are copied, and once the stores are in
// step: the store in use goes on, and nobody takes the copy for a store.
func TestKilledWhileMoving(t *testing.T) {
	t.Parallel()
	m := newMover(t)
	c := startChild(t, m.on("one"))
	session := m.signIn(phoneA)
	for _, args := range [][]string{{"--detach"}, {"--overwrite"}} {
		if said, err := m.migrate(append([]string{"--to", m.file("two"), "--skip-codes"}, args...)...); err != nil {
			t.Fatalf("migrate %v: %v\n%s", args, err, said)
		}
		leaver := m.signIn(phoneB)
		wants(t, "a sign-out while it is moved", m.do("POST", apiPath+"/logout", nil, "Authorization", bearer(leaver)), 204, "")
		c.kill()
		m.client.CloseIdleConnections()
		if err := spawn(t, m.on("two")).ready(); err == nil || !strings.Contains(err.Error(), "that was never handed over") {
			t.Errorf("starting with the copy: %v", err)
		}
		c = startChild(t, m.on("one"))
		wants(t, "who is signed in", m.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
		wants(t, "who is signed out", m.do("GET", "/app", nil, "Authorization", bearer(leaver)), 401, "session_revoked")
	}
}

// Who stops Caddy between the copy and the reload starts it with the new
// configuration, and not with the old one unless it is said so.
func TestStoppedInStep(t *testing.T) {
	m := newMover(t)
	m.open("one")
	session := m.signIn(phoneA)
	m.mustMigrate("two")
	m.restart("two")
	wants(t, "who is signed in", m.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
	wants(t, "sign-out", m.do("POST", apiPath+"/logout", nil, "Authorization", bearer(session)), 204, "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	m.refused("one", "its records were moved to badger "+filepath.Join(m.dir, "two"))
	said, errs, err := run("migrate", "abandon", "--config", m.file("one"), "--adapter", "caddyfile")
	if err != nil || !strings.Contains(said, "may be used again") {
		t.Errorf("abandon: %v %s%s", err, said, errs)
	}
	m.reload("one")
	wants(t, "what the command warns of", m.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
}

// A reload that fails after it has the new store leaves the old one in use, with
// all that was written meanwhile; the next one succeeds.
func TestReloadToTheNewStoreFails(t *testing.T) {
	m := newMover(t)
	m.open("one")
	session, leaver := m.signIn(phoneA), m.signIn(phoneB)
	m.mustMigrate("two")
	m.stores["locked"] = strings.Replace(m.stores["two"], "/key}", "/otherkey}", 1)
	m.writeKey("otherkey")
	m.refused("locked", "master_key: ")
	bad := strings.Replace(m.on("two"), "http://"+m.site.address, "http://"+m.upstream.address, 1)
	for range 8 { // apps start in no order: not every time the store is there first
		if err := caddy.Load(adapt(t, bad), true); err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Fatalf("the bad configuration: %v", err)
		}
		if said, err := m.migrate("status"); err != nil || !strings.Contains(said, "in_step") {
			t.Errorf("after a reload that failed: %v\n%s", err, said)
		}
		wants(t, "who is signed in", m.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
		session = m.tokens(m.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": session.Refresh}))
	}
	wants(t, "sign-out", m.do("POST", apiPath+"/logout", nil, "Authorization", bearer(leaver)), 204, "")
	m.reload("two")
	wants(t, "who is signed in", m.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
	wants(t, "who is signed out", m.do("GET", "/app", nil, "Authorization", bearer(leaver)), 401, "session_revoked")
	m.tokens(m.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": session.Refresh}))
}

// A code cannot be copied: what was sent before is over when the stores are in
// step, and what was sent since is good in the new one.
func TestCodesOverAMove(t *testing.T) {
	m := newMover(t)
	load := func(store string) { m.load(m.with(store, m.config(plentyLimits+"\notp {\n ttl 3s\n}", ""))) }
	load("one")
	t.Cleanup(func() { _ = caddy.Stop() })
	bring := func(challenge string) reply {
		return m.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": m.codeOf(challenge)})
	}
	before := m.site.start(phoneA)
	if said, err := m.migrate("--to", m.file("two"), "--detach"); err != nil {
		t.Fatalf("migrate: %v\n%s", err, said)
	}
	since := ""
	waitFor(t, "the stores to be in step", func() bool {
		said, err := m.migrate("status")
		if strings.Contains(said, "waiting until the codes sent before are over") {
			since = m.site.start(phoneB) // as late as can be
		}
		return err != nil || strings.Contains(said, "in_step")
	})
	load("two")
	wants(t, "a code of the move", bring(since), 200, "")
	wants(t, "a code of before", bring(before), 400, "otp_expired")
}

// Another node writes what would not be moved: neither the one that is there
// already nor one that comes too early is overlooked.
func TestMoveBesideOtherNodes(t *testing.T) {
	m := newMover(t)
	server := m.withRedis()
	other := newMover(t)
	other.stores = m.stores
	m.open("redis")
	node := startChild(t, other.on("redis"))
	if said, err := m.migrate("--to", m.file("one")); err == nil || !strings.Contains(said, "1 other nodes") {
		t.Errorf("beside another node: %v\n%s", err, said)
	}
	node.kill()
	m.mustMigrate("one", "--overwrite")
	m.reload("one")
	m.mustMigrate("redis", "--overwrite")
	if err := spawn(t, other.on("redis")).ready(); err == nil || !strings.Contains(err.Error(), "that was never handed over") {
		t.Errorf("a node that comes too early: %v", err)
	}
	m.reload("redis")
	node = startChild(t, other.on("redis"))

	// From now on they hear of each other.
	session := m.signIn(phoneA)
	wants(t, "who is signed in", m.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
	wants(t, "sign-out at the other node", other.do("POST", apiPath+"/logout", nil, "Authorization", bearer(session)), 204, "")
	ended := time.Now()
	waitFor(t, "the sign-out to be heard", func() bool { return m.do("GET", "/app", nil, "Authorization", bearer(session)).status == 401 })
	if took := time.Since(ended); took > 2*time.Second {
		t.Errorf("a session went on for %v after its end", took)
	}

	// And once the records are here, whatever becomes of Redis is no matter.
	node.kill()
	m.mustMigrate("one", "--overwrite")
	m.reload("one")
	session = m.signIn(phoneA)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	for closed := time.Now(); time.Since(closed) < 2500*time.Millisecond && !t.Failed(); {
		wants(t, "without Redis", m.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
	}
}

// What is in flight goes on over a move, and ends with its session after it, though
// the one is of the old configuration and the other of the new one.
func TestStreamsGoOnOverAMove(t *testing.T) {
	s := newStreamSite(t)
	m := moverOf(t, s.office)
	m.withRedis()
	load := func(store string) { // Caddy itself would end some when the move takes longer than that
		s.load(m.with(store, strings.Replace(s.caddyfile("", "stream_close_delay 1m"), "grace_period 5s", "grace_period 1m", 1)))
	}
	load("one")
	t.Cleanup(func() { _ = caddy.Stop() })
	victim, other := s.signInWith(testA, map[string]any{"device_id": "victim"}), s.signInWith(testA, map[string]any{"device_id": "other"})
	streams, bystanders := s.all(victim, everyKind...), s.all(other, "/sse")
	for _, to := range []string{"redis", "one"} {
		m.mustMigrate(to, "--overwrite")
		load(to)
		for _, one := range append(slices.Clone(streams), bystanders...) {
			if !strings.Contains(one.name, "poll") {
				one.flows(t)
			}
		}
	}
	wants(t, "logout", s.do("POST", apiPath+"/logout", nil, "Authorization", bearer(victim)), 204, "")
	answered := time.Now()
	for _, one := range streams {
		one.endsWithin(t, answered, "4401 logout")
	}
	for _, one := range bystanders {
		one.flows(t)
	}
	wants(t, "logout of the others", s.do("POST", apiPath+"/logout", nil, "Authorization", bearer(other)), 204, "")
	s.blamesNobody()
}
