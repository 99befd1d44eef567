package auth

import (
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

	bans    map[uint64]time.Time // since when; the latest word on each user
	lifted  map[uint64]bool
	deleted map[uint64]bool
	changed map[uint64]bool // type or roles, which nobody has told

	blocks  bool   // changed
	keys    bool   // the signing keys were
	highest uint64 // id of a user
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
		set(&a.bans, e.UserID, e.At)
		delete(a.lifted, e.UserID)
	case EventUserUnbanned:
		delete(a.bans, e.UserID)
		set(&a.lifted, e.UserID, true)
	case EventUserDeleted:
		set(&a.deleted, e.UserID, true)
	case EventUserChanged:
		set(&a.changed, e.UserID, true)
	case EventBlockAdded, EventBlockRemoved:
		a.blocks = true
	case EventKeysRotated:
		a.keys = true
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

// Left is what an operator must do again, because the aftermath knows that it
// was done and not what.
func (a *Aftermath) Left() (left []string) {
	for _, id := range slices.Sorted(maps.Keys(a.changed)) {
		if !a.deleted[id] {
			left = append(left, fmt.Sprintf("user %d got another type or other roles after the backup: set them again", id))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(a.bans)) {
		if !a.deleted[id] {
			left = append(left, fmt.Sprintf("user %d was banned after the backup, and is now for good: unban, or ban until the right day", id))
		}
	}
	if a.blocks {
		left = append(left, "blocked countries or prefixes were changed after the backup: block and unblock them again")
	}
	return left
}
