package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Newcomer is a line of a file of users.
type Newcomer struct {
	Line int
	User User // ID 0: the next one; Type empty and Roles nil: those of a new user; Phone empty: it cannot be read
	// Faults are what whoever read the line has found wrong with it.
	Faults []Conflict
}

// Conflict is why a line makes no user.
type Conflict struct {
	Line   int    `json:"line"`
	Code   Code   `json:"code"`
	Detail string `json:"detail"`
}

// The codes of conflicts. CodePhoneInvalid, CodePhoneTaken and CodeUserExists
// are such as well.
const (
	CodeLineInvalid   Code = "line_invalid"   // it cannot be read
	CodePhoneRepeated Code = "phone_repeated" // an earlier line has the number, in whatever spelling
	CodeIDInvalid     Code = "id_invalid"     // or there is none, or one, where the first line has it the other way
	CodeIDRepeated    Code = "id_repeated"
	CodeRoleInvalid   Code = "role_invalid" // or the type
	CodeDateInvalid   Code = "date_invalid"
)

// Import takes the lines of one file, in their order. A line that is in conflict
// makes no user, and keeps no other line from it. A line whose number has that
// user already is no conflict and changes nothing: the same file again, or the
// rest of one after a crash, comes to the same end.
type Import struct {
	// Lines were read, Created are new users (of a dry run: would be), Unchanged
	// were there; the rest are in conflict.
	Lines, Created, Unchanged int
	// Highest is the largest id that was given.
	Highest uint64

	directory *LocalDirectory
	now       time.Time
	dry       bool
	decided   bool              // what ids says
	ids       bool              // the file gives them
	phones    map[uint64]uint32 // the line of each number; E.164 has 15 digits at most
	given     map[uint64]uint32 // the line of each id
}

// maxLines bounds what an import remembers: about 40 bytes a line.
const maxLines = 4 << 20

// Import begins the import of a file. A dry one finds the same conflicts and
// writes nothing.
func (o Operator) Import(dry bool) (*Import, error) {
	d, ok := o.service.Directory.(*LocalDirectory)
	if !ok {
		return nil, Refuse(CodeInvalidRequest).Because("Users are imported where this directory keeps them.")
	}
	return &Import{directory: d, dry: dry, now: o.service.now(), phones: map[uint64]uint32{}, given: map[uint64]uint32{}}, nil
}

// TellImport tells of an import, also of one that was cut off, when it has made
// users.
func (o Operator) TellImport(i *Import) {
	if i.Created == 0 || i.dry {
		return
	}
	type outcome struct {
		Lines     int `json:"lines"`
		Created   int `json:"created"`
		Unchanged int `json:"unchanged"`
	}
	o.Tell(Event{Name: EventUsersImported, UserID: i.Highest, After: outcome{i.Lines, i.Created, i.Unchanged}})
}

// Add takes the next lines, and gives the conflicts in their order. An error means that the store cannot answer now, or
// that the file is too long; the lines before these are imported.
func (i *Import) Add(ctx context.Context, lines []Newcomer) (conflicts []Conflict, err error) {
	var users []Newcomer
	for _, n := range lines {
		if i.Lines++; i.Lines > maxLines {
			return conflicts, Refuse(CodeInvalidRequest).Because(fmt.Sprintf("A file has at most %d lines; split it.", maxLines))
		}
		faults := append(n.Faults, i.faultsOf(n)...)
		if len(faults) == 0 {
			users = append(users, n)
		}
		conflicts = append(conflicts, faults...)
	}
	fresh, taken, err := i.compare(ctx, users)
	conflicts = append(conflicts, taken...)
	switch {
	case err != nil:
	case i.dry:
		i.Created += len(fresh)
	default:
		taken, err = i.make(ctx, fresh)
		conflicts = append(conflicts, taken...)
	}
	slices.SortStableFunc(conflicts, func(a, b Conflict) int { return a.Line - b.Line })
	return conflicts, err
}

