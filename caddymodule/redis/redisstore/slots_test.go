package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

func TestSlotOf(t *testing.T) {
	// The check value of CRC-16/XMODEM, and examples of the specification.
	for tag, want := range map[string]int{"123456789": 0x31c3, "": 0, "foo": 12182, "user1000": 3443} {
		if got := slotOf(tag); got != want {
			t.Errorf("%q: got %d, want %d", tag, got, want)
		}
	}
}

func TestKeyAtIsHeldByTheServer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.IntRange(0, slots-1).Draw(t, "first")
		last := rapid.IntRange(first, slots-1).Draw(t, "last")
		key := keyAt("pulse/x/", []span{{first, last}})
		tag := key[strings.IndexByte(key, '{')+1 : len(key)-1]
		if at := slotOf(tag); at < first || at > last {
			t.Fatalf("%s lies in %d, not in %d to %d", key, at, first, last)
		}
	})
}

// A slot that moves to another server under load loses no write, refuses none,
// and takes no end back.
func TestSlotsMove(t *testing.T) {
	t.Parallel()
	cluster := start(t, redistest.StartCluster)
	nodes := newNodes(t, 2, Options{Addresses: cluster.Addresses(), Replicas: 1})
	s := nodes[0].Store.(*Store)
	g := nodes[0].signIn()
	nodes[1].passes(g)
	session := "session/" + g.Identity.SessionID.String()
	text, err := cluster.Servers[0].Do("CLUSTER", "KEYSLOT", s.opt.Prefix+session)
	if err != nil {
		t.Fatal(err)
	}
	slot, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	counter := keyAt("counter/", []span{{slot, slot}})

	stop, counted := make(chan struct{}), 0
	var load sync.WaitGroup
	load.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := increment(t.Context(), s, counter); err != nil {
				t.Errorf("while the slot moves: %v", err)
				return
			}
			counted++
			// A new key, which only the slot's next owner takes.
			if _, err := s.Swap(t.Context(), 0, auth.Write{Key: fmt.Sprintf("new%d/%s", counted, counter), Value: []byte("v")}); err != nil {
				t.Errorf("a new key while the slot moves: %v", err)
				return
			}
		}
	})
	from := slot * 3 / slots
	if err := cluster.Move(slot, from, (from+1)%3, 200*time.Millisecond); err != nil {
		t.Error(err)
	}
	time.Sleep(time.Second)
	close(stop)
	load.Wait()
	records, err := s.Get(t.Context(), counter)
	if err != nil || string(records[0].Value) != strconv.Itoa(counted) {
		t.Errorf("counted %d, stored %s, %v", counted, records[0].Value, err)
	}
	t.Logf("%d increments", counted)
	for _, n := range nodes {
		n.passes(g)
	}
	if err := nodes[0].logout(g); err != nil {
		t.Fatal(err)
	}
	within(t, time.Second, "the end is heard from the slot's new server", func() bool { return isRevoked(nodes[1].request(g)) })
	for until := time.Now().Add(2 * trust); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if err := nodes[1].request(g); !isRevoked(err) {
			t.Fatalf("got %v", err)
		}
	}
}

func increment(ctx context.Context, s auth.Store, key string) error {
	for {
		records, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(string(records[0].Value))
		_, err = s.Swap(ctx, records[0].Version, auth.Write{Key: key, Value: strconv.AppendInt(nil, int64(n+1), 10)})
		if !errors.Is(err, auth.ErrConflict) {
			return err
		}
	}
}
