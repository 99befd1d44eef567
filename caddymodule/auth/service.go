// Package auth holds the rules of Sidegate: users, devices, sessions,
// challenges, rotation and limits. It knows no Caddy, no database, no HTTP and
// no token format; what it needs of them stands in ports.go and store.go.
//
// Every decision is one compare-and-swap on one record (see Store). What spans
// records is ordered so that a crash in between loses nothing that was
// answered, and opens nothing that was not.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Settings are the rules of one configuration.
type Settings struct {
	OTP     OTP
	Limits  Limits
	AppName string

	AccessTTL    time.Duration // life of an access token
	RefreshGrace time.Duration // how long a predecessor stays good after its successor was used
	IdleTimeout  time.Duration // a session without activity ends
	MaxLifetime  time.Duration // a session ends, whatever happens
	MaxPerUser   int           // live sessions of one user

	// How long a session's record outlives it, and a device's its last sign-in;
	// zero: 30 and 400 days.
	SessionRetention, DeviceRetention time.Duration
}

// OTP are the rules for codes.
type OTP struct {
	Length      int           // digits
	TTL         time.Duration // of a challenge
	Attempts    int           // comparisons per challenge
	ResendAfter time.Duration // between two messages of a challenge
	TestNumbers []TestNumber
}

// TestNumber is a number that gets no message and whose code is fixed, for app
// reviewers.
type TestNumber struct {
	Phone string // E.164
	Code  string
	Until time.Time
}

// Service carries out the rules. Store, Live and Health outlive a
// configuration; the rest is its own.
type Service struct {
	Settings  Settings
	Store     Store
	Live      *Live
	Health    *Health // of the store; needed by Healthy alone
	Secrets   Secrets
	Outbox    Outbox
	Directory Directory
	// Text is what the person reads, and its language where that is known.
	// locale is what StartRequest has.
	Text func(code, phone, locale string) (text, language string)
	// Notice is what reads the owner of a number that a user had before. locale
	// is what ChangeRequest has.
	Notice func(locale string) (text, language string)
	// Reaches reports whether a message can go to a number on a channel (sms,
	// voice, whatsapp); nil: sms alone, to all.
	Reaches func(phone, channel string) bool
	// Tell hears of what happens, proxied requests aside; nil: nobody does. It
	// is called by many requests at once, which wait for it.
	Tell func(Event)
	// Step hears that something slow begins, which name says (directory, send),
	// and gives a context for it and what to call at its end; nil: nobody does.
	Step func(ctx context.Context, name string) (context.Context, func(error))
	Now  func() time.Time
	Log  *slog.Logger
}

func (s *Service) step(ctx context.Context, name string) (context.Context, func(error)) {
	if s.Step == nil {
		return ctx, func(error) {}
	}
	return s.Step(ctx, name)
}

// now is the instant that records hold: the clock's, to the millisecond.
func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Millisecond) }

// lasting is the context of a decision once it has begun: a client that leaves
// in the middle does not leave it half done. The time bounds a store that hangs.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}

// errUnchanged ends an update that has nothing to write.
var errUnchanged = errors.New("unchanged")

// update reads a record, lets change decide, and swaps; when somebody else was
// faster it starts over. change gets the zero value for a missing record, and
// returns errUnchanged to write nothing. What was read may not be durable yet,
// so an answer that rests on it waits for Sync.
func update[T any](ctx context.Context, s Store, key string, change func(v *T, exists bool) (Write, error)) (v T, err error) {
	for range 1000 {
		var read []Record
		if read, err = s.Get(ctx, key); err != nil {
			return v, fmt.Errorf("reading %s: %w", kindOf(key), err)
		}
		v = *new(T)
		exists := read[0].Version != 0
		if exists {
			if err = decode(read[0].Value, &v); err != nil {
				return v, err
			}
		}
		w, refused := change(&v, exists)
		if refused != nil && !errors.Is(refused, errUnchanged) {
			return v, refused
		}
		if refused != nil {
			return v, s.Sync(ctx)
		}
		if w, err = writing(key, v, w); err != nil {
			return v, err
		}
		if _, err = s.Swap(ctx, read[0].Version, w); !errors.Is(err, ErrConflict) {
			return v, err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return v, fmt.Errorf("writing %s: %w", kindOf(key), ErrUnavailable)
}

// read gets one record.
func read[T any](ctx context.Context, s Store, key string) (v T, exists bool, err error) {
	v, at, err := readAt[T](ctx, s, key)
	return v, at != 0, err
}

// readAt gets one record and its version; 0 when there is none.
func readAt[T any](ctx context.Context, s Store, key string) (v T, at Version, err error) {
	records, err := s.Get(ctx, key)
	if err != nil {
		return v, 0, fmt.Errorf("reading %s: %w", kindOf(key), err)
	}
	if records[0].Version == 0 {
		return v, 0, nil
	}
	return v, records[0].Version, decode(records[0].Value, &v)
}

// kindOf is what an error may say of a key: the rest names a person.
func kindOf(key string) string {
	for i := range key {
		if key[i] == '/' {
			return key[:i]
		}
	}
	return key
}

// Healthy reports whether the store takes writes, and other nodes can be heard.
func (s *Service) Healthy(ctx context.Context) error {
	if err := s.Live.trusts(s.Now()); err != nil {
		return err
	}
	return s.Health.Check(ctx)
}
