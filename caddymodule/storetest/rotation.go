package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Rotation holds the one rule of refresh against random schedules on a store:
// refreshes, retries, lost answers, a thief's calls, requests, steps of the
// clock, restarts and crashes, with several callers at once.
func Rotation(t *testing.T, open func(t *testing.T, now func() time.Time) auth.Store) {
	clock := &stepClock{at: time.Now().UTC().Truncate(time.Millisecond)}
	store := open(t, clock.now)
	service := &auth.Service{
		Settings: auth.Settings{
			OTP:       auth.OTP{Length: 6, TTL: time.Minute, Attempts: 5, ResendAfter: time.Second},
			AccessTTL: 15 * time.Minute, RefreshGrace: 30 * time.Second,
			IdleTimeout: 1000 * time.Hour, MaxLifetime: 1000 * time.Hour, MaxPerUser: 3,
		},
		Store: store, Live: auth.NewLive(100), Secrets: openSecrets{}, Outbox: nowhere{},
		Text: func(_, _, _ string) (string, string) { return "", "" }, Now: clock.now, Log: slog.New(slog.DiscardHandler),
	}
	service.Directory = &auth.LocalDirectory{
		Store: store, Secrets: openSecrets{}, Registration: true, UserType: "customer", FirstID: 1, Now: clock.now,
	}
	users := 0
	rapid.Check(t, func(rt *rapid.T) {
		users++
		m := &rotationModel{rt: rt, service: service, clock: clock, generation: 1, rotatedAt: clock.now()}
		m.id = signIn(rt, service, fmt.Sprintf("+4670%07d", users))
		rt.Repeat(map[string]func(*rapid.T){
			"refresh": m.refresh, "request": m.request, "wait": m.wait, "restart": m.restart, "crash": m.crash,
		})
	})
}

func signIn(t *rapid.T, s *auth.Service, phone string) auth.SessionID {
	ctx := context.Background()
	p, err := s.Start(ctx, auth.StartRequest{Phone: phone})
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Verify(ctx, auth.VerifyRequest{ChallengeID: p.ChallengeID, Code: s.Secrets.Code(p.ChallengeID, 6), Kind: auth.RefreshTicket})
	if err != nil {
		t.Fatal(err)
	}
	return g.Identity.SessionID
}

// rotationModel is the rule, said a second time.
type rotationModel struct {
	rt         *rapid.T
	service    *auth.Service
	clock      *stepClock
	id         auth.SessionID
	generation uint32
	rotatedAt  time.Time
	seen       uint32 // newest generation a request has used
	kept       uint32 // what of it a crash leaves
	ended      bool
}

// refresh is the client's, a retry of it, another tab's or a thief's: who calls
// makes no difference, only which generation.
func (m *rotationModel) refresh(rt *rapid.T) {
	back := rapid.SampledFrom([]uint32{0, 0, 0, 1, 1, 2, 3}).Draw(rt, "back")
	if back >= m.generation {
		return
	}
	generation := m.generation - back
	callers := rapid.IntRange(1, 4).Draw(rt, "callers")
	want, code := m.expect(generation)
	type outcome struct {
		generation uint32
		err        error
	}
	outcomes := make([]outcome, callers)
	text := m.service.Secrets.Ticket(auth.Ticket{Kind: auth.RefreshTicket, SessionID: m.id, Generation: generation})
	var wg sync.WaitGroup
	for i := range outcomes {
		wg.Go(func() {
			g, err := m.service.Refresh(context.Background(), text, auth.RefreshTicket)
			outcomes[i] = outcome{g.Generation, err}
		})
	}
	wg.Wait()
	reused := 0
	for _, o := range outcomes {
		switch {
		case code == "" && (o.err != nil || o.generation != want):
			rt.Fatalf("generation %d of %d gave %d, %v; want %d", generation, m.generation, o.generation, o.err, want)
		case code == auth.CodeRefreshReused && errors.Is(o.err, auth.Refuse(code)):
			reused++
		case code != "" && !errors.Is(o.err, auth.Refuse(auth.CodeSessionRevoked)):
			rt.Fatalf("generation %d of %d gave %v; want %s", generation, m.generation, o.err, code)
		}
	}
	if code == auth.CodeRefreshReused && reused == 0 {
		rt.Fatal("nobody was told of the reuse")
	}
	m.apply(want, code)
}

// expect is the rule: the current one rotates; the one before is repeated
// within grace or while its successor is unused; all else ends the session.
func (m *rotationModel) expect(generation uint32) (uint32, auth.Code) {
	inGrace := m.clock.now().Before(m.rotatedAt.Add(m.service.Settings.RefreshGrace))
	switch {
	case m.ended:
		return 0, auth.CodeSessionRevoked
	case generation == m.generation:
		return m.generation + 1, ""
	case generation+1 == m.generation && (inGrace || m.seen < m.generation):
		return m.generation, ""
	}
	return 0, auth.CodeRefreshReused
}

func (m *rotationModel) apply(generation uint32, code auth.Code) {
	switch {
	case code == auth.CodeRefreshReused:
		m.ended = true
	case code == "" && generation > m.generation:
		m.generation, m.rotatedAt = generation, m.clock.now()
	}
}

// request uses an access token of any generation so far.
func (m *rotationModel) request(rt *rapid.T) {
	generation := uint32(rapid.IntRange(1, int(m.generation)).Draw(rt, "generation"))
	_, err := m.service.Authenticate(context.Background(), auth.Proof{SessionID: m.id, Generation: generation}, auth.Activity)
	switch {
	case m.ended && !errors.Is(err, auth.Refuse(auth.CodeSessionRevoked)):
		rt.Fatalf("a request of an ended session: %v", err)
	case !m.ended && err != nil:
		rt.Fatalf("a request of a live session: %v", err)
	case !m.ended:
		m.seen = max(m.seen, generation)
	}
}

func (m *rotationModel) wait(rt *rapid.T) {
	m.clock.step(time.Duration(rapid.SampledFrom([]int{1, 10_000, 29_999, 30_000, 31_000, 3_600_000}).Draw(rt, "ms")) * time.Millisecond)
}

// restart keeps what was flushed at the end.
func (m *rotationModel) restart(rt *rapid.T) {
	if err := m.service.Live.Flush(context.Background(), m.service.Store); err != nil {
		rt.Fatal(err)
	}
	m.kept = m.seen
	m.service.Live = auth.NewLive(100)
}

// crash forgets what was not flushed: only that a generation was used.
func (m *rotationModel) crash(*rapid.T) {
	m.seen = m.kept
	m.service.Live = auth.NewLive(100)
}

type stepClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *stepClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *stepClock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// openSecrets writes everything in the clear: the rule is under test here, not
// the MAC.
type openSecrets struct{}

func (openSecrets) Code(string, int) string         { return "123456" }
func (openSecrets) Index(kind, value string) string { return kind + "-" + value }
func (openSecrets) Ticket(t auth.Ticket) string {
	return fmt.Sprintf("%d %s %d", t.Kind, t.SessionID, t.Generation)
}

func (openSecrets) ParseTicket(text string) (t auth.Ticket, ok bool) {
	var id string
	_, err := fmt.Sscanf(text, "%d %s %d", &t.Kind, &id, &t.Generation)
	t.SessionID, ok = auth.ParseSessionID(id)
	return t, ok && err == nil
}

// nowhere delivers at once.
type nowhere struct{}

func (nowhere) Enqueue(_ auth.Message, done func(error)) error {
	go done(nil)
	return nil
}