// faultsOf holds a line to the rules of accounts, and to the lines before it.
func (i *Import) faultsOf(n Newcomer) (faults []Conflict) {
	fault := func(code Code, format string, args ...any) {
		faults = append(faults, Conflict{n.Line, code, fmt.Sprintf(format, args...)})
	}
	u := n.User
	if hasCode(n.Faults, CodeLineInvalid) {
		return nil
	}
	badID := hasCode(n.Faults, CodeIDInvalid)
	if !i.decided {
		i.decided, i.ids = true, u.ID != 0 || badID
	}
	switch {
	case badID:
	case u.ID > maxOwnID:
		fault(CodeIDInvalid, "An id is a whole number below 2^52.")
	case i.ids != (u.ID != 0):
		fault(CodeIDInvalid, "All lines of a file have an id, or none has: else an id that is drawn for one could be another's.")
	}
	if first := repeated(i.given, u.ID, n.Line); first != 0 {
		fault(CodeIDRepeated, "Line %d has this id.", first)
	}
	if digits, err := strconv.ParseUint(strings.TrimPrefix(u.Phone, "+"), 10, 64); err == nil {
		if first := repeated(i.phones, digits, n.Line); first != 0 {
			fault(CodePhoneRepeated, "Line %d has this number.", first)
		}
	}
	change := AccountChange{Roles: &u.Roles}
	if u.Type != "" {
		change.Type = &u.Type
	}
	if refusal, ok := errors.AsType[*Error](change.check()); ok {
		fault(CodeRoleInvalid, "%s", refusal.Detail)
	}
	if u.CreatedAt.After(i.now) {
		fault(CodeDateInvalid, "created_at is in the future.")
	}
	return faults
}

func hasCode(conflicts []Conflict, code Code) bool {
	return slices.ContainsFunc(conflicts, func(c Conflict) bool { return c.Code == code })
}

// repeated gives the line that had the value first, 0 for none.
func repeated(seen map[uint64]uint32, value uint64, line int) uint32 {
	if value == 0 {
		return 0
	}
	first := seen[value]
	if first == 0 {
		seen[value] = uint32(line)
	}
	return first
}

// compare sorts out the users that are there, and the lines that are in conflict
// with them.
func (i *Import) compare(ctx context.Context, lines []Newcomer) (fresh []Newcomer, taken []Conflict, err error) {
	d, keys := i.directory, make([]string, 0, 2*len(lines))
	for _, n := range lines {
		keys = append(keys, phoneKey(d.Secrets, n.User.Phone), userKey(n.User.ID))
	}
	records, err := d.Store.Get(ctx, keys...)
	if err != nil {
		return nil, nil, fmt.Errorf("comparing with the users there are: %w", err)
	}
	for at, n := range lines {
		entry, holder := records[2*at], phoneEntry{}
		if entry.Version != 0 {
			if err := decode(entry.Value, &holder); err != nil {
				return nil, nil, err
			}
		}
		var user User
		if records[2*at+1].Version != 0 {
			if err := decode(records[2*at+1].Value, &user); err != nil {
				return nil, nil, err
			}
		}
		switch code := standing(n.User, holder.UserID, user); {
		case code != "":
			taken = append(taken, Conflict{n.Line, code, detailOf(code, holder.UserID)})
		case holder.UserID != 0:
			i.Unchanged++
		default:
			fresh = append(fresh, n)
		}
	}
	return fresh, taken, nil
}

// standing says what keeps a user out, of whom the store has the number's holder
// (0: nobody) and the record under the id.
func standing(u User, holder uint64, stored User) Code {
	switch {
	case holder != 0 && u.ID != 0 && holder != u.ID:
		return CodePhoneTaken
	case holder == 0 && stored.ID != 0 && !stored.begun(u.Phone):
		return CodeUserExists
	}
	return ""
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

// importers is how many users are written at once: they share the store's syncs.
const importers = 64

// make writes new users. Each is decided by one swap on the user's record, and
// one on the number's, as in a sign-in that may come at the same moment.
func (i *Import) make(ctx context.Context, lines []Newcomer) (taken []Conflict, err error) {
	if len(lines) == 0 {
		return nil, nil
	}
	if err := i.giveIDs(ctx, lines); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	tickets := make(chan struct{}, importers)
	for _, n := range lines {
		tickets <- struct{}{}
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
			<-tickets
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
	entry, err := update(ctx, d.Store, phoneKey(d.Secrets, u.Phone), func(e *phoneEntry, exists bool) (Write, error) {
		if exists {
			return Write{}, errUnchanged
		}
		e.UserID = u.ID
		return Write{}, nil
	})
	if err != nil || entry.UserID == u.ID {
		return err
	}
	// A sign-in with the number was faster.
	_, err = remove(ctx, d.Store, userKey(u.ID), func(stored User) bool { return stored.begun(u.Phone) && stored.SignedIn.IsZero() })
	if err != nil {
		return err
	}
	return Refuse(CodePhoneTaken).Because(detailOf(CodePhoneTaken, entry.UserID))
}
