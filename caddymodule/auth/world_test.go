package auth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
	"github.com/sidegate/sidegate/caddymodule/internal/vault"
)

// world is a service with a clock, a telephone and a store that can be broken.
type world struct {
	*auth.Service
	t      testing.TB
	clock  *clock
	outbox *outbox
	store  *faultyStore
	codes  atomic.Int64 // how often a code was derived
}

const (
	alice = "+46701234567"
	bob   = "+46707654321"
)

func newWorld(t testing.TB, change ...func(*auth.Settings)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{at: time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)}, outbox: &outbox{codes: map[string]string{}}}
	secrets, err := vault.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	w.store = &faultyStore{Store: memstore.New(w.clock.Now)}
	settings := auth.Settings{
		OTP:     auth.OTP{Length: 6, TTL: 5 * time.Minute, Attempts: 5, ResendAfter: time.Minute},
		AppName: "Test", AccessTTL: 15 * time.Minute, RefreshGrace: 30 * time.Second,
		IdleTimeout: 7 * 24 * time.Hour, MaxLifetime: 30 * 24 * time.Hour, MaxPerUser: 10,
	}
	for _, c := range change {
		c(&settings)
	}
	w.Service = &auth.Service{
		Settings: settings, Store: w.store, Live: auth.NewLive(1000),
		Health: &auth.Health{Store: w.store, Now: w.clock.Now}, Secrets: countingSecrets{secrets, &w.codes},
		Outbox: w.outbox, Text: func(code, _, locale string) (string, string) { return "code " + code, locale },
		Notice: func(locale string) (string, string) { return "changed", locale },
		Now:    w.clock.Now, Log: slog.New(slog.DiscardHandler),
	}
	w.Directory = &auth.LocalDirectory{
		Store: w.store, Secrets: secrets, Registration: true, UserType: "customer",
		Roles: []string{"customer"}, FirstID: 1, Now: w.clock.Now,
	}
	return w
}

// restart is the same store under a process that remembers nothing.
func (w *world) restart() { w.Live = auth.NewLive(1000) }

// start sends a code to a phone and returns challenge and code.
func (w *world) start(phone string) (id, code string) {
	w.t.Helper()
	p, err := w.Start(w.t.Context(), auth.StartRequest{Phone: phone})
	if err != nil {
		w.t.Fatalf("sending a code: %v", err)
	}
	return p.ChallengeID, w.outbox.code(phone)
}

func (w *world) verify(id, code, device string) (auth.Grant, error) {
	return w.Verify(w.t.Context(), auth.VerifyRequest{
		ChallengeID: id, Code: code, Device: auth.DeviceInput{ID: device}, Kind: auth.RefreshTicket,
	})
}

func (w *world) signIn(phone, device string) auth.Grant {
	w.t.Helper()
	id, code := w.start(phone)
	g, err := w.verify(id, code, device)
	if err != nil {
		w.t.Fatalf("signing in: %v", err)
	}
	return g
}

func (w *world) refresh(ticket string) (auth.Grant, error) {
	return w.Refresh(w.t.Context(), ticket, auth.RefreshTicket)
}

// request is a proxied request with the access token of a grant.
func (w *world) request(g auth.Grant) error {
	_, err := w.Authenticate(w.t.Context(), proof(g), auth.Activity)
	return err
}

func proof(g auth.Grant) auth.Proof {
	return auth.Proof{SessionID: g.Identity.SessionID, Generation: g.Generation, UserID: g.Identity.UserID}
}

func (w *world) info(g auth.Grant) auth.SessionInfo {
	w.t.Helper()
	info, err := w.Session(w.t.Context(), proof(g), g.Identity.SessionID)
	if err != nil {
		w.t.Fatalf("reading the session: %v", err)
	}
	return info
}

// wants fails the test unless err has the code; "" is no error.
func wants(t testing.TB, err error, code auth.Code) {
	t.Helper()
	var got auth.Code
	if err != nil {
		got = auth.AsError(err).Code
	}
	if got != code {
		t.Errorf("got %q (%v), want %q", got, err, code)
	}
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// outbox is a telephone: it keeps the last code of each number.
type outbox struct {
	mu      sync.Mutex
	codes   map[string]string
	sent    []auth.Message
	refuse  error // nothing is taken
	failure error // taken, but not delivered
}

func (o *outbox) Enqueue(m auth.Message, done func(error)) error {
	o.mu.Lock()
	if o.refuse != nil {
		defer o.mu.Unlock()
		return o.refuse
	}
	if m.Code != "" { // a notice has none
		o.codes[m.To] = m.Code
	}
	o.sent = append(o.sent, m)
	failure := o.failure
	o.mu.Unlock()
	finished := make(chan struct{})
	go func() { done(failure); close(finished) }()
	<-finished
	return nil
}

func (o *outbox) code(phone string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.codes[phone]
}

type countingSecrets struct {
	auth.Secrets
	codes *atomic.Int64
}

func (s countingSecrets) Code(id string, length int) string {
	s.codes.Add(1)
	return s.Secrets.Code(id, length)
}

// faultyStore fails at the n-th call from now (and all later ones), or never.
type faultyStore struct {
	auth.Store
	mu     sync.Mutex
	armed  bool
	before int
	calls  int
}

var errDisk = fmt.Errorf("%w: injected", auth.ErrUnavailable)

func (s *faultyStore) failAfter(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.before = true, n
}

func (s *faultyStore) repair() (failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed, s.armed = s.armed && s.before < 0, false
	return failed
}

func (s *faultyStore) count() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if !s.armed {
		return nil
	}
	if s.before--; s.before < 0 {
		return errDisk
	}
	return nil
}

func (s *faultyStore) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	if err := s.count(); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, keys...)
}

func (s *faultyStore) Swap(ctx context.Context, v auth.Version, w auth.Write) (auth.Version, error) {
	if err := s.count(); err != nil {
		return 0, err
	}
	listed(w)
	return s.Store.Swap(ctx, v, w)
}

func (s *faultyStore) Put(ctx context.Context, writes []auth.Write) error {
	if err := s.count(); err != nil {
		return err
	}
	listed(writes...)
	return s.Store.Put(ctx, writes)
}

func (s *faultyStore) Sync(ctx context.Context) error {
	if err := s.count(); err != nil {
		return err
	}
	return s.Store.Sync(ctx)
}

// listed ends the test that writes a record of a kind of which nobody has said
// what a backup makes.
func listed(writes ...auth.Write) {
	for _, w := range writes {
		kind, _, _ := strings.Cut(w.Key, "/")
		if _, known := auth.Kinds[kind]; !known {
			panic("records of the kind " + kind + " are not in auth.Kinds: say there whether a backup carries them")
		}
	}
}

var errNetwork = errors.New("no network")
