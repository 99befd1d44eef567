package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Limits holds what limits promise against random schedules on a store: codes
// asked for and asked for again, right and wrong codes, several at once,
// messages that fail late, steps of the clock in both directions, restarts. In
// no window is there a message or a comparison more than the limits say.
func Limits(t *testing.T, open func(t *testing.T, now func() time.Time) auth.Store) {
	clock := &stepClock{at: time.Now().UTC().Truncate(time.Millisecond)}
	store := open(t, clock.now)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := newLimitsModel(store, clock, runs)
		for range rapid.IntRange(5, 25).Draw(rt, "steps") {
			step := rapid.SampledFrom([]string{"send", "send", "resend", "right", "wrong", "wrong", "wrong", "wrong", "fail", "forward", "back", "restart"}).Draw(rt, "step")
			map[string]func(*rapid.T){
				"send": m.send, "resend": m.resend, "right": m.right, "wrong": m.guess, "fail": m.fail,
				"forward": m.forward, "back": m.back, "restart": func(*rapid.T) { m.service.Live = auth.NewLive(100) },
			}[step](rt)
		}
	})
}

const (
	modelAttempts = 5
	modelSends    = 4  // an hour, to a number
	modelPrefix   = 6  // an hour, to a block
	modelRow      = 15 // in a row; then the next one waits
	modelFailures = 19 // an hour, for a number: more than a row
)

// limitsModel keeps what really went out and was really compared.
type limitsModel struct {
	service *auth.Service
	clock   *stepClock
	codes   *countedCodes
	prefix  string
	elapsed time.Duration // what has truly passed, whatever the clock says

	mu         sync.Mutex
	messages   []*modelMessage
	challenges []*modelChallenge
	wrong      map[string][]time.Duration // comparisons with a wrong code, by number
	row        map[string]int             // of these, since the last right one
}

type modelMessage struct {
	to     string
	at     time.Duration
	done   func(error)
	failed bool
}

type modelChallenge struct {
	id, phone string
	compared  int
}

// countedCodes counts how often a code is derived.
type countedCodes struct {
	openSecrets
	n atomic.Int64
}

func (c *countedCodes) Code(id string, length int) string {
	c.n.Add(1)
	return c.openSecrets.Code(id, length)
}

func newLimitsModel(store auth.Store, clock *stepClock, run int) *limitsModel {
	hour := func(n int) []auth.Limit { return []auth.Limit{{N: n, Window: time.Hour}} }
	m := &limitsModel{
		clock: clock, codes: &countedCodes{}, prefix: fmt.Sprintf("+46%07d", run),
		wrong: map[string][]time.Duration{}, row: map[string]int{},
	}
	m.service = &auth.Service{
		Settings: auth.Settings{
			OTP:       auth.OTP{Length: 6, TTL: 10 * time.Minute, Attempts: modelAttempts, ResendAfter: time.Second},
			AccessTTL: time.Minute, IdleTimeout: time.Hour, MaxLifetime: time.Hour, MaxPerUser: 3,
			Limits: auth.Limits{PhoneSends: hour(modelSends), PrefixSends: hour(modelPrefix), PhoneFailures: hour(modelFailures)},
		},
		Store: store, Live: auth.NewLive(100), Secrets: m.codes, Outbox: m,
		Text: func(string, string, string) (string, string) { return "", "" },
		Now:  clock.now, Log: slog.New(slog.DiscardHandler),
	}
	m.service.Directory = &auth.LocalDirectory{Store: store, Secrets: m.codes, Registration: true, UserType: "customer", FirstID: 1, Now: clock.now}
	return m
}

