package auth

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Live is the process's table of live sessions. A proxied request is answered
// from it alone. It is shared by all configurations of a process, since a
// session ended under one must be over under the next.
//
// Its entries hold no pointers: the garbage collector then skips the tables
// however large they grow. With pointers, a million sessions cost a proxied
// request a third of its time in marking.
type Live struct {
	shards   [liveShards]liveShard
	profiles profiles
	watchers watchers
	perShard int
	following

	retained atomic.Int64 // how long touches outlive their sessions; see Retain

	era     atomic.Uint32          // sessions of an earlier one are over
	blocks  atomic.Pointer[blocks] // what gets no codes; nil: nothing is known to
	written atomic.Uint64          // touches that the store has got
}

const (
	liveShards = 256 // far more than cores, so that two requests seldom meet
	deviceMax  = 64  // bytes of a device id
)

type liveShard struct {
	mu    sync.Mutex
	index map[SessionID]uint32
	table []entry
	dirty []uint32 // places whose touch the store does not know
	hand  int      // of the clock that looks for cold entries
	used  uint64   // touches taken
	// flights is the first of the requests on their way. Each is linked to the
	// next, and lies in memory that it needs anyway.
	flights *Flight
	// changes counts what happened to sessions of this shard. A read of the
	// store that saw it grow may be stale, and is done again.
	changes uint64
	trusted time.Duration // until when entries may be believed, since following.born
	epoch   uint32        // grows when any entry may be out of date
}

// entry is one session in memory. Times are Unix milliseconds.
type entry struct {
	id           SessionID
	userID       uint64
	createdAt    int64
	authTime     int64
	expiresAt    int64
	rotatedAt    int64
	lastAccess   int64
	lastActivity int64
	usedAt       int64 // when the entry was last looked at, for eviction
	readAt       int64 // when the store was last asked
	generation   uint32
	seen         uint32 // newest generation seen in use
	profile      uint32
	noted        uint32 // the day, since 1970, of its user's last use that the store knows
	era          uint32
	epoch        uint32 // the shard's when the store was read
	mark         uint32 // the user's before the store was read
	deviceLen    uint8
	end          endCode
	settled      bool // the end is in the store
	doubt        bool // the store may know an end, or other roles, that we do not
	dirty        bool // the touch is not yet in the store
	device       [deviceMax]byte
}

// NewLive makes a table for at most about capacity sessions; colder ones leave
// and come back from the store.
func NewLive(capacity int) *Live {
	l := &Live{perShard: max(16, capacity/liveShards), following: following{born: time.Now(), ordered: make(chan struct{}, 1)}}
	for i := range l.shards {
		l.shards[i].index, l.shards[i].trusted = map[SessionID]uint32{}, forever
	}
	return l
}

func (l *Live) shard(id SessionID) *liveShard { return &l.shards[id[0]] }

// use finds a session, moves its times if it lives, and returns a copy. What is
// not found is for the store to say.
func (l *Live) use(id SessionID, gen uint32, use Use, at time.Time, idle int64) (e entry, found bool, err error) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found, err := l.believe(s, id, at, idle)
	if !found {
		return e, false, err
	}
	p := &s.table[i]
	p.usedAt = at.UnixMilli()
	if p.end == 0 && gen <= p.generation {
		s.touch(i, gen, use, p.usedAt)
	}
	return *p, true, nil
}

// look is use by nobody: it moves nothing.
func (l *Live) look(id SessionID, at time.Time, idle int64) (e entry, found bool, err error) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found, err := l.believe(s, id, at, idle)
	if found {
		e = s.table[i]
	}
	return e, found, err
}

// believe finds an entry that shows what the store holds.
func (l *Live) believe(s *liveShard, id SessionID, at time.Time, idle int64) (i uint32, found bool, err error) {
	if !l.trusted(s, at) {
		return 0, false, errUntrusted
	}
	i, found = s.index[id]
	return i, found && l.judge(s, &s.table[i], at.UnixMilli(), idle), nil
}

// judge notes whether a later era or the clock has ended a session, and reports
// whether the entry shows what the store holds.
func (l *Live) judge(s *liveShard, e *entry, now, idle int64) bool {
	if e.end == 0 && e.era < l.era.Load() {
		e.end, e.settled = endCodeOf(EndRevoked), true // the store has the era
	}
	if !l.fresh(s, e) {
		return false
	}
	e.lastAccess, e.lastActivity = past(e.lastAccess, now), past(e.lastActivity, now)
	if e.end != 0 {
		return true
	}
	end := overdue(e.expiresAt, e.lastActivity, now, idle)
	if l.idleHere(e, end, idle) {
		return false
	}
	e.end = end
	return true
}

// peek returns a copy of a session's entry and changes nothing. What it shows may
// be out of date.
func (l *Live) peek(id SessionID) (e entry, found bool) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.index[id]
	if found {
		e = s.table[i]
	}
	return e, found
}

// past is a time of use as it may be: one well in the future was taken by a
// clock that has been set back since, and would keep a session from idling.
func past(at, now int64) int64 {
	if at > now+time.Minute.Milliseconds() {
		return now
	}
	return at // clocks of nodes differ by a little
}

// overdue is the reason for which a session is over by the clock alone.
func overdue(expiresAt, lastActivity, now, idle int64) endCode {
	switch {
	case now >= expiresAt:
		return endCodeOf(EndExpired)
	case now >= lastActivity+idle:
		return endCodeOf(EndIdle)
	}
	return 0
}

func (s *liveShard) touch(i uint32, gen uint32, use Use, at int64) {
	s.used++
	e := &s.table[i]
	if !e.dirty {
		e.dirty = true
		s.dirty = append(s.dirty, i)
	}
	e.lastAccess = max(e.lastAccess, at)
	if use == Activity {
		e.lastActivity = max(e.lastActivity, at)
	}
	e.seen = max(e.seen, gen)
}

