package redisstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

// listAll reads all pages.
func listAll(s *Store, prefix string, limit int) (keys []string, err error) {
	for after := ""; ; {
		page, err := s.List(context.Background(), prefix, after, limit)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			keys, after = append(keys, r.Key), r.Key
		}
		if len(page) < limit {
			return keys, nil
		}
	}
}

func mustList(t *testing.T, s *Store, prefix string) []string {
	t.Helper()
	keys, err := listAll(s, prefix, 7)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

func member(key string) auth.Write { return auth.Write{Key: key, Value: []byte("v"), Owner: 7} }

func mustPut(t *testing.T, s *Store, writes ...auth.Write) {
	t.Helper()
	if err := s.Put(t.Context(), writes); err != nil {
		t.Fatal(err)
	}
}

// indexOf is all that the index of a kind holds.
func indexOf(t *testing.T, s *Store, kind string) (all []string) {
	t.Helper()
	for n := range indexSets {
		members, err := s.client.Do(t.Context(), s.client.B().Zrange().Key(s.indexSet(kind, n)).Min("0").Max("-1").Build()).AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, members...)
	}
	slices.Sort(all)
	return all
}

// While others are made and deleted at two nodes, a list shows whatever stays,
// and afterwards what there is.
func TestListAmongWriters(t *testing.T) {
	topologies(t, func(t *testing.T, opt Options) {
		a := openTest(t, opt)
		opt.Prefix = a.opt.Prefix
		stores := []*Store{a, openAt(t, opt)}
		stay := map[string]bool{}
		for i := range 40 {
			key := fmt.Sprintf("device/1/stays%d", i)
			stay[key] = true
			mustPut(t, a, member(key))
		}
		stop := make(chan struct{})
		var load sync.WaitGroup
		repeat := func(n int, do func(i int, s *Store) error) {
			for i := range n {
				load.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if err := do(i, stores[i%2]); err != nil && !errors.Is(err, auth.ErrConflict) {
							t.Error(err)
							return
						}
					}
				})
			}
		}
		flits := func() string { return fmt.Sprintf("device/1/flits%d", rand.IntN(8)) }
		repeat(4, func(_ int, s *Store) error { return s.Put(t.Context(), []auth.Write{member(flits())}) })
		repeat(4, func(_ int, s *Store) error { _, err := s.Swap(t.Context(), 0, member(flits())); return err })
		repeat(4, func(_ int, s *Store) error { return s.Put(t.Context(), []auth.Write{{Key: flits()}}) })
		repeat(2, func(_ int, s *Store) error { // as if it had expired
			return s.client.Do(t.Context(), s.client.B().Del().Key(s.stored(flits())).Build()).Error()
		})
		var lists atomic.Int64
		repeat(4, func(i int, s *Store) error {
			lists.Add(1)
			keys, err := listAll(s, "device/1/", 3+20*i)
			seen := map[string]bool{}
			for _, key := range keys {
				if seen[key] {
					t.Errorf("%s is listed twice", key)
				}
				seen[key] = true
			}
			for key := range stay {
				if err == nil && !seen[key] {
					t.Errorf("%s was not listed", key)
				}
			}
			return err
		})
		time.Sleep(3 * time.Second)
		close(stop)
		load.Wait()
		t.Logf("%d lists", lists.Load())
		showsAll(t, a, "device/1/", append(slices.Collect(maps.Keys(stay)), eachOf("device/1/flits", 8)...))
	})
}

func eachOf(prefix string, n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprint(prefix, i))
	}
	return keys
}

// showsAll wants a list to show those of the keys that exist.
func showsAll(t *testing.T, s *Store, prefix string, keys []string) {
	t.Helper()
	records, err := s.Get(t.Context(), keys...)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i, r := range records {
		if r.Version != 0 {
			want = append(want, keys[i])
		}
	}
	slices.Sort(want)
	if got := mustList(t, s, prefix); !slices.Equal(got, want) {
		t.Errorf("listed %v\nwant %v", got, want)
	}
}

