package auth

import "context"

// Devices lists what a user has signed in from, in an order of the store's own,
// after the device of that id ("": from the first). Fewer than limit are the
// last ones.
func (o Operator) Devices(ctx context.Context, user uint64, after string, limit int) ([]Device, error) {
	if _, err := o.User(ctx, user); err != nil {
		return nil, err
	}
	return o.service.devices(ctx, user, after, limit)
}

func (s *Service) devices(ctx context.Context, user uint64, after string, limit int) (devices []Device, err error) {
	if after != "" {
		after = deviceKey(user, after)
	}
	records, err := s.list(ctx, deviceKey(user, ""), after, limit)
	for _, r := range records {
		var d Device
		if err := decode(r.Value, &d); err != nil {
			return nil, err
		}
		devices = append(devices, d)
	}
	return devices, err
}

// DeleteDevice forgets a device, and ends the session on it first.
func (o Operator) DeleteDevice(ctx context.Context, user uint64, device string) error {
	s := o.service
	err := s.endBy(ctx, user, func(u *User) (over []Seat, err error) {
		if u.ID == 0 || !u.Deleted.IsZero() {
			return nil, errNoUser
		}
		for i := range u.Sessions {
			if seat := &u.Sessions[i]; seat.DeviceID == device && seat.End == "" {
				seat.End = EndRevoked
				over = append(over, *seat)
			}
		}
		if over == nil {
			return nil, errUnchanged
		}
		return over, nil
	})
	if err != nil {
		return err
	}
	was, err := remove(ctx, s.Store, deviceKey(user, device), func(Device) bool { return true })
	if err != nil {
		return err
	}
	if was.ID == "" {
		return Refuse(CodeNotFound).Because("The user has no such device.")
	}
	o.Tell(Event{Name: EventDeviceDeleted, UserID: user, DeviceID: device, Before: was})
	return nil
}
