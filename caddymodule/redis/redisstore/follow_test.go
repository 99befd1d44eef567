package redisstore

import (
	"context"
	"errors"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

var trackingClient = regexp.MustCompile(`(?m)id=(\d+) .* flags=\S*t`)

// What happens while nobody listens is announced to nobody, although both the
// node and Redis are well.
func TestAnEndWhileNobodyListensIsFound(t *testing.T) {
	server := start(t, redistest.Start)
	opt := Options{Addresses: []string{server.Address}, Prefix: freshPrefix()}
	far := newNode(t, opt)
	list, err := server.Do("CLIENT", "LIST")
	if err != nil {
		t.Fatal(err)
	}
	ear := trackingClient.FindStringSubmatch(list)
	if ear == nil {
		t.Fatalf("nobody listens: %s", list)
	}
	near := newNode(t, opt)
	g := near.signIn()
	far.passes(g)
	if _, err := server.Do("CLIENT", "KILL", "ID", ear[1]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // the break is noticed, and what follows is read after it
	far.passes(g)
	if err := near.logout(g); err != nil {
		t.Fatal(err)
	}
	far.passes(g) // so it was memory that let it through
	within(t, 2*time.Second, "the end is found", func() bool { return isRevoked(far.request(g)) })
}

// Whoever empties Redis signs everybody out, in the memory of the nodes too.
func TestAnEmptiedRedisIsNoticed(t *testing.T) {
	server := start(t, redistest.Start)
	n := newNodes(t, 1, Options{Addresses: []string{server.Address}})[0]
	g := n.signIn()
	n.passes(g)
	if _, err := server.Do("FLUSHALL"); err != nil {
		t.Fatal(err)
	}
	within(t, time.Second, "refused", func() bool { return errors.Is(n.request(g), auth.Refuse(auth.CodeSessionExpired)) })
}

// A server that takes writes and announces nothing, as one behind a proxy that
// does not know announcements, is not heard.
func TestASilentServerIsNotHeard(t *testing.T) {
	server := start(t, redistest.Start)
	s := openTest(t, Options{Addresses: []string{server.Address}})
	conn, release := s.client.Dedicate()
	defer release()
	e := &ear{DedicatedClient: conn, follower: &follower{store: s}, address: server.Address, felt: make(chan struct{}, 1)}
	if err := e.beat(t.Context(), time.Now()); !errors.Is(err, errSilent) {
		t.Errorf("got %v", err)
	}
}

// A user who may not ask for announcements is told so at the start, and not
// after half a minute.
func TestFollowIsRefusedAtOnce(t *testing.T) {
	server := start(t, redistest.Start)
	if _, err := server.Do("ACL", "SETUSER", "deaf", "on", ">secret", "~*", "+@all", "-client|tracking"); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, Options{Addresses: []string{server.Address}, Username: "deaf", Password: "secret"})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := auth.NewLive(10).Follow(ctx, s)
	if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), "CLIENT TRACKING") || ctx.Err() != nil {
		t.Errorf("got %v", err)
	}
}

func TestFollowGivesUpWithItsContext(t *testing.T) {
	server := start(t, redistest.Start)
	s := openTest(t, Options{Addresses: []string{server.Address}})
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := auth.NewLive(10).Follow(ctx, s); !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), server.Address) {
		t.Errorf("got %v", err)
	}
}

func TestCloseEndsWhatFollowBegan(t *testing.T) {
	server := start(t, redistest.Start)
	s := openTest(t, Options{Addresses: []string{server.Address}})
	if err := auth.NewLive(10).Follow(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	mine := func() int {
		buffer := make([]byte, 4<<20)
		return strings.Count(string(buffer[:runtime.Stack(buffer, true)]), "redisstore.(*follower).keep")
	}
	before := mine()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if after := mine(); before == 0 || after >= before {
		t.Errorf("%d goroutines followed, and %d still do", before, after)
	}
}
