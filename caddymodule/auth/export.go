package auth

import (
	"context"
	"slices"
	"time"
)

// Holdings is everything that the store holds on one person.
type Holdings struct {
	User       User                   `json:"user"`
	LastUsedAt time.Time              `json:"last_used_at"`
	CustomerAt time.Time              `json:"customer_at,omitzero"` // when the number last signed in, as far as that is noted
	Devices    []Device               `json:"devices"`
	Sessions   []HeldSession          `json:"sessions"` // also those that have ended
	Limits     map[string][]time.Time `json:"limits"`   // when what was counted
}

// HeldSession is a session as its owner may have it.
type HeldSession struct {
	SessionInfo
	AuthTime     time.Time `json:"auth_time"`
	HasPushToken bool      `json:"has_fcm_token"`
}

// Holdings gathers all that is held on one person, and no secret: a session's
// push token, for one, is not in it. A challenge of the last minutes is not either:
// nobody finds it, or can open it, without its id. Sessions that have ended stand in no list of
// the user's, so all sessions are looked through.
func (o Operator) Holdings(ctx context.Context, id uint64) (h Holdings, err error) {
	s := o.service
	if h.User, err = o.User(ctx, id); err != nil {
		return h, err
	}
	if h.LastUsedAt, err = s.lastUsed(ctx, h.User); err != nil {
		return h, err
	}
	h.Devices = []Device{}
	err = each(ctx, s, deviceKey(id, ""), func(d Device) error { h.Devices = append(h.Devices, d); return nil })
	if err != nil {
		return h, err
	}
	if h.Sessions, err = s.heldSessions(ctx, h.User); err != nil {
		return h, err
	}
	if err := s.heldOnNumber(ctx, &h); err != nil {
		return h, err
	}
	type extent struct {
		Devices  int `json:"devices"`
		Sessions int `json:"sessions"`
	}
	o.Tell(Event{Name: EventUserExported, UserID: id, After: extent{len(h.Devices), len(h.Sessions)}})
	return h, nil
}

func (s *Service) heldSessions(ctx context.Context, u User) ([]HeldSession, error) {
	sessions := []HeldSession{}
	err := each(ctx, s, "session/", func(v Session) error {
		if v.UserID != u.ID {
			return nil
		}
		v, touch, err := s.readSession(ctx, v.ID)
		if err != nil || v.UserID != u.ID {
			return err
		}
		info, err := s.info(ctx, v, touch, u, Proof{})
		sessions = append(sessions, HeldSession{info, v.AuthTime, v.PushToken != ""})
		return err
	})
	return sessions, err
}

// heldOnNumber adds what is held under the number. One that was detached is
// somebody else's by now, and so is what is held under it.
func (s *Service) heldOnNumber(ctx context.Context, h *Holdings) (err error) {
	phone := h.User.Phone
	if !h.User.Detached.IsZero() {
		phone = ""
	}
	if phone != "" {
		note, _, err := read[membership](ctx, s.Store, s.memberKey(phone))
		if err != nil {
			return err
		}
		h.CustomerAt = note.At
	}
	h.Limits, err = s.heldLimits(ctx, h.User.ID, phone)
	return err
}

// heldLimits are those that count this person alone. What counts the number's
// prefix, its country or an address is of many people.
func (s *Service) heldLimits(ctx context.Context, id uint64, phone string) (map[string][]time.Time, error) {
	held, subjects := map[string][]time.Time{}, map[string][]string{"phone_changes": {userKey(id)}}
	if phone != "" {
		subjects["phone_sends"], subjects["phone_failures"] = []string{phone, phone + ofKnown}, []string{phone, phone + ofKnown}
	}
	for name, all := range subjects {
		for _, subject := range all {
			h, _, err := read[hits](ctx, s.Store, s.bucket(name, subject, nil, "").key)
			if err != nil {
				return nil, err
			}
			for _, slot := range h.Slots {
				held[name] = append(held[name], slices.Repeat([]time.Time{time.UnixMilli(slot.At).UTC()}, slot.N)...)
			}
		}
	}
	return held, nil
}

// EachUser visits the users, one after the other, but those who are deleted or
// have lost their number to another account.
func (o Operator) EachUser(ctx context.Context, visit func(User) error) error {
	return each(ctx, o.service, "user/", func(u User) error {
		if !u.Deleted.IsZero() || !u.Detached.IsZero() {
			return nil
		}
		return visit(u)
	})
}

// each visits the records whose keys begin with prefix.
func each[T any](ctx context.Context, s *Service, prefix string, visit func(T) error) error {
	for after := ""; ; {
		records, err := s.list(ctx, prefix, after, countBatch)
		if err != nil {
			return err
		}
		for _, r := range records {
			var v T
			if err := decode(r.Value, &v); err != nil {
				return err
			}
			if err := visit(v); err != nil {
				return err
			}
			after = r.Key
		}
		if len(records) < countBatch {
			return nil
		}
	}
}
