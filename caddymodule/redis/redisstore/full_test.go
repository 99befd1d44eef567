package redisstore

import (
	"errors"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

// A Redis without room refuses what is new and still takes access away; whoever
// is signed in stays so.
func TestFullRedis(t *testing.T) {
	t.Parallel()
	server := start(t, redistest.Start)
	nodes := newNodes(t, 2, Options{Addresses: []string{server.Address}})
	over, lives := nodes[0].signIn(), nodes[0].signIn()
	fill := func(memory string) {
		t.Helper()
		if _, err := server.Do("CONFIG", "SET", "maxmemory", memory); err != nil {
			t.Fatal(err)
		}
	}
	fill("1")
	for name, do := range map[string]func() error{
		"signing in":    func() error { _, err := nodes[0].trySignIn(); return err },
		"a refresh":     func() error { _, err := nodes[1].Refresh(t.Context(), lives.Ticket, auth.RefreshTicket); return err },
		"touches":       func() error { return nodes[0].Live.Flush(t.Context(), nodes[0].Store) },
		"any new write": func() error { return nodes[0].Store.Put(t.Context(), []auth.Write{{Key: "k", Value: []byte("v")}}) },
	} {
		if err := do(); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("%s: got %v, want unavailable", name, err)
		}
	}
	for until := time.Now().Add(2 * trust); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		for _, n := range nodes {
			n.passes(lives)
		}
	}
	if err := nodes[0].logout(over); err != nil {
		t.Errorf("a sign-out: %v", err)
	}
	within(t, time.Second, "the end is heard", func() bool { return isRevoked(nodes[1].request(over)) })
	if _, err := nodes[0].Store.Swap(t.Context(), 0, auth.Write{Key: "gone"}); err != nil {
		t.Errorf("a deletion: %v", err)
	}
	fill("0")
	if _, err := nodes[1].Refresh(t.Context(), lives.Ticket, auth.RefreshTicket); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
