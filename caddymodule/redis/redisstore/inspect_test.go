package redisstore

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

// What would lose records is refused at once, with a word on what to do.
func TestOpenRefuses(t *testing.T) {
	plain := start(t, redistest.Start)
	port := plain.Address[strings.LastIndexByte(plain.Address, ':')+1:]
	for _, test := range []struct {
		name string
		args []string // of the server
		opt  Options
		want string
	}{
		{"a server that evicts", []string{"--maxmemory-policy", "allkeys-lru"}, Options{}, "set it to noeviction"},
		{"one that evicts what expires", []string{"--maxmemory-policy", "volatile-ttl"}, Options{}, "set it to noeviction"},
		{"a replica", []string{"--replicaof", "127.0.0.1 " + port}, Options{}, "it is a replica; give the address of the primary"},
		{"no password", []string{"--requirepass", "secret"}, Options{}, "NOAUTH"},
		{"a wrong password", []string{"--requirepass", "secret"}, Options{Password: "wrong"}, "WRONGPASS"},
		{"several servers that are no Cluster", nil, Options{Addresses: []string{plain.Address}}, "several addresses are for a Cluster, or for Sentinels"},
	} {
		t.Run(test.name, func(t *testing.T) {
			opt := test.opt
			opt.Addresses = append([]string{start(t, redistest.Start, test.args...).Address}, opt.Addresses...)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			s, err := Open(ctx, opt)
			if err == nil {
				_ = s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || ctx.Err() != nil {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestOldServersAreRefused(t *testing.T) {
	for _, version := range []string{"6.2.14", "", "seven"} {
		i := info{"redis_version": version, "role": "master", "maxmemory_policy": "noeviction"}
		if err := i.check("standalone"); err == nil || !strings.Contains(err.Error(), "Redis 7 or Valkey is needed") {
			t.Errorf("version %q: got %v", version, err)
		}
	}
	if err := unseen.check("standalone"); err != nil {
		t.Error(err)
	}
}

// A server that starts later than we do is waited for, as long as the context
// says.
func TestOpenWaitsForAServer(t *testing.T) {
	server := start(t, redistest.Start)
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Options{Addresses: []string{server.Address}}); err == nil {
		t.Fatal("opened a dead server")
	}
	go func() {
		time.Sleep(500 * time.Millisecond)
		_ = server.Restart()
	}()
	openTest(t, Options{Addresses: []string{server.Address}})
}

// startPair starts a primary and its replica.
func startPair(t *testing.T, args ...string) (primary, replica *redistest.Server) {
	t.Helper()
	args = append(args, "--repl-diskless-sync-delay", "0") // the primary would wait 5 s for more replicas
	primary = start(t, redistest.Start, args...)
	_, port, _ := strings.Cut(primary.Address, ":")
	replica = start(t, redistest.Start, "--replicaof", "127.0.0.1 "+port)
	within(t, 10*time.Second, "the replica is connected", func() bool {
		text, err := primary.Do("INFO", "replication")
		return err == nil && strings.Contains(text, "state=online")
	})
	return primary, replica
}

// A primary that has lost its replicas may have been replaced, and then hears of
// no end any more. Told to take no writes then, it shows itself.
func TestACutOffPrimaryIsNotHeard(t *testing.T) {
	t.Parallel()
	primary, replica := startPair(t, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "3")
	n := newNodes(t, 1, Options{Addresses: []string{primary.Address}})[0]
	g := n.signIn()
	n.passes(g)
	replica.Pause()
	defer replica.Resume()
	within(t, 8*time.Second, "503", func() bool { return errors.Is(n.request(g), auth.ErrUnavailable) })
	replica.Resume()
	within(t, 5*time.Second, "heard again", func() bool { return n.request(g) == nil })
}

// With a replica there, an end is answered only when that has it: else the next
// failover would undo it.
func TestSwapWaitsForReplicas(t *testing.T) {
	primary, replica := startPair(t)
	var logged strings.Builder
	opt := Options{
		Addresses: []string{primary.Address}, Replicas: DetectReplicas, ReplicaTimeout: 200 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(&logged, nil)),
	}
	s := openTest(t, opt)
	if !strings.Contains(logged.String(), "replicas=1") || !strings.Contains(logged.String(), "appendonly") {
		t.Errorf("logged %q", logged.String())
	}
	within(t, 10*time.Second, "the replica has all", func() bool { return s.Sync(t.Context()) == nil })
	v, err := s.Swap(t.Context(), 0, auth.Write{Key: "k", Value: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	replica.Pause()
	defer replica.Resume()
	if _, err := s.Swap(t.Context(), v, auth.Write{Key: "k", Value: []byte("2"), Ending: true}); !errors.Is(err, auth.ErrUnavailable) || errors.Is(err, auth.ErrConflict) {
		t.Errorf("no replica has it, and the swap gave %v", err)
	}
	if err := s.Sync(t.Context()); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("no replica has it, and the sync gave %v", err)
	}
	if err := s.Put(t.Context(), []auth.Write{{Key: "touch", Value: []byte("1")}}); err != nil {
		t.Errorf("a put waits for nobody, and gave %v", err)
	}
	opt.Replicas = 0
	if _, err := openTest(t, opt).Swap(t.Context(), 0, auth.Write{Key: "k", Value: []byte("1")}); err != nil {
		t.Errorf("told to wait for none: %v", err)
	}
	replica.Resume()
	within(t, 5*time.Second, "the replica has all", func() bool { return s.Sync(t.Context()) == nil })
}
