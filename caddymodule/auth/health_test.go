package auth_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
)

// pickyStore answers reads, and writes as it is told.
type pickyStore struct {
	auth.Store
	mu     sync.Mutex
	writes int
	err    error         // of writes
	hold   chan struct{} // writes wait for it; nil: they do not
}

func (s *pickyStore) Swap(ctx context.Context, expected auth.Version, w auth.Write) (auth.Version, error) {
	s.mu.Lock()
	s.writes++
	err, hold := s.err, s.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return 0, errors.Join(auth.ErrUnavailable, ctx.Err())
		}
	}
	if err != nil {
		return 0, err
	}
	return s.Store.Swap(ctx, expected, w)
}

func (s *pickyStore) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *pickyStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func newPicky() (*pickyStore, *clock, *auth.Health) {
	c := &clock{at: time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)}
	s := &pickyStore{Store: memstore.New(c.Now)}
	return s, c, &auth.Health{Store: s, Now: c.Now}
}

// A store that can be read and takes no write, such as one on a full disk, is
// not healthy; it is again at once when it takes them.
func TestHealthNeedsWrites(t *testing.T) {
	s, c, h := newPicky()
	check := func(want auth.Code) {
		t.Helper()
		wants(t, h.Check(t.Context()), want)
	}
	check("")
	s.set(errDisk)
	check("") // proved a moment ago
	c.pass(5 * time.Second)
	check(auth.CodeStoreUnavailable)
	check(auth.CodeStoreUnavailable)
	s.set(nil)
	check("") // a failure is not kept
	s.set(errDisk)
	c.pass(-time.Hour) // a clock that is set back makes no proof last
	check(auth.CodeStoreUnavailable)
}

// Attack: a stranger asks for the health as fast as they can, to keep the disk
// busy.
func TestHealthWritesSeldom(t *testing.T) {
	s, c, h := newPicky()
	for range 60 {
		for range 100 {
			wants(t, h.Check(t.Context()), "")
		}
		c.pass(time.Second)
	}
	if n := s.count(); n > 12 {
		t.Errorf("%d writes in a minute, want at most 12", n)
	}
}

// While a store hangs all wait for one probe, each no longer than it wants to;
// one that leaves takes nobody's probe along.
func TestHealthOfAStoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, h := newPicky()
		s.hold = make(chan struct{})
		impatient, leave := context.WithCancel(t.Context())
		failures := make(chan error, 2)
		go func() { failures <- h.Check(impatient) }()
		synctest.Wait()
		go func() { failures <- h.Check(t.Context()) }()
		synctest.Wait()
		leave()
		wants(t, <-failures, auth.CodeStoreUnavailable)
		if n := s.count(); n != 1 {
			t.Errorf("%d probes at once", n)
		}
		close(s.hold)
		wants(t, <-failures, "")

		s.hold = make(chan struct{})
		time.Sleep(time.Second)
		h.Now = time.Now // a clock on which the proof is old
		began := time.Now()
		wants(t, h.Check(t.Context()), auth.CodeStoreUnavailable)
		if waited := time.Since(began); waited > 10*time.Second {
			t.Errorf("waited for %v", waited)
		}
	})
}
