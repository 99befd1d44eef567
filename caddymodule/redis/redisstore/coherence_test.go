package redisstore

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

func TestNodesAgree(t *testing.T) {
	topologies(t, func(t *testing.T, opt Options) {
		nodes := newNodes(t, 3, opt)
		t.Run("an end is heard at once", func(t *testing.T) { endsAreHeard(t, nodes) })
		t.Run("new roles are heard", func(t *testing.T) { rolesAreHeard(t, nodes) })
		t.Run("an operator's orders are heard", func(t *testing.T) { ordersAreHeard(t, nodes) })
		t.Run("watchers are woken", func(t *testing.T) { watchersAreWoken(t, nodes) })
		t.Run("parallel refreshes give one successor", func(t *testing.T) { refreshesAgree(t, nodes) })
		t.Run("limits hold in total", func(t *testing.T) { limitsAgree(t, nodes) })
	})
}

// endsAreHeard: 100 ms is what is promised of a healthy network. A busy machine
// may take longer once, not often.
func endsAreHeard(t *testing.T, nodes []node) {
	var took []time.Duration
	for range 30 {
		g := nodes[0].signIn()
		for _, n := range nodes {
			n.passes(g)
		}
		if err := nodes[0].logout(g); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes[1:] {
			took = append(took, within(t, trust, "refused elsewhere", func() bool { return isRevoked(n.request(g)) }))
		}
	}
	slices.Sort(took)
	t.Logf("median %v, worst %v", took[len(took)/2], took[len(took)-1])
	if worst := took[len(took)*9/10]; worst > 100*time.Millisecond {
		t.Errorf("one in ten ends was heard after more than %v", worst)
	}
}

func rolesAreHeard(t *testing.T, nodes []node) {
	g := nodes[0].signIn()
	for _, n := range nodes {
		n.passes(g)
	}
	// A sign-in at another node, through a directory that has changed its mind.
	other := *nodes[1].Service
	other.Directory = fixed{auth.Account{UserID: g.Identity.UserID, Type: "staff", Roles: []string{"admin"}}}
	node{&other, t}.signIn()
	for _, n := range nodes {
		within(t, time.Second, "new roles", func() bool {
			id, err := n.Authenticate(t.Context(), claim(g), auth.Access)
			return err == nil && id.Type == "staff" && id.RolesText == "admin"
		})
	}
}

// ordersAreHeard: the end of all sessions is one record, which no session's own
// record tells of.
func ordersAreHeard(t *testing.T, nodes []node) {
	over := nodes[0].signIn()
	ctx, stop := context.WithCancel(t.Context())
	var kept sync.WaitGroup
	defer kept.Wait()
	defer stop()
	for _, n := range nodes {
		n.passes(over)
		kept.Go(func() { n.Live.Keep(ctx, n.Store, time.Hour, func(err error) { t.Error(err) }) })
	}
	operator := nodes[0].As("test")
	if err := errors.Join(operator.RevokeAll(t.Context()), operator.Block(t.Context(), auth.Block{Country: "SE"})); err != nil {
		t.Fatal(err)
	}
	lives := nodes[0].signIn()
	for _, n := range nodes {
		within(t, trust, "all sessions have ended", func() bool { return isRevoked(n.request(over)) })
		n.passes(lives)
		within(t, trust, "a country is blocked", func() bool {
			_, err := n.Start(t.Context(), auth.StartRequest{Phone: "+46700000001", Country: "SE"})
			return errors.Is(err, auth.Refuse(auth.CodePhoneNotSupported))
		})
	}
	if err := operator.Unblock(t.Context(), auth.Block{Country: "SE"}); err != nil {
		t.Fatal(err)
	}
}

func watchersAreWoken(t *testing.T, nodes []node) {
	g := nodes[0].signIn()
	nodes[1].passes(g)
	news, stop := nodes[1].Watch(g.Identity.SessionID)
	defer stop()
	if err := nodes[0].logout(g); err != nil {
		t.Fatal(err)
	}
	within(t, time.Second, "told that the session is over", func() bool {
		<-news
		end, _, err := nodes[1].Standing(t.Context(), g.Identity.SessionID)
		return end == auth.EndLogout && err == nil
	})
}

func refreshesAgree(t *testing.T, nodes []node) {
	g := nodes[0].signIn()
	for range 10 {
		grants := make([]auth.Grant, 12)
		var wg sync.WaitGroup
		for i := range grants {
			wg.Go(func() {
				var err error
				if grants[i], err = nodes[i%len(nodes)].Refresh(t.Context(), g.Ticket, auth.RefreshTicket); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, other := range grants {
			if other.Ticket != grants[0].Ticket {
				t.Fatal("two successors of one token")
			}
		}
		g = grants[0]
		for _, n := range nodes {
			n.passes(g)
		}
	}
}

func limitsAgree(t *testing.T, nodes []node) {
	const most = 5
	var mu sync.Mutex
	var sent, refused int
	var wg sync.WaitGroup
	for i := range 20 {
		limited := *nodes[i%len(nodes)].Service
		limited.Settings.Limits.PhoneSends = []auth.Limit{{N: most, Window: time.Hour}}
		wg.Go(func() {
			_, err := limited.Start(t.Context(), auth.StartRequest{Phone: "+46709999999"})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				sent++
			case errors.Is(err, auth.Refuse(auth.CodeRateLimited)):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if sent != most || refused != 20-most {
		t.Errorf("%d codes sent and %d refused, want %d sent", sent, refused, most)
	}
}

// fixed is a directory that knows one account.
type fixed struct{ account auth.Account }

func (f fixed) Resolve(_ context.Context, _, _ string) (auth.Account, error) { return f.account, nil }

var calls = regexp.MustCompile(`cmdstat_(\S+):calls=(\d+)`)

// Warm requests are answered from memory: Redis hears nothing of them.
func TestWarmRequestsAskNothing(t *testing.T) {
	server := start(t, redistest.Start)
	nodes := newNodes(t, 2, Options{Addresses: []string{server.Address}})
	g := nodes[0].signIn()
	asked := func() map[string]string {
		text, err := server.Do("INFO", "commandstats")
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]string{}
		for _, m := range calls.FindAllStringSubmatch(text, -1) {
			counts[m[1]] = m[2]
		}
		return counts
	}
	pass := func() (before, after map[string]string) {
		before = asked()
		for range 1000 {
			for _, n := range nodes {
				n.passes(g)
			}
		}
		return before, asked()
	}
	pass() // the first ones read the session, and again when its sign-in is announced
	before, after := pass()
	for _, command := range []string{"get", "evalsha"} {
		if before[command] == "" || before[command] != after[command] {
			t.Errorf("%s was called %s times before and %s after 2000 requests", command, before[command], after[command])
		}
	}
}
