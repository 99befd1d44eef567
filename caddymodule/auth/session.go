package auth

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// Authenticate says whom a verified credential stands for, if its session
// lives, and touches the session. With the session in memory it reads no store
// and takes no lock that other sessions need.
//
// Refusals: CodeSessionExpired, CodeSessionRevoked, CodeTokenInvalid. Any other
// error is a fault of the store, and says nothing about the session.
func (s *Service) Authenticate(ctx context.Context, p Proof, use Use) (Identity, error) {
	e, err := s.use(ctx, p, use)
	if err != nil {
		return Identity{}, err
	}
	return s.Live.identity(&e)
}

// use finds the session, from the store if it must, and touches it.
func (s *Service) use(ctx context.Context, p Proof, use Use) (entry, error) {
	now, idle := s.Now(), s.Settings.IdleTimeout.Milliseconds()
	e, found, err := s.Live.use(p.SessionID, p.Generation, use, now, idle)
	// A generation ahead of ours was made by another node, or between our read
	// of the store and now.
	for range mostLoads {
		if err != nil || found && (e.end != 0 || p.Generation <= e.generation) {
			break
		}
		if err = s.load(ctx, p.SessionID); err != nil {
			return e, err
		}
		e, found, err = s.Live.use(p.SessionID, p.Generation, use, now, idle)
		if found && p.Generation > e.generation {
			return e, Refuse(CodeTokenInvalid)
		}
	}
	switch {
	case err != nil:
		return e, err
	case !found:
		return e, ErrUnavailable // left the table as fast as it came
	case e.end != 0:
		return e, s.refuse(ctx, e)
	case p.UserID != 0 && p.UserID != e.userID:
		return e, Refuse(CodeTokenInvalid)
	}
	return e, nil
}

// refuse answers for a session that is over. One that has just run out is
// noted in the store, so that it stays over when the clock or idle_timeout
// changes.
func (s *Service) refuse(ctx context.Context, e entry) error {
	reason := e.end.reason()
	if !e.settled {
		if err := s.noteEnd(ctx, e.id, reason); err != nil {
			return err
		}
		s.Live.end(e.id, reason, true)
	}
	return reason.refusal()
}

// load brings a session from the store into the table.
func (s *Service) load(ctx context.Context, id SessionID) error {
	for range 100 {
		stamp := s.Live.stamp(id)
		if err := s.hearOrders(ctx); err != nil {
			return err
		}
		e, err := s.readEntry(ctx, id)
		if err != nil {
			return err
		}
		if s.Live.insert(e, stamp) {
			return nil
		}
	}
	return ErrUnavailable
}

func (s *Service) readEntry(ctx context.Context, id SessionID) (entry, error) {
	v, touch, err := s.readSession(ctx, id)
	if err != nil {
		return entry{}, err
	}
	if v.ID != id {
		return entry{}, Refuse(CodeSessionExpired) // its record has aged out
	}
	mark, now := s.Live.mark(v.UserID), s.Now().UnixMilli()
	user, _, err := read[User](ctx, s.Store, userKey(v.UserID))
	if err != nil {
		return entry{}, err
	}
	e := s.entryOf(v, touch, user)
	e.mark, e.readAt = mark, now
	e.end = endCodeOf(s.endOf(v, user))
	e.settled = v.EndReason != ""
	return e, nil
}

// endOf says why a session is over by what the records say, or "".
func (s *Service) endOf(v Session, u User) EndReason {
	if v.EndReason != "" {
		return v.EndReason
	}
	if u.BannedAt(s.Now()) {
		return EndBanned
	}
	i := slices.IndexFunc(u.Sessions, func(seat Seat) bool { return seat.SessionID == v.ID })
	if i < 0 {
		return EndRevoked
	}
	return u.Sessions[i].End
}

func (s *Service) entryOf(v Session, touch Touch, u User) entry {
	e := entry{
		id: v.ID, userID: v.UserID, createdAt: v.CreatedAt.UnixMilli(), authTime: v.AuthTime.UnixMilli(),
		expiresAt: v.ExpiresAt.UnixMilli(), rotatedAt: v.RotatedAt.UnixMilli(),
		lastAccess: touch.LastAccess, lastActivity: touch.LastActivity,
		generation: v.Generation, seen: touch.Seen, era: v.Era, profile: s.Live.profiles.number(u.Type, u.Roles),
	}
	e.deviceLen = uint8(copy(e.device[:], v.DeviceID))
	return e
}

