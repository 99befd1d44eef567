package token

import (
	"context"
	"errors"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// settle does what time asks of the keys: it makes a new one when the newest is
// old enough, and drops those that no token can be signed with any more. Of
// several nodes one does it, the others find it done.
func (k *Keys) settle(ctx context.Context) (rotated bool, err error) {
	err = k.change(ctx, func(r record) (record, error) {
		now := k.options.Now()
		living := r.living(now)
		rotated = k.options.RotateEvery > 0 && r.Keys[0].SignFrom <= now.Add(-k.options.RotateEvery).Unix()
		switch {
		case rotated:
			next, err := k.newKey(k.options.HeadStart)
			return record{Keys: append([]storedKey{next}, living...)}, err
		case len(living) < len(r.Keys):
			return record{Keys: living}, nil
		}
		return record{}, nil
	})
	if errors.Is(err, auth.ErrConflict) {
		return false, nil
	}
	return rotated && err == nil, err
}

// Keep reloads the keys until the context ends, and rotates them when it is
// time: then it calls rotated with the keys there were.
func (k *Keys) Keep(ctx context.Context, rotated func(before []Info), report func(error)) {
	tick := time.NewTicker(ReloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := k.Reload(ctx)
		before := k.List()
		var done bool
		if err == nil {
			done, err = k.settle(ctx)
		}
		switch {
		case done:
			rotated(before)
		case err != nil && ctx.Err() == nil:
			report(err)
		}
	}
}
