package auth

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// SessionID identifies a session: 128 random bits. As text it is 22 letters,
// digits, '-' and '_'.
type SessionID [16]byte

var idEncoding = base64.RawURLEncoding.Strict()

// NewSessionID draws an id that nobody can guess.
func NewSessionID() (id SessionID) {
	rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	return id
}

// ParseSessionID reads what String has written, and no other spelling of it.
func ParseSessionID(text string) (id SessionID, ok bool) {
	if len(text) != 22 {
		return id, false
	}
	n, err := idEncoding.Decode(id[:], []byte(text))
	return id, err == nil && n == len(id)
}

func (id SessionID) String() string { return idEncoding.EncodeToString(id[:]) }

// MarshalText makes the id a JSON string.
func (id SessionID) MarshalText() ([]byte, error) { return idEncoding.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads the id from a JSON string.
func (id *SessionID) UnmarshalText(text []byte) error {
	parsed, ok := ParseSessionID(string(text))
	if !ok {
		return errors.New("not a session id")
	}
	*id = parsed
	return nil
}

// EndReason says why a session is over. The empty reason means that it lives.
type EndReason string

const (
	EndLogout   EndReason = "logout"
	EndIdle     EndReason = "idle"     // no activity for idle_timeout
	EndExpired  EndReason = "expired"  // max_lifetime reached
	EndRevoked  EndReason = "revoked"  // ended from another session, or by an operator
	EndReplaced EndReason = "replaced" // a later login on the same device
	EndEvicted  EndReason = "evicted"  // the least recently used of too many
	EndReused   EndReason = "reused"   // an old refresh token was seen
	EndBanned   EndReason = "banned"
)

// User is a person's account. It also lists the person's sessions, so that a
// login, the limit of sessions per user, a ban and "sign out everywhere" are
// decided by one swap on one record, and no scan can miss a session.
type User struct {
	ID    uint64 `json:"auth_user_id"`
	Phone string `json:"phone"` // E.164
	// Former is the number before, until its owner is told and it is forgotten.
	Former    string    `json:"former,omitempty"`
	Type      string    `json:"user_type"`
	Roles     []string  `json:"user_roles"`
	Ban       *Ban      `json:"ban,omitempty"` // nil: never, or lifted; see BannedAt
	CreatedAt time.Time `json:"created_at"`
	SignedIn  time.Time `json:"signed_in,omitzero"` // when a code was last right; zero: never yet
	Reopened  time.Time `json:"reopened,omitzero"`  // when an operator last said that the number is still the person's
	Detached  time.Time `json:"detached,omitzero"`  // since when the number is another account's; zero: it is not
	Sessions  []Seat    `json:"sessions,omitempty"`
	// Deleted is set while the account is being taken apart, and for a moment
	// after it: nobody gets in.
	Deleted time.Time `json:"deleted,omitzero"`
}

// Seat is a session's place in its user's record. A session without a seat is
// over, whatever its own record says.
type Seat struct {
	SessionID SessionID `json:"session_id"`
	DeviceID  string    `json:"device_id"`
	// End is set when the user's record ended the session and the session's own
	// record does not say so yet.
	End EndReason `json:"end,omitempty"`
}

// Session is one sign-in on one device (the seed's UserSession). What every
// request changes stands apart, in Touch.
type Session struct {
	ID        SessionID `json:"session_id"`
	UserID    uint64    `json:"auth_user_id"`
	DeviceID  string    `json:"device_id"`
	PushToken string    `json:"fcm_token,omitempty"` // goes with the session
	CreatedAt time.Time `json:"created_at"`
	AuthTime  time.Time `json:"auth_time"`  // when the last code was right
	ExpiresAt time.Time `json:"expires_at"` // the absolute end; never moves

	Generation uint32    `json:"generation"` // of the current refresh token
	RotatedAt  time.Time `json:"rotated_at"` // when the generation last grew
	// Restored says that the record is of a backup, and was not rotated since: the
	// client may have a token of a later generation, which the backup does not know.
	// That is no copy, and is taken once. Nobody can make one but this store.
	Restored bool `json:"restored,omitempty"`

	Era uint32 `json:"era,omitempty"` // in which it was begun

	EndedAt   time.Time `json:"ended_at,omitzero"`
	EndReason EndReason `json:"end_reason,omitempty"`
}

// Device is what a client says of the thing it runs on (the seed's UserDevice).
// It outlives its sessions.
type Device struct {
	ID              string `json:"device_id"`
	Type            string `json:"device_type"`
	Name            string `json:"device_name"`
	Platform        string `json:"platform"`
	PlatformVersion string `json:"platform_version"`
	AppVersion      string `json:"app_version"`

	UserID    uint64    `json:"auth_user_id"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Challenge is one code sent to one phone. The code itself is derived from the
// id and stands nowhere.
type Challenge struct {
	ID    string `json:"challenge_id"`
	Phone string `json:"phone"`
	// For is the user whose new number the code proves; 0: it signs in.
	For       uint64         `json:"for,omitempty"`
	Country   string         `json:"country,omitempty"`
	Channel   string         `json:"channel"`
	Length    int            `json:"code_length"` // as it was sent, whatever a reload has changed
	ExpiresAt time.Time      `json:"expires_at"`
	SentAt    time.Time      `json:"sent_at"` // of the last message
	Sends     int            `json:"sends"`
	Tries     int            `json:"tries"`             // comparisons spent
	UsedBy    string         `json:"used_by,omitempty"` // the session it led to; empty: unused
	Delivery  DeliveryStatus `json:"delivery"`
	Reported  DeliveryStatus `json:"reported,omitempty"` // by the provider, of the last message
	// Suppressed tells that the last message did not go out, which nobody is told.
	Suppressed bool `json:"suppressed,omitempty"`
	// DeniedAt is when a risk hook kept the last message back.
	DeniedAt time.Time `json:"denied_at,omitzero"`
	// Tallied are the messages that a right code would be credited for.
	Tallied int `json:"tallied,omitempty"`
}

// DeliveryStatus is how far a challenge's last message has come.
type DeliveryStatus string

const (
	DeliveryQueued DeliveryStatus = "queued"
	DeliverySent   DeliveryStatus = "sent"
	DeliveryFailed DeliveryStatus = "failed"
)

// Encode writes a record's value. The first byte is the format, so that a later
// one can be told apart.
func encode(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding record: %w", err)
	}
	return append([]byte{recordFormat}, body...), nil
}

// decode reads what encode has written.
func decode(value []byte, v any) error {
	if len(value) == 0 || value[0] != recordFormat {
		return fmt.Errorf("reading record: %w", errRecordFormat)
	}
	if err := json.Unmarshal(value[1:], v); err != nil {
		return fmt.Errorf("reading record: %w", err)
	}
	return nil
}

// unlisted are the kinds of records that are only asked for by their whole key.
// What they are about, a number or an address, is hidden in the key if anywhere.
var unlisted = map[string]bool{"challenge": true, "puzzle": true, "limit": true, "conversion": true}

// owned is a record about one user.
type owned interface{ owner() uint64 }

func (u User) owner() uint64 {
	if u.isTombstone() {
		return 0 // what is left says nothing of the person
	}
	return u.ID
}

func (v Session) owner() uint64    { return v.UserID }
func (d Device) owner() uint64     { return d.UserID }
func (e phoneEntry) owner() uint64 { return e.UserID }
func (c Challenge) owner() uint64  { return c.For }

// writing completes the write of a value: whose it is, and whether its kind is
// unlisted, unless w says so.
func writing(key string, v any, w Write) (Write, error) {
	value, err := encode(v)
	w.Key, w.Value, w.Unlisted = key, value, w.Unlisted || unlisted[kindOf(key)]
	if o, ok := v.(owned); ok {
		w.Owner = o.owner()
	}
	return w, err
}

const recordFormat = 1

var errRecordFormat = fmt.Errorf("%w: unknown record format", ErrUnavailable)