// readSession reads a session with its touch; the zero Session when there is
// none. What the table knows of the touch is newer.
func (s *Service) readSession(ctx context.Context, id SessionID) (v Session, touch Touch, err error) {
	records, err := s.Store.Get(ctx, sessionKey(id), touchKey(id))
	if err != nil || records[0].Version == 0 {
		return v, touch, err
	}
	if err := decode(records[0].Value, &v); err != nil {
		return v, touch, err
	}
	if records[1].Version != 0 {
		if touch, err = decodeTouch(records[1].Value); err != nil {
			return v, touch, err
		}
	}
	touch.LastAccess = max(touch.LastAccess, v.CreatedAt.UnixMilli())
	touch.LastActivity = max(touch.LastActivity, v.CreatedAt.UnixMilli())
	if e, found := s.Live.peek(id); found {
		touch.LastAccess, touch.LastActivity = max(touch.LastAccess, e.lastAccess), max(touch.LastActivity, e.lastActivity)
		touch.Seen = max(touch.Seen, e.seen)
	}
	now := s.Now().UnixMilli()
	touch.LastAccess, touch.LastActivity = past(touch.LastAccess, now), past(touch.LastActivity, now)
	return v, touch, nil
}

// overdue says whether a later era or the clock has ended a session: "" for no.
func (s *Service) overdue(v Session, touch Touch) EndReason {
	if v.Era < s.Live.era.Load() {
		return EndRevoked
	}
	return overdue(v.ExpiresAt.UnixMilli(), touch.LastActivity, s.Now().UnixMilli(), s.Settings.IdleTimeout.Milliseconds()).reason()
}

// end ends one session: in memory first, for everyone in the process, then in
// the store. When the store cannot take it, the next request asks the store.
func (s *Service) end(ctx context.Context, id SessionID, reason EndReason) error {
	ctx, cancel := lasting(ctx)
	defer cancel()
	s.Live.end(id, reason, false)
	if err := s.noteEnd(ctx, id, reason); err != nil {
		s.Live.unsure(id)
		return err
	}
	s.Live.end(id, reason, true)
	return nil
}

// noteEnd writes an end, and tells of it when it is news.
func (s *Service) noteEnd(ctx context.Context, id SessionID, reason EndReason) error {
	v, ended, err := s.writeEnd(ctx, id, reason)
	if ended {
		s.tellOfSession(EventSessionEnded, v, string(reason), "")
	}
	return err
}

// writeEnd reports whether it has ended the session: the first reason stays.
func (s *Service) writeEnd(ctx context.Context, id SessionID, reason EndReason) (v Session, ended bool, err error) {
	v, err = update(ctx, s.Store, sessionKey(id), func(v *Session, exists bool) (Write, error) {
		if ended = exists && v.EndReason == ""; !ended {
			return Write{}, errUnchanged
		}
		now := s.now()
		v.over(reason, now)
		return Write{Expires: s.sessionGone(now), Ending: true}, nil
	})
	return v, ended && err == nil, err
}

func (v *Session) over(reason EndReason, now time.Time) {
	v.EndReason, v.EndedAt = reason, now
	v.PushToken = "" // no more messages to a device that has signed out
}

// endSeats ends the sessions of a user that pick gives a reason for.
func (s *Service) endSeats(ctx context.Context, user uint64, pick func(SessionID) EndReason) error {
	return s.endBy(ctx, user, func(u *User) (over []Seat, err error) {
		if over = u.end(pick); over == nil {
			return nil, errUnchanged
		}
		return over, nil
	})
}

// ProofOfTicket reads a refresh token or a cookie's value, without asking
// whether its session lives: enough to end it.
func (s *Service) ProofOfTicket(text string) (Proof, bool) {
	t, ok := s.Secrets.ParseTicket(text)
	return Proof{SessionID: t.SessionID, Generation: t.Generation}, ok
}

