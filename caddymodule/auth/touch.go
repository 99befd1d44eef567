package auth

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// Touch is what every request changes of a session. It stands in a record of
// its own, written blindly and in batches, so that a request needs no write and
// a rotation meets no conflict. Times are Unix milliseconds.
type Touch struct {
	LastAccess   int64
	LastActivity int64
	Seen         uint32 // newest generation seen in use
}

type touchOf struct {
	id        SessionID
	userID    uint64
	expiresAt int64
	touch     Touch
	newDay    bool // the first one of a day
}

// useDay is how exactly the store knows when a user was last there, once the
// records of the sessions are gone.
const useDay = 24 * time.Hour

const touchSize = 1 + 8 + 8 + 4

func (t Touch) encode() []byte {
	b := append(make([]byte, 0, touchSize), recordFormat)
	b = binary.BigEndian.AppendUint64(b, uint64(t.LastAccess))
	b = binary.BigEndian.AppendUint64(b, uint64(t.LastActivity))
	return binary.BigEndian.AppendUint32(b, t.Seen)
}

func decodeTouch(b []byte) (t Touch, err error) {
	if len(b) != touchSize || b[0] != recordFormat {
		return t, fmt.Errorf("reading touch: %w", errRecordFormat)
	}
	t.LastAccess = int64(binary.BigEndian.Uint64(b[1:]))
	t.LastActivity = int64(binary.BigEndian.Uint64(b[9:]))
	t.Seen = binary.BigEndian.Uint32(b[17:])
	return t, nil
}

// Flush writes the touches that the store does not know yet. Touches that
// cannot be written wait for the next call.
func (l *Live) Flush(ctx context.Context, store Store) error {
	touches := l.takeDirty()
	const batch = 500 // of at most two writes each
	for len(touches) > 0 {
		part := touches[:min(batch, len(touches))]
		if err := l.write(ctx, store, part); err != nil {
			for _, t := range touches {
				l.markDirty(t.id)
			}
			return fmt.Errorf("writing touches: %w", err)
		}
		l.written.Add(uint64(len(part)))
		touches = touches[len(part):]
	}
	return nil
}

func (l *Live) write(ctx context.Context, store Store, touches []touchOf) error {
	if l.follows() {
		if err := merge(ctx, store, touches); err != nil {
			return err
		}
	}
	return store.Put(ctx, writesOf(touches, l.retention()))
}

// writesOf are the touches themselves and, once a day, when their users were
// there: a session's touch goes with it, and a user is kept for ever.
func writesOf(touches []touchOf, retention time.Duration) []Write {
	writes := make([]Write, len(touches))
	used := map[uint64]Touch{}
	for i, t := range touches {
		writes[i] = Write{
			Key: touchKey(t.id), Value: t.touch.encode(),
			Expires: time.UnixMilli(t.expiresAt).Add(retention), Owner: t.userID,
		}
		if t.newDay {
			used[t.userID] = Touch{LastAccess: max(used[t.userID].LastAccess, t.touch.LastAccess)}
		}
	}
	for user, use := range used {
		writes = append(writes, Write{Key: usedKey(user), Value: use.encode(), Owner: user})
	}
	return writes
}

// Keep flushes and hears every few seconds until the context ends, then flushes
// once more. What other nodes order is heard at once where they can be followed.
func (l *Live) Keep(ctx context.Context, store Store, every time.Duration, report func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-l.ordered:
			if err := l.Hear(ctx, store); err != nil && ctx.Err() == nil {
				report(err)
			}
		case <-tick.C:
			if err := l.Flush(ctx, store); err != nil {
				report(err)
			}
			if err := l.Hear(ctx, store); err != nil && ctx.Err() == nil {
				report(err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), every)
			defer cancel()
			if err := l.Flush(last, store); err != nil {
				report(err)
			}
			return
		}
	}
}

const (
	sessionPrefix = "session/"
	userPrefix    = "user/"
	devicePrefix  = "device/"
)

func sessionKey(id SessionID) string { return sessionPrefix + id.String() }
func touchKey(id SessionID) string   { return "touch/" + id.String() }
func userKey(id uint64) string       { return fmt.Sprintf("%s%d", userPrefix, id) }
func usedKey(user uint64) string     { return fmt.Sprintf("used/%d", user) }
func deviceKey(user uint64, id string) string {
	return fmt.Sprintf("%s%d/%s", devicePrefix, user, id)
}