// Enqueue implements auth.Outbox: what becomes of a message is decided later.
func (m *limitsModel) Enqueue(msg auth.Message, done func(error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages = append(m.messages, &modelMessage{to: msg.To, at: m.elapsed, done: done})
	return nil
}

func (m *limitsModel) phone(rt *rapid.T) string {
	return m.prefix + fmt.Sprintf("%04d", rapid.IntRange(0, 1).Draw(rt, "phone"))
}

func (m *limitsModel) send(rt *rapid.T) { m.ask(rt, m.phone(rt), "") }

func (m *limitsModel) resend(rt *rapid.T) {
	if c := m.challenge(rt); c != nil {
		m.ask(rt, c.phone, c.id)
	}
}

// ask lets several ask at once, and counts what went out.
func (m *limitsModel) ask(rt *rapid.T, phone, challenge string) {
	var wg sync.WaitGroup
	for range rapid.IntRange(1, 3).Draw(rt, "callers") {
		wg.Go(func() {
			p, err := m.service.Start(context.Background(), auth.StartRequest{Phone: phone, ChallengeID: challenge})
			if err != nil {
				return
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if !slices.ContainsFunc(m.challenges, func(c *modelChallenge) bool { return c.id == p.ChallengeID }) {
				m.challenges = append(m.challenges, &modelChallenge{id: p.ChallengeID, phone: phone})
			}
		})
	}
	wg.Wait()
	if n := m.recent(func(o *modelMessage) bool { return o.to == phone }); n > modelSends {
		rt.Fatalf("%d messages to one number within an hour", n)
	}
	if n := m.recent(func(*modelMessage) bool { return true }); n > modelPrefix {
		rt.Fatalf("%d messages to one block within an hour", n)
	}
}

// recent counts the messages of the last hour that were not given back.
func (m *limitsModel) recent(which func(*modelMessage) bool) (n int) {
	for _, o := range m.messages {
		if !o.failed && which(o) && o.at > m.elapsed-time.Hour {
			n++
		}
	}
	return n
}

// fail lets a message fail, perhaps long after it was handed over.
func (m *limitsModel) fail(rt *rapid.T) {
	open := slices.DeleteFunc(slices.Clone(m.messages), func(o *modelMessage) bool { return o.done == nil })
	if len(open) == 0 {
		return
	}
	o := open[rapid.IntRange(0, len(open)-1).Draw(rt, "message")]
	o.failed = true
	o.done(errors.New("no network"))
	o.done = nil
}

func (m *limitsModel) challenge(rt *rapid.T) *modelChallenge {
	if len(m.challenges) == 0 {
		return nil
	}
	return m.challenges[rapid.IntRange(0, len(m.challenges)-1).Draw(rt, "challenge")]
}

func (m *limitsModel) right(rt *rapid.T) {
	c := m.challenge(rt)
	if c == nil {
		return
	}
	before := m.codes.n.Load()
	_, err := m.service.Verify(context.Background(), auth.VerifyRequest{ChallengeID: c.id, Code: "123456", Kind: auth.RefreshTicket})
	m.compared(rt, c, int(m.codes.n.Load()-before))
	if err == nil {
		m.row[c.phone] = 0
	}
}

// guess lets several wrong codes come at once.
func (m *limitsModel) guess(rt *rapid.T) {
	c := m.challenge(rt)
	if c == nil {
		return
	}
	now, row, past := m.elapsed, m.row[c.phone], m.wrong[c.phone]
	before := m.codes.n.Load()
	var wg sync.WaitGroup
	for range rapid.IntRange(1, 5).Draw(rt, "guesses") {
		wg.Go(func() {
			_, _ = m.service.Verify(context.Background(), auth.VerifyRequest{ChallengeID: c.id, Code: "000000", Kind: auth.RefreshTicket})
		})
	}
	wg.Wait()
	n := int(m.codes.n.Load() - before)
	m.compared(rt, c, n)
	if n == 0 {
		return
	}
	if row+n > modelRow && (row < modelRow || n > 1) {
		rt.Fatalf("%d wrong codes compared at once after %d in a row", n, row)
	}
	if row >= modelRow && now-past[len(past)-1] < 30*time.Second {
		rt.Fatalf("a wrong code compared %v after %d in a row", now-past[len(past)-1], row)
	}
	m.row[c.phone] += n
	m.wrong[c.phone] = append(past, slices.Repeat([]time.Duration{now}, n)...)
	recent := 0
	for _, at := range m.wrong[c.phone] {
		if at > now-time.Hour {
			recent++
		}
	}
	if recent > modelFailures {
		rt.Fatalf("%d wrong codes compared for one number within an hour", recent)
	}
}

func (m *limitsModel) compared(rt *rapid.T, c *modelChallenge, n int) {
	if c.compared += n; c.compared > modelAttempts {
		rt.Fatalf("%d comparisons with one challenge", c.compared)
	}
}

func (m *limitsModel) forward(rt *rapid.T) {
	d := time.Duration(rapid.SampledFrom([]int{1, 29, 31, 61, 599, 1799, 3599, 3600}).Draw(rt, "seconds")) * time.Second
	m.clock.step(d)
	m.elapsed += d
}

// back sets the clock back: no time passes by it, and none is won.
func (m *limitsModel) back(rt *rapid.T) {
	m.clock.step(-time.Duration(rapid.SampledFrom([]int{1, 60, 1800, 7200}).Draw(rt, "seconds")) * time.Second)
}
