// Package notify tells a receiver of events, each at least once. What there is
// to tell is kept in the store until the receiver has taken it, so a restart, a
// crash or a receiver that is down for a day loses nothing.
package notify

import (
	"crypto/rand"
	"hash/crc32"
	"strconv"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Notice is an event on its way. Its JSON is what the receiver gets. Like the
// event it holds no code, no token and no number.
type Notice struct {
	ID        string         `json:"id"` // the same at every attempt
	Name      auth.EventName `json:"name"`
	At        time.Time      `json:"at"`
	Cause     string         `json:"cause,omitempty"`
	UserID    uint64         `json:"auth_user_id,omitempty"`
	SessionID auth.SessionID `json:"session_id,omitzero"`
	DeviceID  string         `json:"device_id,omitempty"`
	Subject   string         `json:"subject,omitempty"`
	Country   string         `json:"country,omitempty"`
	Channel   string         `json:"channel,omitempty"`
	ClientIP  string         `json:"client_ip,omitempty"`
}

func noticeOf(e auth.Event) Notice {
	return Notice{
		ID: rand.Text(), Name: e.Name, At: e.At, Cause: e.Cause, UserID: e.UserID, SessionID: e.SessionID, DeviceID: e.DeviceID,
		Subject: e.Subject, Country: e.Country, Channel: e.Channel, ClientIP: e.ClientIP,
	}
}

// personal reports whether the notice is about somebody who has signed in.
// Others can be caused by strangers, in any number.
func (n *Notice) personal() bool { return n.UserID != 0 }

// Notices wait in lanes: records of their own, so that sign-ins seldom meet at
// one. Those that strangers cause have their own, or a stranger who makes noise
// while the receiver is down could push out that a session has ended.
const (
	personalLanes = 96
	otherLanes    = 32
	lanes         = personalLanes + otherLanes
)

// lane is where a notice waits: those of one session, or of one number, in one
// lane, where they stay in their order.
func (n *Notice) lane() int {
	switch {
	case !n.personal():
		return personalLanes + spread(n.Subject+n.ClientIP, otherLanes)
	case n.SessionID != auth.SessionID{}:
		return spread(n.SessionID.String(), personalLanes)
	}
	return spread(strconv.FormatUint(n.UserID, 10), personalLanes)
}

func spread(text string, over uint32) int { return int(crc32.ChecksumIEEE([]byte(text)) % over) }
