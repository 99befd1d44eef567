package auth

import (
	"context"
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

// Message is a code on its way to a phone.
type Message struct {
	ID        string    `json:"id"` // the same at every retry
	To        string    `json:"to"` // E.164
	Code      string    `json:"code"`
	Text      string    `json:"text"` // what the person reads
	Channel   string    `json:"channel"`
	AppName   string    `json:"app_name"`
	ExpiresAt time.Time `json:"expires_at"`
	// Language is the text's, as a tag such as pt-BR, for whoever speaks it;
	// empty when it is not known.
	Language string `json:"-"`
}

// Outbox delivers messages in the background. One implementation stands in
// internal/sender.
type Outbox interface {
	// Enqueue takes the message for delivery and returns at once. done is called
	// exactly once with the outcome, from another goroutine. It returns an
	// error, and never calls done, when the message was not taken: the queue is
	// full or every sender is known to be down.
	Enqueue(m Message, done func(error)) error
}

// Account is what a directory says of a phone number.
type Account struct {
	UserID uint64
	Type   string   // empty: Type and Roles stay as the user's record has them
	Roles  []string // shared: do not change
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
