package auth

import (
	"context"
	"errors"
	"math"
	"time"
)

// Refresh takes a refresh token and gives the pair that follows it. The same
// token always gives the same successor, so a lost answer or many tabs at once
// end with one pair (RFC 9700 section 4.14.2 asks for rotation; see
// docs/decisions for the rule that tells a repeat from a theft).
func (s *Service) Refresh(ctx context.Context, text string, kind TicketKind) (Grant, error) {
	t, ok := s.Secrets.ParseTicket(text)
	err := error(Refuse(CodeRefreshInvalid))
	var e entry
	if ok && t.Kind == kind {
		e, err = s.rotate(ctx, t)
	}
	if err != nil {
		if refusal, ok := errors.AsType[*Error](err); ok {
			s.tell(Event{Name: EventTokenRefused, Cause: string(refusal.Code), SessionID: t.SessionID})
		}
		return Grant{}, err
	}
	s.Live.touchAt(t.SessionID, Access, s.Now().UnixMilli())
	return s.grant(e, kind, s.now())
}

// step is what the one rule says of a ticket.
type step uint8

const (
	stepRotate step = iota // the current one: the generation grows
	stepRepeat             // one behind, and forgiven: the same successor again
	stepReuse              // anything else: somebody has a copy
)

// decide is the rule. seen is the newest generation seen in use: a predecessor
// whose successor nobody has used is a client that lost the answer, however
// late it comes back.
func decide(ticket uint32, v Session, seen uint32, grace time.Duration, now time.Time) step {
	switch {
	case ticket == v.Generation, ticket > v.Generation && v.Restored:
		return stepRotate
	case ticket+1 == v.Generation && (seen < v.Generation || now.Before(v.RotatedAt.Add(grace))):
		return stepRepeat
	}
	return stepReuse
}

// rotate is one swap on the session's record. It gives the session's entry as
// it then is.
func (s *Service) rotate(ctx context.Context, t Ticket) (entry, error) {
	e, err := s.use(ctx, Proof{SessionID: t.SessionID}, Access)
	if err != nil {
		return e, err
	}
	ctx, cancel := lasting(ctx)
	defer cancel()
	if err := s.askSeen(ctx, t, &e); err != nil {
		return e, err
	}
	var verdict step
	news := true
	v, err := update(ctx, s.Store, sessionKey(t.SessionID), func(v *Session, exists bool) (Write, error) {
		if !exists {
			return Write{}, Refuse(CodeSessionExpired)
		}
		if v.EndReason == EndReused && verdict == stepReuse {
			news = false
			return Write{}, errUnchanged // somebody wrote our verdict before us
		}
		if v.EndReason != "" {
			return Write{}, v.EndReason.refusal()
		}
		if max(v.Generation, t.Generation) == math.MaxUint32 {
			return Write{}, Refuse(CodeSessionExpired) // the next one would be the first again
		}
		now := s.now()
		verdict = decide(t.Generation, *v, s.seen(e), s.Settings.RefreshGrace, now)
		switch verdict {
		case stepRepeat:
			return Write{}, errUnchanged
		case stepReuse:
			// Flipped before it is written: the thief's next request is refused
			// while the disk still works.
			s.Live.end(v.ID, EndReused, false)
			v.over(EndReused, now)
			return Write{Expires: s.sessionGone(now), Ending: true}, nil
		}
		v.Generation = max(v.Generation, t.Generation) + 1
		v.RotatedAt, v.Restored = now, false
		return Write{Expires: s.sessionGone(v.ExpiresAt)}, nil
	})
	if err != nil {
		if verdict == stepReuse {
			s.Live.unsure(t.SessionID)
		}
		return e, err
	}
	if news {
		s.tellOfRotation(v, verdict)
	}
	if verdict == stepReuse {
		s.Live.end(t.SessionID, EndReused, true)
		return e, Refuse(CodeRefreshReused)
	}
	e.generation, e.rotatedAt = v.Generation, v.RotatedAt.UnixMilli()
	s.Live.update(t.SessionID, func(live *entry) {
		live.generation, live.rotatedAt = max(live.generation, e.generation), max(live.rotatedAt, e.rotatedAt)
	})
	return e, nil
}

