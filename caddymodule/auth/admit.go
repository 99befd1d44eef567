package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// compare sorts out the users that are there, and the lines that are in conflict
// with them.
func (i *Import) compare(ctx context.Context, lines []Newcomer) (fresh []Newcomer, taken []Conflict, err error) {
	d := i.directory
	numbers, ids := make([]string, len(lines)), make([]string, 0, 2*len(lines))
	for at, n := range lines {
		numbers[at] = phoneKey(d.Secrets, n.User.Phone)
	}
	entries, err := readAll[phoneEntry](ctx, d.Store, numbers)
	if err != nil {
		return nil, nil, err
	}
	for at, n := range lines {
		ids = append(ids, userKey(n.User.ID), userKey(entries[at].UserID))
	}
	users, err := readAll[User](ctx, d.Store, ids)
	if err != nil {
		return nil, nil, err
	}
	for at, n := range lines {
		code, there := standing(n.User, entries[at].UserID, users[2*at+1], users[2*at])
		switch {
		case code != "":
			taken = append(taken, Conflict{n.Line, code, detailOf(code, entries[at].UserID)})
		case there:
			i.Unchanged++
		default:
			fresh = append(fresh, n)
		}
	}
	return fresh, taken, nil
}

// readAll reads records in the order of their keys; one that is not there is
// zero.
func readAll[T any](ctx context.Context, s Store, keys []string) ([]T, error) {
	records, err := s.Get(ctx, keys...)
	if err != nil {
		return nil, fmt.Errorf("comparing with the users there are: %w", err)
	}
	values := make([]T, len(records))
	for i, r := range records {
		if r.Version == 0 {
			continue
		}
		if err := decode(r.Value, &values[i]); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// standing says what keeps a user out, or that it is there. The store has id
// under the number, 0 for none, and holder under that id; it has stored under the
// id that the user is to have. A number is somebody's by the rules of holder.
func standing(u User, id uint64, holder, stored User) (code Code, there bool) {
	held := id != 0 && (holder.ID == 0 || holder.Phone == u.Phone && holder.Detached.IsZero())
	switch {
	case held && (u.ID != 0 && u.ID != id || !holder.Deleted.IsZero()):
		return CodePhoneTaken, false
	case held && (u.ID == 0 || holder.ID != 0):
		return "", true
	case stored.ID != 0 && !stored.begun(u.Phone):
		return CodeUserExists, false
	}
	return "", false
}

func detailOf(code Code, holder uint64) string {
	if code == CodePhoneTaken {
		return fmt.Sprintf("User %d has this number.", holder)
	}
	return "There is a user with this id, who has another number."
}

// begun tells of a record that a crash has left before its number led to it.
func (u User) begun(phone string) bool {
	return u.Phone == phone && u.Deleted.IsZero() && u.Detached.IsZero()
}

// make writes new users. Each is decided by one swap on the user's record, and
// one on the number's, as in a sign-in that may come at the same moment. All are
// written at once: they share the store's syncs, each of which takes milliseconds.
func (i *Import) make(ctx context.Context, lines []Newcomer) (taken []Conflict, err error) {
	if len(lines) == 0 {
		return nil, nil
	}
	if err := i.giveIDs(ctx, lines); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, n := range lines {
		all.Go(func() {
			failed := i.directory.admit(ctx, n.User)
			mu.Lock()
			defer mu.Unlock()
			switch refusal, refused := errors.AsType[*Error](failed); {
			case failed == nil:
				i.Created++
			case refused:
				taken = append(taken, Conflict{n.Line, refusal.Code, refusal.Detail})
			default:
				err = failed
			}
		})
	}
	all.Wait()
	return taken, err
}

// giveIDs fills in what a new user has. Ids that others draw from then on are
// higher than all of these.
func (i *Import) giveIDs(ctx context.Context, lines []Newcomer) error {
	d, highest := i.directory, uint64(0)
	for _, n := range lines {
		highest = max(highest, n.User.ID)
	}
	c, err := update(ctx, d.Store, counterKey, func(c *counter, _ bool) (Write, error) {
		before := c.Last
		if c.Last = max(c.Last, highest); !i.ids {
			c.Last = max(c.Last, d.FirstID-min(d.FirstID, 1)) + uint64(len(lines))
		}
		if c.Last == before {
			return Write{}, errUnchanged
		}
		return Write{}, nil
	})
	if err != nil {
		return fmt.Errorf("giving ids: %w", err)
	}
	for at := range lines {
		u := &lines[at].User
		if !i.ids {
			u.ID = c.Last - uint64(len(lines)-1-at)
		}
		i.Highest = max(i.Highest, u.ID)
		made := u.CreatedAt
		if *u = d.complete(*u); !made.IsZero() {
			u.CreatedAt = made.UTC().Truncate(time.Millisecond)
		}
	}
	return nil
}

// admit makes one user, or goes on from where a crash has left it.
func (d *LocalDirectory) admit(ctx context.Context, u User) error {
	_, err := update(ctx, d.Store, userKey(u.ID), func(stored *User, exists bool) (Write, error) {
		switch {
		case exists && !stored.begun(u.Phone):
			return Write{}, Refuse(CodeUserExists).Because(detailOf(CodeUserExists, 0))
		case exists:
			return Write{}, errUnchanged
		}
		*stored = u
		return Write{}, nil
	})
	if err != nil {
		return err
	}
	holder, err := d.claim(ctx, u)
	if err != nil || holder == u.ID {
		return err
	}
	// A sign-in with the number was faster.
	_, err = remove(ctx, d.Store, userKey(u.ID), func(stored User) bool { return stored.begun(u.Phone) && stored.SignedIn.IsZero() })
	if err != nil {
		return err
	}
	return Refuse(CodePhoneTaken).Because(detailOf(CodePhoneTaken, holder))
}
