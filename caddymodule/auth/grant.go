package auth

import "time"

// Identity is whom a request is from, as the upstream hears it. It is a
// snapshot: nothing in it changes after it was handed out.
type Identity struct {
	UserID    uint64
	Type      string
	Roles     []string // shared between requests: do not change
	RolesText string   // Roles, comma-separated
	SessionID SessionID
	DeviceID  string
	AuthTime  time.Time // of the last right code
}

// Fresh reports whether a sign-in is at most that old. One from the future was
// made by a clock that has been set back since; then its age is unknown. Nodes
// may differ by a little.
func Fresh(signIn, now time.Time, most time.Duration) bool {
	const skew = 30 * time.Second
	age := now.Sub(signIn) // no sign-in is the year 1
	return age <= most && age >= -skew
}

// Proof is what a verified credential claims. That its session still lives is
// for Authenticate to say.
type Proof struct {
	SessionID  SessionID
	Generation uint32
	UserID     uint64 // 0 when the credential does not name the user
}

// Use tells what a request is to its session.
type Use uint8

const (
	// Access moves last_accessed only: validation, refresh.
	Access Use = iota
	// Activity moves last_accessed and last_activity_at: a proxied request.
	Activity
)

// Scope tells which sessions of a user a logout ends.
type Scope string

const (
	ScopeSession Scope = "session" // the one that asks
	ScopeOthers  Scope = "others"  // all but the one that asks
	ScopeAll     Scope = "all"
)

// Grant is a sign-in, or one renewed: what a token response is made of.
type Grant struct {
	Identity         Identity
	Generation       uint32
	Ticket           string        // the refresh token, or the cookie's value
	AccessTTL        time.Duration // never beyond the session's end
	TicketTTL        time.Duration
	SessionExpiresAt time.Time
	Now              time.Time
	NewUser          bool
	// DeviceProof makes the browser a known one of its number; empty after a
	// refresh.
	DeviceProof string
}

// StartRequest asks for a code.
type StartRequest struct {
	Phone       string // E.164
	Country     string // the number's, ISO 3166; empty: unknown, then no limit counts by country
	Channel     string // empty: that of the challenge, or sms
	Locale      string // the languages that the person reads, as in Accept-Language; may be empty
	ChallengeID string // set: resend the code of this challenge
	ClientIP    string // empty: unknown, then no limit counts by address
	DeviceProof string // of an earlier sign-in in this browser, unchecked
	Proof       string // a solution of a Puzzle, unchecked

	mover uint64 // the user whose number it is to become; 0: it signs in
}

// channel is the one that a fresh challenge has.
func (r StartRequest) channel() string {
	if r.Channel == "" {
		return "sms"
	}
	return r.Channel
}

// Pending is a challenge that waits for its code.
type Pending struct {
	ChallengeID string
	ExpiresIn   time.Duration
	ResendAfter time.Duration
	CodeLength  int
	Channel     string
}

// Status is what a stranger may know of a challenge.
type Status struct {
	Status       DeliveryStatus
	ExpiresIn    time.Duration
	ResendAfter  time.Duration
	AttemptsLeft int
}

// VerifyRequest brings a code back.
type VerifyRequest struct {
	ChallengeID string
	Code        string // digits
	Device      DeviceInput
	ClientIP    string
	DeviceProof string     // of an earlier sign-in in this browser, unchecked
	Kind        TicketKind // which credential the sign-in is to give

	mover uint64 // as in StartRequest
}

// ChangeRequest brings the code of a new number back.
type ChangeRequest struct {
	ChallengeID string
	Code        string // digits
	ClientIP    string
	DeviceProof string // of an earlier sign-in in this browser, unchecked
	Locale      string // as in StartRequest, for the message to the old number
	EndOthers   bool   // ends the user's other sessions
}

// DeviceInput is what a client says of its device, cleaned. Empty fields leave
// what is known as it is.
type DeviceInput struct {
	ID, Type, Name, Platform, PlatformVersion, AppVersion, PushToken string
}

// SessionInfo is a session as its owner sees it.
type SessionInfo struct {
	SessionID      SessionID `json:"session_id"`
	UserID         uint64    `json:"auth_user_id"`
	DeviceID       string    `json:"device_id"`
	DeviceType     string    `json:"device_type"`
	DeviceName     string    `json:"device_name"`
	Platform       string    `json:"platform"`
	IsActive       bool      `json:"is_active"`
	EndReason      EndReason `json:"end_reason,omitempty"`
	CreatedAt      time.Time `json:"created_at"`
	LastAccessed   time.Time `json:"last_accessed"`
	LastAccessedAt time.Time `json:"last_accessed_at"` // the same, under the seed's other name
	LastActivityAt time.Time `json:"last_activity_at"`
	ExpiresAt      time.Time `json:"expires_at"` // the absolute end
	Current        bool      `json:"current"`
}
