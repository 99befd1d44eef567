package auth

import (
	"cmp"
	"time"
)

const (
	// sessionRetention is how long a session's record outlives it, so that its
	// owner still learns how it ended.
	sessionRetention = 30 * 24 * time.Hour
	// deviceRetention is how long a device is remembered after its last sign-in.
	deviceRetention = 400 * 24 * time.Hour
)

// sessionGone is when the record of a session that ends then is forgotten. The
// store does that by itself: a record has its expiry from its last write, so
// another setting reaches each record when it is next written.
func (s *Service) sessionGone(end time.Time) time.Time {
	return end.Add(cmp.Or(s.Settings.SessionRetention, sessionRetention))
}

// Retain says how long touches outlive their sessions; zero: as long as the
// sessions' records do by default. The table is older than a configuration.
func (l *Live) Retain(sessions time.Duration) { l.retained.Store(int64(sessions)) }

func (l *Live) retention() time.Duration {
	return cmp.Or(time.Duration(l.retained.Load()), sessionRetention)
}
