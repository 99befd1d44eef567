package auth

import (
	"context"
	"errors"
	"time"
)

// Secrets derives what must not be guessed and hides what must not be read.
// One implementation stands in internal/vault.
type Secrets interface {
	// Code derives the one-time code of a challenge: digits, uniform, the same
	// at every call.
	Code(challengeID string, length int) string
	// Index hides a value (a phone number, an address) behind a keyed hash that
	// is safe in a record's key. kind separates the uses.
	Index(kind, value string) string
	// Ticket derives the credential of one generation of a session.
	Ticket(t Ticket) string
	// ParseTicket reads a credential that Ticket has made; ok is false for
	// anything else, in constant time, without any look-up.
	ParseTicket(text string) (t Ticket, ok bool)
}

// TicketKind tells which door a derived credential opens, so that one taken
// from a cookie is no refresh token and the other way round.
type TicketKind byte

const (
	RefreshTicket TicketKind = 1 // the refresh token of the bearer transport
	CookieTicket  TicketKind = 2 // the value of the session cookie
)

// Ticket names one generation of a session. What the client holds is derived
// from it, so nothing but the generation is kept.
type Ticket struct {
	Kind       TicketKind
	SessionID  SessionID
	Generation uint32
}

// Message is a code on its way to a phone, or a notice, which has none.
type Message struct {
	ID        string    `json:"id"`   // the same at every retry
	To        string    `json:"to"`   // E.164
	Code      string    `json:"code"` // empty: a notice, always by sms
	Text      string    `json:"text"` // what the person reads
	Channel   string    `json:"channel"`
	AppName   string    `json:"app_name"`
	ExpiresAt time.Time `json:"expires_at"`
	// Language is the text's, as a tag such as pt-BR, for whoever speaks it;
	// empty when it is not known.
	Language string `json:"-"`
	// ClientIP is the address that asked for the code, for an Inquiry alone: who
	// delivers the code never has it. Empty when it is not known.
	ClientIP string `json:"-"`
}

// Inquiry is what a risk hook hears of a message that is about to go out: all
// but the code.
type Inquiry struct {
	ID       string `json:"id"`      // the message's
	Phone    string `json:"phone"`   // E.164
	Country  string `json:"country"` // the number's, ISO 3166; empty: unknown
	Channel  string `json:"channel"`
	ClientIP string `json:"client_ip"` // empty: unknown
}

// ErrDenied is the outcome of a message that a risk hook has kept back.
var ErrDenied = errors.New("the risk hook has denied the message")

// Outbox delivers messages in the background. One implementation stands in
// internal/sender.
type Outbox interface {
	// Enqueue takes the message for delivery and returns at once. done is called
	// exactly once with the outcome, from another goroutine; one that wraps
	// ErrDenied tells that the message was kept back on purpose. It returns an
	// error, and never calls done, when the message was not taken: the queue is
	// full or every sender is known to be down.
	Enqueue(m Message, done func(error)) error
}

// Admitter is what an Outbox may be as well: one that can tell beforehand. A
// suppressed message, which is not to go out, is refused where another would be.
type Admitter interface {
	// Admits returns the error that Enqueue would return now, and takes nothing.
	Admits(m Message) error
}

// Account is what a directory says of a phone number.
type Account struct {
	UserID uint64
	Type   string   // empty: Type and Roles stay as the user's record has them
	Roles  []string // shared: do not change
}

// Dormant is an account that was not used for long, and for whose number a
// right code has come.
type Dormant struct {
	UserID      uint64    `json:"auth_user_id"`
	Phone       string    `json:"phone"` // E.164
	LastUsedAt  time.Time `json:"last_used_at"`
	ChallengeID string    `json:"challenge_id"`
}

// DormantHook knows whether the number of a dormant account is still its
// owner's. The same challenge may be asked about again.
type DormantHook interface {
	// SameOwner reports whether the code opens the account; otherwise the number
	// leaves it for good and becomes a new user's. An Error with
	// CodeAccountDisabled refuses both; any other error means that the hook
	// cannot answer now, and the code stays good.
	SameOwner(ctx context.Context, d Dormant) (bool, error)
}

// Directory says who a phone number is. It is asked only after the code was
// right. One that has a method DefaultRoles() []string says which roles a
// review number may have; without it that is customer.
type Directory interface {
	// Resolve returns the number's account. A number without an account, and a
	// banned one, is an Error with CodeAccountDisabled; any other error means
	// that the directory cannot answer now.
	Resolve(ctx context.Context, phone, challengeID string) (Account, error)
}

// Mover is what a Directory is as well when it keeps the numbers itself, and so
// can give a user another one.
type Mover interface {
	// Move gives the user a number in place of the one before, which it returns;
	// when it is repeated also, until Forget. A number of another account is an
	// Error with CodeAccountDisabled. After any other error the move may be done
	// or not, and never by halves: each number leads to one account, and the user
	// has one number.
	Move(ctx context.Context, user uint64, phone string) (former string, err error)
	// Forget removes what is left of the number before.
	Forget(ctx context.Context, user uint64, former string) error
}

// Finder is what a Directory may be as well: one that knows whose a number is
// without a sign-in.
type Finder interface {
	// Find gives the user of a number; found is false when it is nobody's.
	Find(ctx context.Context, phone string) (id uint64, found bool, err error)
}

// Registry is what a Directory is as well when it keeps the accounts here.
type Registry interface {
	Finder
	// Add makes an account. A zero id, an empty type and nil roles become what a
	// new user has. A number or an id that is in use is an Error with
	// CodePhoneTaken or CodeUserExists. After any other error the same call may
	// be made again, and goes on.
	Add(ctx context.Context, u User) (User, error)
	// Remove takes the number from the user. A number that is another user's
	// stays, and one that is gone is no error.
	Remove(ctx context.Context, id uint64, phone string) error
}
