// Package simulate runs the limits of a configuration against attacks and
// against recorded traffic: the real domain on a store in memory, with a clock
// of its own, so that hours pass in seconds and no message goes out.
package simulate

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"math/bits"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
	"github.com/sidegate/sidegate/caddymodule/internal/vault"
)

// Limits are those of one configuration.
type Limits = auth.Limits

// world is a service of its own, with its time and its telephones.
type world struct {
	service  *auth.Service
	now      time.Time
	sent     map[string]string // the last code that went to a number
	messages int
	derived  atomic.Int64 // codes that were looked at, to send or to compare
}

func newWorld(limits Limits, start time.Time) (*world, error) {
	w := &world{now: start, sent: map[string]string{}}
	key := make([]byte, vault.KeySize)
	secrets, err := vault.New(key)
	if err != nil {
		return nil, err
	}
	now := func() time.Time { return w.now }
	store := memstore.New(now)
	w.service = &auth.Service{
		Settings: auth.Settings{
			OTP:    auth.OTP{Length: 6, TTL: 5 * time.Minute, Attempts: 5, ResendAfter: time.Minute},
			Limits: limits, AccessTTL: 15 * time.Minute, IdleTimeout: 7 * 24 * time.Hour, MaxLifetime: 30 * 24 * time.Hour, MaxPerUser: 10,
		},
		Store: store, Live: auth.NewLive(100), Secrets: counting{secrets, &w.derived}, Outbox: w,
		Directory: &auth.LocalDirectory{Store: store, Secrets: secrets, Registration: true, UserType: "customer", FirstID: 1, Now: now},
		Text:      func(string, string, string) (string, string) { return "", "" },
		Now:       now, Log: slog.New(slog.DiscardHandler),
	}
	return w, nil
}

// counting counts how often a code is derived.
type counting struct {
	auth.Secrets
	derived *atomic.Int64
}

func (c counting) Code(id string, length int) string {
	c.derived.Add(1)
	return c.Secrets.Code(id, length)
}

// Enqueue implements auth.Outbox: every message arrives at once.
func (w *world) Enqueue(m auth.Message, done func(error)) error {
	w.sent[m.To] = m.Code
	w.messages++
	delivered := make(chan struct{})
	go func() { done(nil); close(delivered) }()
	<-delivered
	return nil
}

// ask asks for a code; code is empty when no message went out. Whoever has the
// client solves a puzzle; an attacker's script does not.
func (w *world) ask(r auth.StartRequest, hasClient bool) (challenge, code string, err error) {
	before := w.messages
	p, err := w.service.Start(context.Background(), r)
	var refusal *auth.Error
	if hasClient && errors.As(err, &refusal) && refusal.Puzzle != nil {
		r.Proof = solve(*refusal.Puzzle)
		p, err = w.service.Start(context.Background(), r)
	}
	if err != nil || w.messages == before {
		return p.ChallengeID, "", err
	}
	return p.ChallengeID, w.sent[r.Phone], nil
}

func (w *world) verify(r auth.VerifyRequest) (auth.Grant, error) {
	r.Kind = auth.CookieTicket
	return w.service.Verify(context.Background(), r)
}

// solve does the work that docs/fraud.md describes.
func solve(p auth.Puzzle) string {
	text := []byte(p.Challenge + ".")
	for n, start := int64(0), len(text); ; n++ {
		text = strconv.AppendInt(text[:start], n, 36)
		if sum := sha256.Sum256(text); zeroBits(sum) >= p.Bits {
			return string(text)
		}
	}
}

func zeroBits(sum [sha256.Size]byte) (n int) {
	for _, b := range sum {
		if n += bits.LeadingZeros8(b); b != 0 {
			break
		}
	}
	return n
}
