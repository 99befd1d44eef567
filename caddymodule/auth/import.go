package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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

// Add takes the next lines, and gives the conflicts in their order. An error
// means that the store cannot answer now, or that the file is too long; the lines
// before these are imported.
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
		if err == nil { // what was found there may be of a moment ago
			err = i.directory.Store.Sync(ctx)
		}
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