// tellOfRotation tells what became of a ticket that was genuine.
func (s *Service) tellOfRotation(v Session, verdict step) {
	cause := CauseRotated
	switch {
	case verdict == stepReuse:
		s.tellOfSession(EventTokenReused, v, "", "")
		s.tellOfSession(EventSessionEnded, v, string(EndReused), "")
		return
	case verdict == stepRepeat && s.now().Before(v.RotatedAt.Add(s.Settings.RefreshGrace)):
		cause = CauseRepeated
	case verdict == stepRepeat:
		cause = CauseForgiven
	}
	s.tellOfSession(EventTokenRefreshed, v, cause, "")
}

// seen asks the table again, since requests go on while a rotation runs.
func (s *Service) seen(e entry) uint32 {
	if now, found := s.Live.peek(e.id); found {
		return max(now.seen, e.seen)
	}
	return e.seen
}

// grant is what the client gets for a session in this state. Nothing in it
// outlives the session.
func (s *Service) grant(e entry, kind TicketKind, now time.Time) (Grant, error) {
	id, err := s.Live.identity(&e)
	if err != nil {
		return Grant{}, err
	}
	end := time.UnixMilli(e.expiresAt).UTC()
	idleEnd := time.UnixMilli(e.lastActivity).Add(s.Settings.IdleTimeout)
	left := max(0, min(end.Sub(now), idleEnd.Sub(now)))
	g := Grant{
		Identity: id, Generation: e.generation,
		Ticket:    s.Secrets.Ticket(Ticket{kind, e.id, e.generation}),
		AccessTTL: min(s.Settings.AccessTTL, left), TicketTTL: left,
		SessionExpiresAt: end, Now: now,
	}
	if kind == CookieTicket {
		// Activity moves the idle end without a new cookie, so the cookie may
		// live as long as the session could.
		g.TicketTTL = end.Sub(now)
	}
	return g, nil
}

// AuthenticateCookie is Authenticate for the session cookie. The cookie follows
// the rule of refresh tokens: one generation back is forgiven, anything older
// is a copy. With rotate, rotated is the value to set in its place, empty when
// it stays, and maxAge the life of the new cookie.
func (s *Service) AuthenticateCookie(ctx context.Context, value string, use Use, rotate bool) (id Identity, rotated string, maxAge time.Duration, err error) {
	t, ok := s.Secrets.ParseTicket(value)
	if !ok || t.Kind != CookieTicket {
		return id, "", 0, Refuse(CodeTokenInvalid)
	}
	e, err := s.use(ctx, Proof{SessionID: t.SessionID, Generation: t.Generation}, use)
	if rotate && errors.Is(err, Refuse(CodeTokenInvalid)) && s.restored(ctx, t) {
		e, err = s.use(ctx, Proof{SessionID: t.SessionID}, use) // see Session.Restored
	}
	if err != nil {
		return id, "", 0, err
	}
	due := s.Now().UnixMilli()-e.rotatedAt >= s.Settings.AccessTTL.Milliseconds()
	if t.Generation == e.generation && !(due && rotate) {
		id, err = s.Live.identity(&e)
		return id, "", 0, err
	}
	if t.Generation != e.generation && !rotate {
		e, err = s.rotated(ctx, t, e)
	} else {
		e, err = s.rotate(ctx, t)
	}
	if errors.Is(err, Refuse(CodeRefreshReused)) {
		err = Refuse(CodeSessionRevoked) // what the gate says of an ended session
	}
	if err != nil {
		return id, "", 0, err
	}
	if !rotate {
		id, err = s.Live.identity(&e)
		return id, "", 0, err
	}
	g, err := s.grant(e, CookieTicket, s.now())
	return g.Identity, g.Ticket, g.TicketTTL, err
}

// restored reports whether a ticket is one of those that Session.Restored is about.
func (s *Service) restored(ctx context.Context, t Ticket) bool {
	v, _, err := s.readSession(ctx, t.SessionID)
	return err == nil && v.Restored && t.Generation > v.Generation
}

// rotated judges a predecessor where no new cookie can be set. Only a repeat
// changes nothing; for the rest the rule is carried out.
func (s *Service) rotated(ctx context.Context, t Ticket, e entry) (entry, error) {
	if err := s.askSeen(ctx, t, &e); err != nil {
		return e, err
	}
	v := Session{Generation: e.generation, RotatedAt: time.UnixMilli(e.rotatedAt)}
	if decide(t.Generation, v, s.seen(e), s.Settings.RefreshGrace, s.now()) == stepRepeat {
		return e, nil
	}
	return s.rotate(ctx, t)
}
