package auth

import (
	"cmp"
	"context"
)

// UpdateDevice changes what is known of the device of the owner's session. The
// push token belongs to the session, and goes when it ends.
func (s *Service) UpdateDevice(ctx context.Context, owner Proof, in DeviceInput) (d Device, hasPush bool, err error) {
	e, err := s.use(ctx, owner, Access)
	if err != nil {
		return d, false, err
	}
	id := string(e.device[:e.deviceLen])
	if in.ID != "" && in.ID != id {
		return d, false, Refuse(CodeInvalidRequest).Because("A session cannot change its device_id.")
	}
	in.ID = id
	if d, _, err = s.saveDevice(ctx, e.userID, in); err != nil {
		return d, false, err
	}
	v, err := update(ctx, s.Store, sessionKey(e.id), func(v *Session, exists bool) (Write, error) {
		switch {
		case !exists:
			return Write{}, Refuse(CodeSessionExpired)
		case v.EndReason != "":
			return Write{}, v.EndReason.refusal()
		case in.PushToken == "" || in.PushToken == v.PushToken:
			return Write{}, errUnchanged
		}
		v.PushToken = in.PushToken
		return Write{Expires: s.sessionGone(v.ExpiresAt)}, nil
	})
	s.Live.watchers.wake(e.id)
	return d, v.PushToken != "", err
}

// saveDevice writes the fields that the client has named and keeps the rest.
// made tells that the user had no such device.
func (s *Service) saveDevice(ctx context.Context, user uint64, in DeviceInput) (d Device, made bool, err error) {
	d, err = update(ctx, s.Store, deviceKey(user, in.ID), func(d *Device, exists bool) (Write, error) {
		now := s.now()
		if made = !exists; made {
			*d = Device{ID: in.ID, UserID: user, CreatedAt: now}
		}
		for field, value := range map[*string]string{
			&d.Type: in.Type, &d.Name: in.Name, &d.Platform: in.Platform,
			&d.PlatformVersion: in.PlatformVersion, &d.AppVersion: in.AppVersion,
		} {
			if value != "" {
				*field = value
			}
		}
		d.UpdatedAt = now
		return Write{Expires: now.Add(cmp.Or(s.Settings.DeviceRetention, deviceRetention))}, nil
	})
	return d, made, err
}

// User reads the account of the owner.
func (s *Service) User(ctx context.Context, owner Proof) (User, error) {
	if _, err := s.use(ctx, owner, Access); err != nil {
		return User{}, err
	}
	return s.ownerOf(ctx, owner)
}