// Members of what has gone leave the index when a list meets them.
func TestTheIndexForgets(t *testing.T) {
	server := start(t, redistest.Start)
	s := openTest(t, Options{Addresses: []string{server.Address}})
	mustPut(t, s, member("user/1"), member("user/2"), auth.Write{Key: "device/3/a", Value: []byte("v"), Owner: 3}, member("session/x"))
	for _, key := range []string{"user/1", "session/x"} { // as when Redis lets go of them
		if err := s.client.Do(t.Context(), s.client.B().Del().Key(s.stored(key)).Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Erase(t.Context(), 3, time.Now()); err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string][]string{"user/": {"user/2"}, "session/": nil, "device/3/": nil} {
		if got := mustList(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("%s: %v", prefix, got)
		}
		kind, _, _ := strings.Cut(prefix, "/")
		if got := indexOf(t, s, kind); len(got) != len(want) {
			t.Errorf("of %s the index holds %q", kind, got)
		}
	}
	if r, err := s.client.Do(t.Context(), s.client.B().Get().Key(s.stored("device/3/a")).Build()).AsBytes(); !rueidis.IsRedisNil(err) {
		t.Errorf("an erased owner's record is left: %d bytes, %v", len(r), err)
	}
	if _, err := s.List(t.Context(), "limit/", "", 5); !errors.Is(err, auth.ErrCannotList) {
		t.Errorf("of a kind without an index: %v", err)
	}
}

// Only what is new, or goes, costs a word to the index, and only a session that
// begins does: refreshes and touches do not.
func TestTheIndexIsLeftAlone(t *testing.T) {
	server := start(t, redistest.Start)
	n := newNodes(t, 1, Options{Addresses: []string{server.Address}})[0]
	g := n.signIn()
	before := commandsOf(t, server, "zadd")
	n.passes(g)
	if err := n.Live.Flush(t.Context(), n.Store); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Refresh(t.Context(), g.Ticket, auth.RefreshTicket); err != nil {
		t.Fatal(err)
	}
	if err := n.logout(g); err != nil {
		t.Fatal(err)
	}
	if more := commandsOf(t, server, "zadd") - before; more != 0 {
		t.Errorf("%d times the index was written", more)
	}
}

// The end of a session that has run out, and that no node has in memory, is noted
// though nobody looks at it.
func TestSessionsThatRanOutAreFound(t *testing.T) {
	server := start(t, redistest.Start)
	nodes := newNodes(t, 2, Options{Addresses: []string{server.Address}})
	g := nodes[0].signIn()
	isNoted := func() bool {
		r, err := nodes[0].Store.Get(t.Context(), "session/"+g.Identity.SessionID.String())
		return err == nil && strings.Contains(string(r[0].Value), `"idle"`)
	}
	if isNoted() {
		t.Fatal("it has ended already")
	}
	nodes[1].Now = func() time.Time { return time.Now().Add(2 * nodes[1].Settings.IdleTimeout) }
	ctx, cancel := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	looking.Go(func() { auth.Lapse(ctx, func() *auth.Service { return nodes[1].Service }) })
	defer looking.Wait()
	defer cancel()
	within(t, 10*time.Second, "the end is noted", isNoted)
}

// Names in the index hide what names of records hide: of devices everything but
// which are one user's.
func TestTheIndexHidesNames(t *testing.T) {
	server := start(t, redistest.Start)
	nodes := newNodes(t, 2, Options{Addresses: []string{server.Address}})
	livesOn(t, nodes, "+46701234567", "device-of-alice")
	s := nodes[0].Store.(*Store)
	members := indexOf(t, s, "device")
	if len(members) != 1 {
		t.Fatalf("%d devices", len(members))
	}
	if n, err := s.client.Do(t.Context(), s.client.B().Exists().Key(s.opt.Prefix+"device/"+members[0]).Build()).AsInt64(); n != 1 || err != nil {
		t.Errorf("%q is no more than the record's name: %v", members[0], err)
	}
}

// Numbers that follow one another fall into all sets alike.
func TestSetsAreOfOneSize(t *testing.T) {
	var sizes [indexSets]int
	const each = 50
	for i := range each * indexSets {
		sizes[setOf(fmt.Sprint(i+1))]++
	}
	if least, most := slices.Min(sizes[:]), slices.Max(sizes[:]); least < each/3 || most > each*3 {
		t.Errorf("sets of %d to %d members, for %d on average", least, most, each)
	}
}

// A page reads about as many names as it shows, however many there are.
func TestAPageIsCheap(t *testing.T) {
	server := start(t, redistest.Start)
	s := openTest(t, Options{Addresses: []string{server.Address}})
	for _, many := range []int{300, 6000} {
		writes := make([]auth.Write, many)
		for i := range writes {
			writes[i] = auth.Write{Key: fmt.Sprintf("user/%d", i), Value: []byte("v")}
		}
		mustPut(t, s, writes...)
		mustList(t, s, "user/")
		for _, after := range []string{"", "user/250"} {
			ranges, gets := commandsOf(t, server, "zrangebylex"), commandsOf(t, server, "get")
			page, err := s.List(t.Context(), "user/", after, 100)
			ranges, gets = commandsOf(t, server, "zrangebylex")-ranges, commandsOf(t, server, "get")-gets
			if err != nil || ranges > 2*indexSets || gets > 200 || after == "" && len(page) != 100 {
				t.Errorf("of %d: %d records after %d sets and %d records read: %v", many, len(page), ranges, gets, err)
			}
		}
	}
}
