package caddymodule_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

const (
	kills       = 20
	crowdSize   = 8
	crowdLimits = "limits {\n phone_sends off\n ip_sends off\n prefix_sends off\n global_sends off\n phone_failures off\n ip_failures off\n}\n"
)

// Whatever was answered holds after kill -9, 20 times over on one store. What
// was asked and not answered may have happened or not, but not in part.
//
// A killed process leaves its writes to the kernel, so this says that an answer
// waits for its commit; that the commit is synced too is the store's to test.
func TestKill(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	config := s.config(crowdLimits+"sessions {\n max_per_user 100\n}", "", "")
	crowd := make([]*client, crowdSize)
	for i := range crowd {
		crowd[i] = &client{site: s, number: i, answered: map[string]int{}}
	}
	for round := range kills {
		c := startChild(t, config)
		everyone(crowd, (*client).check)
		if t.Failed() {
			t.Fatalf("after kill %d", round)
		}
		loadAndKill(crowd, c)
		s.client.CloseIdleConnections()
	}
	startChild(t, config)
	everyone(crowd, (*client).check)
	sum(t, crowd)
}

// loadAndKill has everyone act until the process dies in the middle of it: after
// some number of acts, so that a slow machine has as much to prove.
func loadAndKill(crowd []*client, c *child) {
	var acts atomic.Int32
	last := int32(40 + rand.IntN(40))
	kill := sync.OnceFunc(func() {
		for _, one := range crowd {
			one.dead.Store(true)
		}
		c.kill()
	})
	everyone(crowd, func(one *client) {
		for !one.dead.Load() {
			if acts.Add(1) == last {
				go kill() // the others are in the middle of theirs
			}
			one.act()
		}
	})
	kill() // returns when the process is gone
	for _, one := range crowd {
		one.dead.Store(false) // from here on every request must be answered
	}
}

// sum looks at the whole: enough has happened, and no two people are one user.
func sum(t *testing.T, crowd []*client) {
	total, phones := map[string]int{}, map[uint64]string{}
	for _, one := range crowd {
		for what, n := range one.answered {
			total[what] += n
		}
		for _, h := range append(one.held, one.over...) {
			if other := phones[h.UserID]; other != "" && other != h.phone {
				t.Errorf("%s and %s are both user %d", other, h.phone, h.UserID)
			}
			phones[h.UserID] = h.phone
		}
	}
	t.Logf("answered: %v, %d users", total, len(phones))
	for _, what := range []string{"login", "refresh", "logout", "revoked", "reused", "replaced"} {
		if total[what] < kills/2 {
			t.Errorf("only %d times %s: the load was too thin to prove anything", total[what], what)
		}
	}
}

// A graceful exit writes the touches that the store does not know yet.
func TestStopWritesTheTouches(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	config := s.config("", "", "")
	c := startChild(t, config)
	session := s.signIn(phoneA)
	seen := func() map[string]any {
		return s.do("GET", apiPath+"/session", nil, "Authorization", bearer(session)).json(t)
	}
	before := seen()
	for before["last_activity_at"] == before["created_at"] { // the clock of records counts milliseconds
		wants(t, "app", s.do("GET", "/app", nil, "Authorization", bearer(session)), 200, "")
		before = seen()
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	startChild(t, config)
	if after := seen(); after["last_activity_at"] != before["last_activity_at"] {
		t.Errorf("last activity: %v before the stop, %v after it", before["last_activity_at"], after["last_activity_at"])
	}
}
