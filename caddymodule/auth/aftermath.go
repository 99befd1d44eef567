package auth

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Aftermath is what has happened after a backup as far as it takes access away:
// a restore must not give it back. Zero, nothing has.
type Aftermath struct {
	sessions map[SessionID]ending
	users    map[uint64]ending // all of a user's sessions
	devices  map[deviceOf]ending
	all      *ending // all sessions there were

	accounts map[uint64]lastWord // of operators
	deleted  map[uint64]bool
	moved    map[uint64]bool // to a number that nobody has told

	blocks  []blockChange // in their order
	keys    bool          // the signing keys were changed
	highest uint64        // id of a user
	untold  []string
}

type blockChange struct {
	Block
	added bool
}

// lastWord is how an operator has left an account.
type lastWord struct {
	AccountState
	at time.Time
}

type ending struct {
	reason EndReason
	at     time.Time
}

type deviceOf struct {
	user   uint64
	device string
}

// EndAll is an aftermath that ends all sessions, for when nobody can tell which
// have ended. The signing keys are not to be trusted then either.
func EndAll(at time.Time) *Aftermath {
	return &Aftermath{all: &ending{EndRevoked, at}, keys: true}
}

// Hear takes note of an event that came after the backup, in the order in which
// they came.
func (a *Aftermath) Hear(e Event) {
	a.highest = max(a.highest, e.UserID)
	switch e.Name {
	case EventSessionEnded:
		note(&a.sessions, e.SessionID, ending{EndReason(e.Cause), e.At})
	case EventTokenReused:
		note(&a.sessions, e.SessionID, ending{EndReused, e.At})
	case EventSessionsRevoked:
		a.hearRevoked(e)
	case EventDeviceDeleted:
		note(&a.devices, deviceOf{e.UserID, e.DeviceID}, ending{EndRevoked, e.At})
	case EventUserBanned:
		note(&a.users, e.UserID, ending{EndBanned, e.At})
		a.hearAccount(e)
	case EventUserChanged, EventUserUnbanned, EventUserReopened:
		a.hearAccount(e)
	case EventUserDeleted:
		set(&a.deleted, e.UserID, true)
	case EventPhoneChanged:
		set(&a.moved, e.UserID, true)
	case EventBlockAdded:
		a.hearBlock(e, e.After)
	case EventBlockRemoved:
		a.hearBlock(e, e.Before)
	case EventKeysRotated: // to add one takes nothing away
		a.keys = a.keys || e.Cause != "rotate" && e.Cause != "schedule"
	}
}

func (a *Aftermath) hearRevoked(e Event) {
	switch end := (ending{EndRevoked, e.At}); {
	case e.SessionID != SessionID{}:
		note(&a.sessions, e.SessionID, end)
	case e.UserID != 0:
		note(&a.users, e.UserID, end)
	case a.all == nil:
		a.all = &end
	}
}

// note keeps the first end: it is the true one.
func note[K comparable](ends *map[K]ending, key K, e ending) {
	if _, known := (*ends)[key]; known {
		return
	}
	if !e.reason.known() {
		e.reason = EndRevoked
	}
	set(ends, key, e)
}

func set[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

// known reports whether a session can end for this reason.
func (r EndReason) known() bool {
	return slices.Contains([]EndReason{EndLogout, EndIdle, EndExpired, EndRevoked, EndReplaced, EndEvicted, EndReused, EndBanned}, r)
}

// endOf says how a session of the backup has ended since.
func (a *Aftermath) endOf(id SessionID, user uint64, device string) (end ending, over bool) {
	if end, over = a.sessions[id]; over {
		return end, true
	}
	if end, over = a.devices[deviceOf{user, device}]; over {
		return end, true
	}
	if end, over = a.users[user]; over {
		return end, true
	}
	if a.all != nil {
		return *a.all, true
	}
	return ending{}, false
}

func (a *Aftermath) hearAccount(e Event) {
	state, told := retold[AccountState](e.After)
	if !told || state.Type == "" {
		a.untold = append(a.untold, fmt.Sprintf("what an operator did to user %d after the backup (%s) is not in the audit: do it again", e.UserID, e.Name))
		if e.Name != EventUserBanned {
			return
		}
		state = a.accounts[e.UserID].AccountState
		state.Banned = true
	}
	set(&a.accounts, e.UserID, lastWord{state, e.At})
}

// retold reads a value that may have been JSON meanwhile.
func retold[T any](told any) (v T, ok bool) {
	text, err := json.Marshal(told)
	return v, err == nil && told != nil && json.Unmarshal(text, &v) == nil
}

// apply makes of a user of the backup what operators have made of it since.
func (a *Aftermath) apply(u *User) {
	for i, seat := range u.Sessions {
		if end, over := a.endOf(seat.SessionID, u.ID, seat.DeviceID); over && seat.End == "" {
			u.Sessions[i].End = end.reason
		}
	}
	word, spoken := a.accounts[u.ID]
	if !spoken {
		return
	}
	if word.Type != "" {
		u.Type, u.Roles = word.Type, word.Roles
	}
	switch {
	case !word.Banned:
		u.Ban = nil
	case !u.BannedAt(word.at) || u.Ban.Reason != word.BanReason || !u.Ban.Until.Equal(word.BannedUntil):
		u.Ban = &Ban{Reason: word.BanReason, Since: word.at, Until: word.BannedUntil}
	}
	u.Reopened = later(u.Reopened, word.ReopenedAt)
}

func (a *Aftermath) hearBlock(e Event, told any) {
	b, ok := retold[Block](told)
	if !ok || b.check() != nil {
		a.untold = append(a.untold, fmt.Sprintf("which block was changed after the backup (%s) is not in the audit: do it again", e.Name))
		return
	}
	a.blocks = append(a.blocks, blockChange{b, e.Name == EventBlockAdded})
}

// applyBlocks does the same with what gets no codes.
func (a *Aftermath) applyBlocks(all *blocks) {
	for _, change := range a.blocks {
		all.List = slices.DeleteFunc(all.List, change.same)
		if change.added {
			all.List = append(all.List, change.Block)
		}
		all.Number++
	}
}

// Left is what an operator must do, because the aftermath knows that it was done
// and not what.
func (a *Aftermath) Left() []string {
	left := slices.Clone(a.untold)
	for _, id := range slices.Sorted(maps.Keys(a.moved)) {
		if !a.deleted[id] {
			left = append(left, fmt.Sprintf("user %d took another number after the backup, which is in no log, and the former one opens nothing: delete the user, and a minute later create one with this id and the new number", id))
		}
	}
	return left
}
