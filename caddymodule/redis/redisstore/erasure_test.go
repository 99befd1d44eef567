package redisstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

// After the erasure of a user Redis holds nothing that tells of them, nor do its
// files once they are written anew, and what is left of their records opens with
// no key there is. Other nodes see it when they hear of it.
func TestErasureIsReal(t *testing.T) {
	dir := t.TempDir()
	server, err := redistest.Start(dir, "--appendonly", "yes", "--aof-use-rdb-preamble", "no")
	if redistest.Need(t); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	nodes := newNodes(t, 2, Options{Addresses: []string{server.Address}})
	const alice, bob = "+46701234567", "+46707654321"
	g := livesOn(t, nodes, alice, "device-of-alice")
	livesOn(t, nodes, bob, "device-of-bob")
	store := nodes[0].Store.(*Store)
	traces := []string{alice[1:], "device-of-alice", "Alice's own phone"}

	before := readable(t, store)
	for _, trace := range traces {
		if !strings.Contains(before, trace) {
			t.Errorf("%q was not found before, so the search proves nothing", trace)
		}
	}
	if err := nodes[1].As("test").Delete(t.Context(), g.Identity.UserID); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		key := "session/" + g.Identity.SessionID.String()
		within(t, trust, "no node reads the session any more", func() bool {
			r, err := n.Store.Get(t.Context(), key)
			return err == nil && r[0].Version == 0
		})
	}
	after := readable(t, store)
	for _, trace := range traces {
		if strings.Contains(after, trace) {
			t.Errorf("%q can still be read", trace)
		}
	}
	if left := indexOf(t, store, "device"); len(left) != 1 {
		t.Errorf("the index holds %d devices, want the other user's alone", len(left))
	}
	if !strings.Contains(after, bob[1:]) {
		t.Error("the other user's number cannot be read")
	}
	rewrite(t, server)
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		for _, trace := range append(traces, g.Identity.SessionID.String(), string(g.Identity.SessionID[:])) {
			if bytes.Contains(data, []byte(trace)) {
				t.Errorf("%q stands in %s", trace, filepath.Base(name))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A node that is heard of asks for a user's data key once, and again after
// another node has erased it.
func TestDataKeysAreRemembered(t *testing.T) {
	server := start(t, redistest.Start)
	nodes := newNodes(t, 2, Options{Addresses: []string{server.Address}})
	a, b := nodes[0].Store.(*Store), nodes[1].Store.(*Store)
	write := func(s *Store, key, value string) {
		t.Helper()
		if err := s.Put(t.Context(), []auth.Write{{Key: key, Value: []byte(value), Owner: 7}}); err != nil {
			t.Fatal(err)
		}
	}
	asked := func(do func()) int {
		before := commandsOf(t, server, "get")
		do()
		return commandsOf(t, server, "get") - before
	}
	write(a, "touch/1", "one")
	within(t, trust, "the data key is known", func() bool {
		return asked(func() { write(b, "touch/2", "two") }) == 0
	})
	within(t, trust, "it is known for reading too", func() bool {
		return asked(func() { _, _ = b.Get(t.Context(), "touch/1") }) == 1
	})
	if err := a.Erase(t.Context(), 7, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"touch/1", "touch/2"} {
		if r, err := a.Get(t.Context(), key); err != nil || r[0].Version != 0 {
			t.Errorf("where it was erased %s is read: %v", key, err)
		}
	}
	within(t, trust, "the other node takes a new key", func() bool {
		write(b, "touch/3", "three")
		r, err := a.Get(t.Context(), "touch/3")
		return err == nil && string(r[0].Value) == "three"
	})
}

// A data key that Redis has lost is a fault: its owner was not erased, and must not
// look as if.
func TestALostDataKeyIsAFault(t *testing.T) {
	s := openTest(t, Options{Addresses: []string{start(t, redistest.Start).Address}})
	if _, err := s.Swap(t.Context(), 0, auth.Write{Key: "user/7", Value: []byte("v"), Owner: 7}); err != nil {
		t.Fatal(err)
	}
	found, err := s.places(t.Context(), auth.Write{Owner: 7, Value: []byte{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), []auth.Write{{Key: slotName(found[7].slot)}}); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Get(t.Context(), "user/7"); !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), "a data key is gone") {
		t.Errorf("got %v, %v", r, err)
	}
}

// commandsOf counts the calls of a command.
func commandsOf(t *testing.T, server *redistest.Server, command string) (n int) {
	t.Helper()
	info, err := server.Do("INFO", "commandstats")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "cmdstat_"+command+":calls=")
	if _, err := fmt.Sscanf(rest, "%d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// livesOn signs somebody in at one node, and out and in again at the other.
func livesOn(t *testing.T, nodes []node, phone, device string) (g auth.Grant) {
	t.Helper()
	name := strings.ToUpper(device[10:11]) + device[11:] + "'s own phone"
	for _, n := range nodes {
		p, err := n.Start(t.Context(), auth.StartRequest{Phone: phone})
		if err != nil {
			t.Fatal(err)
		}
		g, err = n.Verify(t.Context(), auth.VerifyRequest{
			ChallengeID: p.ChallengeID, Code: n.Secrets.Code(p.ChallengeID, 6), Kind: auth.RefreshTicket,
			Device: auth.DeviceInput{ID: device, Name: name},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Live.Flush(t.Context(), n.Store); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// readable is all that somebody gets who has what Redis holds, and the root key.
func readable(t *testing.T, s *Store) string {
	t.Helper()
	seal := testVault(t)
	held := func(slot uint64) ([]byte, error) {
		r, err := s.Get(t.Context(), slotName(slot))
		if err == nil {
			return r[0].Value, nil
		}
		return nil, err
	}
	var all strings.Builder
	keys, err := s.client.Do(t.Context(), s.client.B().Keys().Pattern("*").Build()).AsStrSlice()
	if err != nil || len(keys) < 5 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for _, key := range keys {
		all.WriteString(key + "\n")
		value, err := s.client.Do(t.Context(), s.client.B().Get().Key(key).Build()).AsBytes()
		if err != nil || len(value) < envelopeHeader {
			continue // a pulse
		}
		w, err := seal.Reveal(value[envelopeHeader:], held)
		if err != nil && !errors.Is(err, auth.ErrErased) {
			t.Errorf("%s: %v", key, err)
		}
		all.WriteString(w.Key + " " + string(w.Value) + "\n")
	}
	return all.String()
}

// rewrite has Redis write its log anew.
func rewrite(t *testing.T, server *redistest.Server) {
	t.Helper()
	if _, err := server.Do("BGREWRITEAOF"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		info, err := server.Do("INFO", "persistence")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0") {
			return
		}
	}
	t.Fatal("the log is not written anew")
}
