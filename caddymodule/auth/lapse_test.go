package auth_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// ends are the sessions whose end was told, and why, in a world of the time of a
// synctest bubble.
type ends struct {
	*world
	mu   sync.Mutex
	told map[auth.SessionID][]string
}

func endingWorld(t *testing.T, life time.Duration) *ends {
	w := &ends{world: newWorld(t, func(s *auth.Settings) { s.IdleTimeout, s.MaxLifetime = idle, life }), told: map[auth.SessionID][]string{}}
	w.Service.Store, w.Service.Health.Store = w.store.Store, w.store.Store
	w.of(w.Service)
	return w
}

// of has a service run on the bubble's clock, and hears it.
func (w *ends) of(s *auth.Service) {
	start, began := w.clock.Now(), time.Now()
	now := func() time.Time { return start.Add(time.Since(began)) }
	s.Now, s.Health.Now = now, now
	s.Tell = func(e auth.Event) {
		if e.Name == auth.EventSessionEnded {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told[e.SessionID] = append(w.told[e.SessionID], e.Cause)
		}
	}
}

// node is another process on the same store, which remembers nothing.
func (w *ends) node() *auth.Service {
	other := *w.Service
	other.Live = auth.NewLive(1000)
	w.of(&other)
	return &other
}

func (w *ends) heard(g auth.Grant) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told[g.Identity.SessionID])
}

// lapsing looks for sessions that have run out, on some nodes, until the test
// ends.
func lapsing(t *testing.T, nodes ...*auth.Service) {
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, node := range nodes {
		running.Go(func() { auth.Lapse(ctx, func() *auth.Service { return node }) })
	}
	t.Cleanup(func() { stop(); running.Wait() })
}

const (
	idle    = 10 * time.Minute
	soon    = 75 * time.Second // a round through the table, and the margin
	instant = time.Second
)

// A session that nobody looks at any more is told of all the same, soon and
// once, however many nodes there are.
func TestSessionsThatRunOutAreTold(t *testing.T) {
	for name, where := range map[string]func(w *ends) []*auth.Service{
		"in memory":             func(w *ends) []*auth.Service { return []*auth.Service{w.Service} },
		"after a restart":       func(w *ends) []*auth.Service { return []*auth.Service{w.node()} },
		"on three nodes":        func(w *ends) []*auth.Service { return []*auth.Service{w.Service, w.node(), w.node()} },
		"without a rule in use": func(w *ends) []*auth.Service { return []*auth.Service{nil, w.Service} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := endingWorld(t, time.Hour)
				g, other := w.signIn(alice, "phone"), w.signIn(bob, "phone")
				if err := w.Logout(t.Context(), proof(other), auth.ScopeSession); err != nil {
					t.Fatal(err)
				}
				lapsing(t, where(w)...)
				time.Sleep(idle - instant)
				if told := w.heard(g); told != nil {
					t.Errorf("told %q before it was over", told)
				}
				time.Sleep(instant + soon + time.Minute) // and a walk through the store
				if told := w.heard(g); !slices.Equal(told, []string{"idle"}) {
					t.Errorf("told %q", told)
				}
				time.Sleep(idle)
				if told := w.heard(g); !slices.Equal(told, []string{"idle"}) {
					t.Errorf("later: told %q", told)
				}
				if told := w.heard(other); !slices.Equal(told, []string{"logout"}) {
					t.Errorf("signed out: told %q", told)
				}
				wants(t, w.request(g), auth.CodeSessionExpired)
			})
		})
	}
}

// In memory it takes no more than a minute, and the end of a life is told like
// that of idleness.
func TestSessionsInMemoryAreToldWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := endingWorld(t, idle/2)
		var grants []auth.Grant
		for range 10 {
			grants = append(grants, w.signIn(alice, ""))
		}
		lapsing(t, w.Service)
		time.Sleep(idle/2 + soon)
		for _, g := range grants {
			if told := w.heard(g); !slices.Equal(told, []string{"expired"}) {
				t.Errorf("told %q", told)
			}
		}
	})
}

// Attack on availability: a node that has not seen a session for long must not
// end it while another node serves it.
func TestSessionsInUseElsewhereLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := endingWorld(t, time.Hour)
		g := w.signIn(alice, "phone")
		elsewhere := w.node()
		lapsing(t, w.Service, elsewhere)
		for range 10 {
			time.Sleep(idle / 2)
			if _, err := elsewhere.Authenticate(t.Context(), proof(g), auth.Activity); err != nil {
				t.Fatal(err)
			}
			if err := elsewhere.Live.Flush(t.Context(), elsewhere.Store); err != nil {
				t.Fatal(err)
			}
		}
		if told := w.heard(g); told != nil {
			t.Errorf("told %q of a session in use", told)
		}
	})
}

// What all sessions were ended with is told once, as one act, and not once more
// for each of them.
func TestEndsOfAnEraAreNotToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := endingWorld(t, time.Hour)
		g := w.signIn(alice, "phone")
		if err := w.As("test").RevokeAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		restarted := w.node()
		if err := restarted.Live.Hear(t.Context(), restarted.Store); err != nil {
			t.Fatal(err)
		}
		lapsing(t, w.Service, restarted)
		time.Sleep(2 * idle)
		if told := w.heard(g); told != nil {
			t.Errorf("told %q", told)
		}
	})
}

// A store that cannot be walked is no fault, and no reason to fill the log.
func TestLapseWithoutALister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := endingWorld(t, time.Hour)
		var log bytes.Buffer
		w.Log = slog.New(slog.NewTextHandler(&log, nil))
		g := w.signIn(alice, "phone")
		w.Service.Store = struct{ auth.Store }{w.store} // hides that it is a Lister
		lapsing(t, w.Service)
		time.Sleep(idle + soon)
		synctest.Wait()
		if told := w.heard(g); !slices.Equal(told, []string{"idle"}) || log.Len() > 0 {
			t.Errorf("told %q, logged %s", told, &log)
		}
	})
}

// A store that cannot answer is asked again after a minute, and the end is told
// then.
func TestLapseOutlivesAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := endingWorld(t, time.Hour)
		g := w.signIn(alice, "phone")
		w.Service.Store = w.store
		w.store.failAfter(0)
		lapsing(t, w.Service)
		time.Sleep(2 * idle)
		if told := w.heard(g); told != nil {
			t.Errorf("told %q while the store is down", told)
		}
		if !w.store.repair() {
			t.Error("the store was not asked")
		}
		time.Sleep(2*soon + time.Minute)
		if told := w.heard(g); !slices.Equal(told, []string{"idle"}) {
			t.Errorf("told %q", told)
		}
	})
}
