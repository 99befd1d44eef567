package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// node is what one process has: a store, a table, and the rules over them.
type node struct {
	*auth.Service
	t testing.TB
}

// newNodes opens n nodes over one Redis, with a prefix of their own.
func newNodes(t testing.TB, n int, opt Options) []node {
	t.Helper()
	opt.Prefix = freshPrefix()
	nodes := make([]node, n)
	for i := range nodes {
		nodes[i] = newNode(t, opt)
	}
	return nodes
}

func newNode(t testing.TB, opt Options) node {
	t.Helper()
	secrets := testVault(t)
	opt.Seal = secrets
	store := openAt(t, opt)
	live := auth.NewLive(1000)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := live.Follow(ctx, store); err != nil {
		t.Fatal(err)
	}
	s := &auth.Service{
		Settings: auth.Settings{
			OTP:       auth.OTP{Length: 6, TTL: 5 * time.Minute, Attempts: 5, ResendAfter: time.Second},
			AccessTTL: 15 * time.Minute, RefreshGrace: 30 * time.Second,
			IdleTimeout: time.Hour, MaxLifetime: 24 * time.Hour, MaxPerUser: 10,
		},
		Store: store, Live: live, Secrets: secrets, Outbox: nowhere{}, Now: time.Now,
		Text: func(_, _, _ string) (string, string) { return "", "" }, Log: slog.New(slog.DiscardHandler),
	}
	s.Directory = &auth.LocalDirectory{
		Store: store, Secrets: secrets, Registration: true, UserType: "customer", Roles: []string{"customer"}, FirstID: 1, Now: time.Now,
	}
	return node{s, t}
}

// nowhere delivers at once.
type nowhere struct{}

func (nowhere) Enqueue(_ auth.Message, done func(error)) error {
	go done(nil)
	return nil
}

var phones atomic.Int64

// signIn signs a new person in.
func (n node) signIn() auth.Grant {
	n.t.Helper()
	g, err := n.trySignIn()
	if err != nil {
		n.t.Fatal(err)
	}
	return g
}

func (n node) trySignIn() (auth.Grant, error) {
	ctx, phone := n.t.Context(), fmt.Sprintf("+4670%07d", phones.Add(1))
	p, err := n.Start(ctx, auth.StartRequest{Phone: phone})
	if err != nil {
		return auth.Grant{}, err
	}
	return n.Verify(ctx, auth.VerifyRequest{ChallengeID: p.ChallengeID, Code: n.Secrets.Code(p.ChallengeID, 6), Kind: auth.RefreshTicket})
}

func claim(g auth.Grant) auth.Proof {
	return auth.Proof{SessionID: g.Identity.SessionID, Generation: g.Generation, UserID: g.Identity.UserID}
}

// request is a proxied request.
func (n node) request(g auth.Grant) error {
	_, err := n.Authenticate(n.t.Context(), claim(g), auth.Activity)
	return err
}

func (n node) passes(g auth.Grant) {
	n.t.Helper()
	if err := n.request(g); err != nil {
		n.t.Errorf("a request of a live session: %v", err)
	}
}

func (n node) logout(g auth.Grant) error {
	return n.Logout(n.t.Context(), claim(g), auth.ScopeSession)
}

func isRevoked(err error) bool { return errors.Is(err, auth.Refuse(auth.CodeSessionRevoked)) }

// within waits until something holds, and tells how long it took.
func within(t testing.TB, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !holds() {
		if time.Since(start) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(100 * time.Microsecond)
	}
	return time.Since(start)
}
