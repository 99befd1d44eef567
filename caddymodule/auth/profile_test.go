package auth

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"
)

// come puts a session of a user with roles of its own into the table.
func come(l *Live, user uint64) (SessionID, bool) {
	id := NewSessionID()
	stamp := l.stamp(id)
	role := strconv.FormatUint(user, 10)
	return id, l.insert(entry{id: id, userID: user, profile: l.profiles.number("u"+role, []string{role})}, stamp)
}

// rolesOf reports whether a session has the roles of its user.
func rolesOf(t *testing.T, l *Live, id SessionID) error {
	e, found := l.peek(id)
	if !found {
		return nil // colder than others
	}
	got, err := l.identity(&e)
	want := strconv.FormatUint(e.userID, 10)
	if err == nil && (got.Type != "u"+want || got.RolesText != want || len(got.Roles) != 1 || got.Roles[0] != want) {
		t.Errorf("user %s has the profile %q, %q", want, got.Type, got.Roles)
	}
	return err
}

// A directory may give every user roles of its own. Whoever signs up again and
// again must not fill the memory with the roles of sessions that have left it.
func TestRolesOfTheirOwnDoNotFillTheMemory(t *testing.T) {
	l, at := NewLive(0), time.Now()
	capacity := l.perShard * liveShards
	var user uint64
	var sessions []SessionID
	for range 20 {
		for range capacity {
			user++
			id, ok := come(l, user)
			if !ok {
				t.Fatal("a new session is refused")
			}
			sessions = append(sessions, id)
		}
		at = at.Add(tidyEvery)
		l.tidy(at)
		for _, id := range sessions {
			if err := rolesOf(t, l, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n, most := len(l.profiles.shelf.Load().all), 5*capacity; n > most {
		t.Errorf("%d profiles for at most %d sessions", n, capacity)
	}
}

// A number that is about to go may be on its way in an entry that was read
// before; it must not come into the table, nor lead to somebody else's roles.
func TestTidyingBesideRequests(t *testing.T) {
	l := NewLive(0)
	done := make(chan struct{})
	var working sync.WaitGroup
	for worker := range uint64(4) {
		working.Go(func() {
			for user := worker; ; user += 4 {
				select {
				case <-done:
					return
				default:
				}
				id, ok := come(l, user)
				if err := rolesOf(t, l, id); ok && err != nil && !errors.Is(err, ErrUnavailable) {
					t.Error(err)
				}
			}
		})
	}
	at := time.Now()
	tidied := 0
	for began := time.Now(); time.Since(began) < 300*time.Millisecond; {
		at = at.Add(tidyEvery)
		before := l.profiles.oldest.Load()
		l.tidy(at)
		if l.profiles.oldest.Load() != before {
			tidied++
		}
	}
	close(done)
	working.Wait()
	if tidied < 2 {
		t.Errorf("tidied %d times", tidied)
	}
	for i := range l.shards {
		for id := range l.shards[i].index {
			if err := rolesOf(t, l, id); err != nil {
				t.Fatal("an entry of the table leads nowhere: ", err)
			}
		}
	}
}

func TestFewProfilesStay(t *testing.T) {
	l, at := NewLive(0), time.Now()
	first := l.profiles.number("customer", []string{"customer"})
	for range 3 {
		at = at.Add(tidyEvery)
		l.tidy(at)
	}
	if got, ok := l.profiles.at(first); !ok || got.kind != "customer" || l.profiles.number("customer", []string{"customer"}) != first {
		t.Errorf("got %+v, %v", got, ok)
	}
}

// After four thousand million numbers they begin anew.
func TestNumbersOfProfilesGoRound(t *testing.T) {
	l := NewLive(0)
	l.profiles.index = map[string]uint32{}
	l.profiles.shelf.Store(&shelf{first: 1<<32 - 3})
	l.profiles.oldest.Store(1<<32 - 3)
	for user := range uint64(6) {
		id, ok := come(l, user)
		if err := rolesOf(t, l, id); !ok || err != nil {
			t.Errorf("user %d: %v, %v", user, ok, err)
		}
	}
	if _, ok := l.profiles.at(1<<32 - 4); ok {
		t.Error("a number before the first leads somewhere")
	}
}

// An entry that was read before a tidying would come in with a number that the
// next one drops.
func TestWhatWasReadBeforeATidyingIsReadAgain(t *testing.T) {
	l, at := NewLive(0), time.Now()
	id := NewSessionID()
	e, stamp := entry{id: id, profile: l.profiles.number("u0", []string{"0"})}, l.stamp(id)
	for user := range uint64(2 * fewProfiles) {
		come(l, user+1)
	}
	l.tidy(at)
	if l.insert(e, stamp) {
		t.Error("it is taken")
	}
	if got, err := l.identity(&e); err != nil || got.RolesText != "0" {
		t.Errorf("a request on its way gets %+v, %v", got, err)
	}
	for user := range uint64(9 * fewProfiles) {
		come(l, user+1)
	}
	l.tidy(at.Add(tidyEvery))
	if got, err := l.identity(&e); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after minutes it gets %+v, %v", got, err)
	}
}
