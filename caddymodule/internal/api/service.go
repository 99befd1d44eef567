package api

import (
	"context"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Codes sends one-time codes and takes them back.
type Codes interface {
	Start(ctx context.Context, req auth.StartRequest) (auth.Pending, error)
	Status(ctx context.Context, challengeID string) (auth.Status, error)
	Report(ctx context.Context, r auth.Report) error
	Verify(ctx context.Context, req auth.VerifyRequest) (auth.Grant, error)
}

// Credentials says whom a credential is from, and renews it.
type Credentials interface {
	Refresh(ctx context.Context, ticket string, kind auth.TicketKind) (auth.Grant, error)
	Authenticate(ctx context.Context, proof auth.Proof, use auth.Use) (auth.Identity, error)
	AuthenticateCookie(ctx context.Context, value string, use auth.Use, rotate bool) (id auth.Identity, rotated string, maxAge time.Duration, err error)
	ProofOfTicket(text string) (auth.Proof, bool)
}

// Sessions shows and ends the sessions of their owner.
type Sessions interface {
	Session(ctx context.Context, owner auth.Proof, id auth.SessionID) (auth.SessionInfo, error)
	Sessions(ctx context.Context, owner auth.Proof) ([]auth.SessionInfo, error)
	Activity(ctx context.Context, owner auth.Proof, id auth.SessionID, at time.Time) error
	Endings
}

// Fates tells what becomes of a session.
type Fates interface {
	Watch(id auth.SessionID) (news <-chan struct{}, stop func())
	Standing(ctx context.Context, id auth.SessionID) (end auth.EndReason, due time.Time, err error)
}

// Endings takes access away. A repeated call is no error.
type Endings interface {
	Logout(ctx context.Context, owner auth.Proof, scope auth.Scope) error
	Revoke(ctx context.Context, owner auth.Proof, id auth.SessionID) error
	RevokeOthers(ctx context.Context, owner auth.Proof) error
}

// Accounts shows and changes what is known of the owner.
type Accounts interface {
	UpdateDevice(ctx context.Context, owner auth.Proof, in auth.DeviceInput) (device auth.Device, hasPush bool, err error)
	User(ctx context.Context, owner auth.Proof) (auth.User, error)
	StartPhoneChange(ctx context.Context, owner auth.Proof, req auth.StartRequest) (auth.Pending, error)
	ChangePhone(ctx context.Context, owner auth.Proof, req auth.ChangeRequest) (user auth.User, deviceProof string, err error)
	Healthy(ctx context.Context) error
}

// Service is the domain as these routes need it; *auth.Service is one.
type Service interface {
	Codes
	Credentials
	Sessions
	Fates
	Accounts
}

// Tokens makes and reads access tokens. Errors of the two Verify methods are
// refusals of package auth.
type Tokens interface {
	Sign(g auth.Grant) (string, error)
	Verify(text string) (auth.Proof, error)
	VerifyIgnoringExpiry(text string) (auth.Proof, error)
	JWKS() []byte
}
