package admin

import "time"

// Sender is how a sender does.
type Sender struct {
	Name     string    `json:"name"`
	Down     bool      `json:"down"`
	Failures int       `json:"failures"` // in a row
	RetryAt  time.Time `json:"retry_at,omitzero"`
}

// StoreInfo is how much the store holds.
type StoreInfo struct {
	Address string `json:"address"`
	Bytes   *int64 `json:"bytes"` // null: this engine does not tell
}

// limitAnswer is how far a limit on everybody is used up.
type limitAnswer struct {
	Limit   string `json:"limit"`
	N       int    `json:"n"`
	Seconds int64  `json:"window_seconds"`
	Used    int    `json:"used"`
}

type statsAnswer struct {
	LiveSessions int           `json:"live_sessions"` // in memory
	Users        int           `json:"users"`
	UsersExact   bool          `json:"users_exact"` // false: there are more than could be counted in two seconds
	Store        StoreInfo     `json:"store"`
	Limits       []limitAnswer `json:"limits"`
	Senders      []Sender      `json:"senders"`
}

// stats answers GET /stats.
func (a *Admin) stats(c *call) (any, error) {
	answer := statsAnswer{LiveSessions: c.operator.LiveSessions(), Limits: []limitAnswer{}, Senders: list(a.Senders())}
	var err error
	if answer.Users, answer.UsersExact, err = c.operator.CountUsers(c.Context()); err != nil {
		return nil, err
	}
	if answer.Store, err = a.Store(); err != nil {
		return nil, err
	}
	limits, err := c.operator.LimitStates(c.Context())
	if err != nil {
		return nil, err
	}
	for _, l := range limits {
		answer.Limits = append(answer.Limits, limitAnswer{l.Limit, l.N, int64(l.Window / time.Second), l.Used})
	}
	return answer, nil
}
