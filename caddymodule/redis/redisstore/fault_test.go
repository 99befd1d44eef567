package redisstore

import (
	"errors"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

// Each fault happens under load, and all of them beside each other.
func TestFaults(t *testing.T) {
	aof := []string{"--appendonly", "yes", "--appendfsync", "always"}
	t.Run("one server pauses", func(t *testing.T) {
		t.Parallel()
		server := start(t, redistest.Start, aof...)
		try(t, 2, Options{Addresses: []string{server.Address}}, func(*trial) {
			server.Pause()
			time.Sleep(3 * time.Second)
			server.Resume()
		})
	})
	t.Run("one server takes no writes for a while", func(t *testing.T) {
		t.Parallel()
		server := start(t, redistest.Start, aof...)
		try(t, 2, Options{Addresses: []string{server.Address}}, func(tr *trial) {
			if _, err := server.Do("CLIENT", "PAUSE", "3000", "WRITE"); err != nil {
				tr.Error(err)
			}
			time.Sleep(3 * time.Second)
		})
	})
	t.Run("one server is killed and comes back", func(t *testing.T) {
		t.Parallel()
		server := start(t, redistest.Start, aof...)
		try(t, 2, Options{Addresses: []string{server.Address}}, func(tr *trial) {
			server.Kill()
			time.Sleep(3 * time.Second)
			if err := server.Restart(); err != nil {
				tr.Error(err)
			}
		})
	})
	t.Run("Sentinel chooses another primary for one that died", func(t *testing.T) {
		t.Parallel()
		servers := start(t, redistest.StartWatched)
		try(t, 2, Options{Addresses: servers.Addresses(), Master: redistest.Master, Replicas: 1}, func(*trial) {
			servers.Servers[0].Kill()
			time.Sleep(time.Second)
		})
	})
	t.Run("Sentinel chooses another primary for one that comes back", func(t *testing.T) {
		t.Parallel()
		servers := start(t, redistest.StartWatched)
		try(t, 2, Options{Addresses: servers.Addresses(), Master: redistest.Master, Replicas: 1}, func(*trial) {
			servers.Servers[0].Pause()
			time.Sleep(5 * time.Second)
			servers.Servers[0].Resume()
		})
	})
	t.Run("a primary of a Cluster dies, and comes back as a replica", func(t *testing.T) {
		t.Parallel()
		servers := start(t, redistest.StartCluster, aof...)
		try(t, 3, Options{Addresses: servers.Addresses(), Replicas: 1}, func(tr *trial) {
			servers.Servers[0].Kill()
			time.Sleep(3 * time.Second)
			if err := servers.Servers[0].Restart(); err != nil {
				tr.Error(err)
			}
		})
	})
	t.Run("a primary of a Cluster pauses and comes back", func(t *testing.T) {
		t.Parallel()
		servers := start(t, redistest.StartCluster)
		try(t, 2, Options{Addresses: servers.Addresses(), Replicas: 1}, func(*trial) {
			servers.Servers[1].Pause()
			time.Sleep(5 * time.Second)
			servers.Servers[1].Resume()
		})
	})
}

// try lets something happen under load. The load begins and ends in health.
func try(t *testing.T, n int, opt Options, happen func(*trial)) {
	nodes := newNodes(t, n, opt)
	tr := startTrial(t, nodes)
	happen(tr)
	opt.Prefix = nodes[0].Store.(*Store).opt.Prefix
	tr.finish(newNode(t, opt))
}

// A node that is cut off from Redis, while others are not, hears of no end. What
// it remembers may let a session pass for 2 s, and not a moment longer.
func TestANodeThatIsCutOff(t *testing.T) {
	for name, cut := range map[string]func(*redistest.Link){"connections break": (*redistest.Link).Cut, "connections fall silent": (*redistest.Link).Hang} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, redistest.Start)
			way, err := redistest.NewLink("127.0.0.1:0", server.Address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = way.Close() })
			opt := Options{Addresses: []string{server.Address}, Prefix: freshPrefix()}
			near := newNode(t, opt)
			opt.Addresses = []string{way.Address}
			far := newNode(t, opt)
			over, lives := near.signIn(), near.signIn()
			far.passes(over)
			far.passes(lives)

			cut(way)
			if err := near.logout(over); err != nil {
				t.Fatal(err)
			}
			ended := time.Now()
			var passed time.Time // when the last request began that passed
			within(t, 3*time.Second, "nobody passes", func() bool {
				asked := time.Now()
				if far.request(over) != nil {
					return true
				}
				passed = asked
				return false
			})
			if since := passed.Sub(ended); since > 2*time.Second {
				t.Errorf("the session passed %v after its end", since)
			}
			for until := time.Now().Add(2 * time.Second); time.Now().Before(until); {
				for _, g := range []auth.Grant{over, lives} {
					if err := far.request(g); !errors.Is(err, auth.ErrUnavailable) {
						t.Fatalf("cut off, got %v", err)
					}
				}
			}
			near.passes(lives)

			way.Heal()
			within(t, 5*time.Second, "heard again", func() bool { return far.request(lives) == nil })
			if err := far.request(over); !isRevoked(err) {
				t.Errorf("the end was missed: %v", err)
			}
		})
	}
}