// stamp is taken before a read of the store and handed to insert after it.
func (l *Live) stamp(id SessionID) uint64 {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// insert adds what was read from the store. It refuses what was read before a
// change (an ended session must not come in alive), or before a tidying.
func (l *Live) insert(e entry, stamp uint64) bool {
	s := l.shard(e.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes != stamp || older(e.profile, l.profiles.oldest.Load()) {
		return false
	}
	e.epoch = s.epoch
	i, found := s.index[e.id]
	if !found {
		i = s.slot(l.perShard)
		s.index[e.id] = i
		s.table[i] = e
		return true
	}
	s.table[i].renew(e)
	return true
}

// renew takes over what the store says of a session that is there already. Its
// uses may be newer here; and an end stays, which may be on its way to the store.
func (e *entry) renew(read entry) {
	read.raise(Touch{e.lastAccess, e.lastActivity, e.seen})
	read.generation, read.rotatedAt = max(e.generation, read.generation), max(e.rotatedAt, read.rotatedAt)
	read.usedAt, read.dirty, read.noted = e.usedAt, e.dirty, e.noted
	if e.end != 0 {
		read.end, read.settled = e.end, e.settled
	}
	*e = read
}

// slot finds room: that of a cold clean entry when the table is full, or a new
// one. With nothing but dirty entries the table grows until the next flush.
func (s *liveShard) slot(limit int) uint32 {
	if len(s.table) >= limit {
		if i, ok := s.cold(); ok {
			delete(s.index, s.table[i].id)
			return i
		}
	}
	s.table = append(s.table, entry{})
	return uint32(len(s.table) - 1)
}

// cold walks a few entries on from where the last search stopped and takes the
// least recently used of those that may leave.
func (s *liveShard) cold() (best uint32, ok bool) {
	for range min(16, len(s.table)) {
		s.hand = (s.hand + 1) % len(s.table)
		e := &s.table[s.hand]
		if e.dirty {
			continue
		}
		if !ok || e.usedAt < s.table[best].usedAt {
			best, ok = uint32(s.hand), true
		}
	}
	return best, ok
}

// update changes an entry in place, if there is one.
func (l *Live) update(id SessionID, change func(*entry)) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	if i, found := s.index[id]; found {
		change(&s.table[i])
	}
}

// touchAt notes a use that was not a request, if the session is here and lives.
func (l *Live) touchAt(id SessionID, use Use, at int64) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, found := s.index[id]; found && s.table[i].end == 0 {
		s.touch(i, 0, use, at)
	}
}

// end marks a session as over for everyone in the process. settled says that
// the store knows. The first reason stays.
func (l *Live) end(id SessionID, reason EndReason, settled bool) {
	l.update(id, func(e *entry) {
		if e.end == 0 {
			e.end = endCodeOf(reason)
		}
		e.settled = e.settled || settled
	})
	if settled {
		l.watchers.wake(id)
	}
}

// unsure takes back an end whose write has failed. The store may have it all
// the same (an answer that was lost), so the next use reads it there: a pass
// could be for an ended session, and a refusal could sign out a living one.
func (l *Live) unsure(id SessionID) {
	l.update(id, func(e *entry) {
		if !e.settled {
			e.end, e.doubt = 0, true
		}
	})
}

// doubt has the next use of a living session read it in the store.
func (l *Live) doubt(id SessionID) {
	l.update(id, func(e *entry) {
		if e.end == 0 {
			e.doubt = true
		}
	})
}

// takeDirty hands out what the store does not know yet, and counts it as known;
// markDirty takes that back for one.
func (l *Live) takeDirty() []touchOf {
	var touches []touchOf
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for _, j := range s.dirty {
			e := &s.table[j]
			day := uint32(e.lastAccess / useDay.Milliseconds())
			touches = append(touches, touchOf{e.id, e.userID, e.expiresAt, Touch{e.lastAccess, e.lastActivity, e.seen}, day != e.noted})
			e.dirty, e.noted = false, day
		}
		s.dirty = s.dirty[:0]
		s.mu.Unlock()
	}
	return touches
}

func (l *Live) markDirty(id SessionID) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.index[id]
	if !found {
		return
	}
	s.table[i].noted = 0
	if !s.table[i].dirty {
		s.table[i].dirty = true
		s.dirty = append(s.dirty, i)
	}
}

// Len counts the entries in memory.
func (l *Live) Len() (n int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.index)
		s.mu.Unlock()
	}
	return n
}

// identity fails for a copy of an entry that was held for minutes.
func (l *Live) identity(e *entry) (Identity, error) {
	p, ok := l.profiles.at(e.profile)
	if !ok {
		return Identity{}, ErrUnavailable
	}
	return Identity{
		UserID: e.userID, Type: p.kind, Roles: p.roles, RolesText: p.rolesText,
		SessionID: e.id, DeviceID: string(e.device[:e.deviceLen]),
		AuthTime: time.UnixMilli(e.authTime).UTC(),
	}, nil
}

// endCode is an EndReason in one byte; 0 is a living session.
type endCode uint8

var endReasons = []EndReason{"", EndLogout, EndIdle, EndExpired, EndRevoked, EndReplaced, EndEvicted, EndReused, EndBanned}

func endCodeOf(r EndReason) endCode { return endCode(slices.Index(endReasons, r)) }

func (c endCode) reason() EndReason { return endReasons[c] }

// refusal is what a request gets for a session that is over.
func (r EndReason) refusal() *Error {
	if r == EndIdle || r == EndExpired {
		return Refuse(CodeSessionExpired)
	}
	return Refuse(CodeSessionRevoked)
}