// Logout ends the session of the credential, the user's others, or all. A
// session that is over already is no error, and can end no other.
func (s *Service) Logout(ctx context.Context, p Proof, scope Scope) error {
	if scope == ScopeSession {
		return s.end(ctx, p.SessionID, EndLogout)
	}
	e, err := s.use(ctx, Proof{SessionID: p.SessionID}, Access)
	if isOver(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if scope == ScopeAll {
		return s.endSeats(ctx, e.userID, func(SessionID) EndReason { return EndLogout })
	}
	return s.endSeats(ctx, e.userID, others(p.SessionID))
}

// others picks all sessions but one.
func others(than SessionID) func(SessionID) EndReason {
	return func(id SessionID) EndReason {
		if id == than {
			return ""
		}
		return EndRevoked
	}
}

// isOver reports whether an error says that a session has ended.
func isOver(err error) bool {
	return errors.Is(err, Refuse(CodeSessionExpired)) || errors.Is(err, Refuse(CodeSessionRevoked))
}

// Session shows one of the owner's sessions, also one that is over. Whoever's
// own session has ended may still learn how, but nothing of the others.
func (s *Service) Session(ctx context.Context, owner Proof, id SessionID) (SessionInfo, error) {
	_, err := s.use(ctx, owner, Access)
	if err != nil && !(isOver(err) && id == owner.SessionID) {
		return SessionInfo{}, err
	}
	v, touch, failure := s.readSession(ctx, id)
	if failure != nil {
		return SessionInfo{}, failure
	}
	if v.ID != id {
		return SessionInfo{}, cmp.Or(err, error(Refuse(CodeNotFound)))
	}
	user, err := s.ownerOf(ctx, owner)
	if err != nil {
		return SessionInfo{}, err
	}
	if user.ID != v.UserID {
		return SessionInfo{}, Refuse(CodeNotFound)
	}
	return s.info(ctx, v, touch, user, owner)
}

// ownerOf reads the user whose session the proof names.
func (s *Service) ownerOf(ctx context.Context, owner Proof) (User, error) {
	if owner.UserID == 0 {
		v, _, err := s.readSession(ctx, owner.SessionID)
		if err != nil {
			return User{}, err
		}
		owner.UserID = v.UserID
	}
	user, exists, err := read[User](ctx, s.Store, userKey(owner.UserID))
	if err == nil && !exists {
		err = Refuse(CodeNotFound)
	}
	return user, err
}

func (s *Service) info(ctx context.Context, v Session, touch Touch, u User, owner Proof) (SessionInfo, error) {
	device, _, err := read[Device](ctx, s.Store, deviceKey(v.UserID, v.DeviceID))
	if err != nil {
		return SessionInfo{}, err
	}
	reason := cmp.Or(s.endOf(v, u), s.overdue(v, touch))
	accessed := time.UnixMilli(touch.LastAccess).UTC()
	return SessionInfo{
		SessionID: v.ID, UserID: v.UserID, DeviceID: v.DeviceID,
		DeviceType: device.Type, DeviceName: device.Name, Platform: device.Platform,
		IsActive: reason == "", EndReason: reason, CreatedAt: v.CreatedAt,
		LastAccessed: accessed, LastAccessedAt: accessed, LastActivityAt: time.UnixMilli(touch.LastActivity).UTC(),
		ExpiresAt: v.ExpiresAt, Current: v.ID == owner.SessionID,
	}, nil
}

// Sessions lists the owner's live sessions, most recently used first.
func (s *Service) Sessions(ctx context.Context, owner Proof) ([]SessionInfo, error) {
	if _, err := s.use(ctx, owner, Access); err != nil {
		return nil, err
	}
	user, err := s.ownerOf(ctx, owner)
	if err != nil {
		return nil, err
	}
	sessions := []SessionInfo{}
	for _, seat := range user.Sessions {
		v, touch, err := s.readSession(ctx, seat.SessionID)
		if err != nil {
			return nil, err
		}
		if v.ID != seat.SessionID {
			continue
		}
		info, err := s.info(ctx, v, touch, user, owner)
		if err != nil {
			return nil, err
		}
		if info.IsActive {
			sessions = append(sessions, info)
		}
	}
	slices.SortStableFunc(sessions, func(a, b SessionInfo) int { return b.LastAccessed.Compare(a.LastAccessed) })
	return sessions, nil
}

// Activity notes that the person was active in one of the owner's sessions, at
// a time the client tells (zero: now). It never counts as later than now, never
// moves back, and never revives a session.
func (s *Service) Activity(ctx context.Context, owner Proof, id SessionID, at time.Time) error {
	if err := s.own(ctx, owner, id); err != nil {
		return err
	}
	if _, err := s.use(ctx, Proof{SessionID: id}, Access); isOver(err) && id != owner.SessionID {
		return Refuse(CodeNotFound) // 401 would speak of the caller's own token
	} else if err != nil {
		return err
	}
	now := s.Now()
	if at.IsZero() || at.After(now) {
		at = now
	}
	s.Live.touchAt(id, Activity, at.UnixMilli())
	return nil
}

// Revoke ends one of the owner's sessions.
func (s *Service) Revoke(ctx context.Context, owner Proof, id SessionID) error {
	if err := s.own(ctx, owner, id); err != nil {
		return err
	}
	reason := EndRevoked
	if id == owner.SessionID {
		reason = EndLogout
	}
	return s.end(ctx, id, reason)
}

// RevokeOthers ends all of the owner's sessions but the one that asks.
func (s *Service) RevokeOthers(ctx context.Context, owner Proof) error {
	if _, err := s.use(ctx, owner, Access); err != nil {
		return err
	}
	return s.Logout(ctx, owner, ScopeOthers)
}

// own reports, as CodeNotFound, a session that is not the owner's.
func (s *Service) own(ctx context.Context, owner Proof, id SessionID) error {
	e, err := s.use(ctx, owner, Access)
	if err != nil || id == owner.SessionID {
		return err
	}
	v, _, err := s.readSession(ctx, id)
	if err == nil && (v.ID != id || v.UserID != e.userID) {
		err = Refuse(CodeNotFound)
	}
	return err
}
