package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

// However a node dies between two of its steps: what exists is listed, and once
// nobody can come back to what it has left, the index has nothing else.
func TestACrashHidesNoRecord(t *testing.T) {
	server := start(t, redistest.Start)
	var ahead atomic.Int64
	opt := Options{Addresses: []string{server.Address}, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}
	errCrash := errors.New("crash")
	made := func(s *Store) (bool, error) {
		at, err := s.places(t.Context(), member("user/7"))
		return false, errors.Join(errCrash, err, s.client.Do(t.Context(), s.put(member("user/7"), at[7])).Error())
	}
	gone := func(s *Store) (bool, error) {
		return false, errors.Join(errCrash, s.client.Do(t.Context(), s.client.B().Del().Key(s.stored("user/7")).Build()).Error())
	}
	dies := func(*Store) (bool, error) { return false, errCrash }
	left := func(s *Store) entry { // a member that stands for nothing
		e, _ := s.entryOf(s.stored("user/7"))
		if _, err := s.eval(t.Context(), e.settle(true)); err != nil {
			t.Error(err)
		}
		return e
	}
	for name, c := range map[string]struct {
		before  bool // the record exists
		deletes bool
		write   func(*Store) (bool, error)
		exists  bool
	}{
		"before it makes a record":      {false, false, dies, false},
		"after it has made a record":    {false, false, made, true},
		"before it deletes a record":    {true, true, dies, true},
		"after it has deleted a record": {true, true, gone, false},
		"after it has made a record that a list took for gone meanwhile": {false, false, func(s *Store) (bool, error) {
			e := left(s)
			if err := s.mend(t.Context(), []candidate{{name: s.stored("user/7"), member: e.member, settled: true}}, make([][]byte, 1)); err != nil {
				t.Error(err)
			}
			return made(s)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			ahead.Store(0)
			s := openTest(t, opt)
			if c.before {
				mustPut(t, s, member("user/7"))
			}
			err := s.indexing(t.Context(), s.stored("user/7"), c.deletes, false, func() (bool, error) { return c.write(s) })
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			settles(t, s, &ahead, c.exists)
		})
	}
	t.Run("in a list, when somebody has made what it took for gone", func(t *testing.T) {
		ahead.Store(0)
		s := openTest(t, opt)
		e := left(s)
		mustPut(t, s, member("user/7"))
		if _, err := s.eval(t.Context(), s.announce(e, true, true)); err != nil {
			t.Fatal(err)
		}
		settles(t, s, &ahead, true)
	})
}

// settles wants user/7 to be listed or not, now and when marks are old, and the
// index to be as if nothing had happened then.
func settles(t *testing.T, s *Store, ahead *atomic.Int64, exists bool) {
	t.Helper()
	var want []string
	if exists {
		want = []string{"user/7"}
	}
	for i := range 4 {
		if got := mustList(t, s, "user/"); !slices.Equal(got, want) {
			t.Errorf("list %d: %v, want %v", i, got, want)
		}
		if i == 1 {
			ahead.Store(int64(markLife + time.Second))
		}
	}
	if got := indexOf(t, s, "user"); len(got) != len(want) || len(got) == 1 && got[0] != "7" {
		t.Errorf("the index holds %q", got)
	}
}

// A node loses its connection again and again, at any of its steps.
func TestABrokenWayHidesNoRecord(t *testing.T) {
	t.Parallel()
	server := start(t, redistest.Start)
	way, err := redistest.NewLink("127.0.0.1:0", server.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = way.Close() })
	near := openTest(t, Options{Addresses: []string{server.Address}})
	far := openAt(t, Options{Addresses: []string{way.Address}, Prefix: near.opt.Prefix})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var load sync.WaitGroup
	var faults atomic.Int64
	for i := range 12 {
		load.Go(func() {
			for ctx.Err() == nil {
				s, key, err := []*Store{near, far, far}[i%3], fmt.Sprintf("user/%d", rand.IntN(20)), error(nil)
				switch rand.IntN(4) {
				case 0:
					_, err = s.Swap(ctx, 0, member(key))
				case 1:
					err = s.Put(ctx, []auth.Write{member(key)})
				case 2:
					err = s.Put(ctx, []auth.Write{{Key: key}})
				default:
					_, err = s.List(ctx, "user/", "", 10)
				}
				if err != nil && !errors.Is(err, auth.ErrConflict) {
					faults.Add(1)
				}
			}
		})
	}
	for ctx.Err() == nil {
		pause(ctx, time.Duration(rand.IntN(80))*time.Millisecond)
		way.Cut()
		way.Heal()
	}
	load.Wait()
	if faults.Load() < 10 {
		t.Errorf("only %d calls failed, so this proves little", faults.Load())
	}
	showsAll(t, near, "user/", eachOf("user/", 20))
}
