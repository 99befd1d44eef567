//go:build unix

package caddymodule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/badgerstore"
	"github.com/sidegate/sidegate/caddymodule/internal/vault"
)

func init() { caddy.RegisterModule(new(countedStore)) }

// countedStore is the embedded store; it counts what is asked of it, and hands
// itself to the tests.
type countedStore struct{ caddymodule.BadgerStore }

func (*countedStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.stores.counted", New: func() caddy.Module { return new(countedStore) }}
}

func (s *countedStore) Open(ctx context.Context, seal caddymodule.Sealer, log *slog.Logger) (auth.Store, io.Closer, error) {
	store, closer, err := s.BadgerStore.Open(ctx, seal, log)
	counted.Store = store
	return &counted, closer, err
}

// counted is the store of the running countedStore.
var counted countingStore

type countingStore struct {
	auth.Store
	reads, swaps atomic.Int64
}

func (s *countingStore) Get(ctx context.Context, keys ...string) ([]auth.Record, error) {
	s.reads.Add(1)
	return s.Store.Get(ctx, keys...)
}

func (s *countingStore) Swap(ctx context.Context, v auth.Version, w auth.Write) (auth.Version, error) {
	s.swaps.Add(1)
	return s.Store.Swap(ctx, v, w)
}

// warmGate is a gate of its own over the running app, without a server around
// it, and somebody who is signed in.
type warmGate struct {
	handler caddyhttp.MiddlewareHandler
	app     *caddymodule.App
	request *http.Request
	tokens  tokens

	authorization string
	line          [1]string // of the request's Authorization
	lastUser      uint64
}

const warmPhone = "+15555550100"

func newWarmGate(t testing.TB) *warmGate {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	err := caddy.Load(adapt(t, fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	log {
		output file %s
	}
	sidegate {
		store counted {
			path %s
		}
		sender log
		otp {
			test_number %s 424242 until %s
		}
	}
}
http://%s {
	bind 127.0.0.1
	sidegate
}
`, filepath.Join(dir, "log"), filepath.Join(dir, "store"), warmPhone, time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly), address)), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	ctx := caddy.ActiveContext()
	module, err := ctx.LoadModuleByID("http.handlers.sidegate", json.RawMessage(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("sidegate")
	if err != nil {
		t.Fatal(err)
	}
	g := &warmGate{handler: module.(caddyhttp.MiddlewareHandler), app: app.(*caddymodule.App), lastUser: 1000}
	g.signIn(t, address)
	g.authorization = bearer(g.tokens)
	g.request = httptest.NewRequest("GET", "http://app.example.com/app/items?page=2", nil)
	g.request.RequestURI = g.request.URL.RequestURI() // as servers get it
	for name, value := range map[string]string{
		"User-Agent": "Mozilla/5.0", "Accept": "application/json", "Accept-Language": "en", "Accept-Encoding": "gzip, br",
		"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Cookie": "theme=dark; lang=en",
	} {
		g.request.Header.Set(name, value)
	}
	return g
}

func (g *warmGate) signIn(t testing.TB, address string) {
	t.Helper()
	var pending struct {
		ID string `json:"challenge_id"`
	}
	for _, step := range []struct {
		path string
		body func() string
		into any
	}{
		{"/otp", func() string { return `{"phone":"` + warmPhone + `"}` }, &pending},
		{"/otp/verify", func() string { return `{"challenge_id":"` + pending.ID + `","code":"424242"}` }, &g.tokens},
	} {
		s := site{t: nil, address: address, client: http.DefaultClient}
		r, err := s.try("POST", apiPath+step.path, step.body())
		if err != nil || json.Unmarshal(r.body, step.into) != nil || r.status >= 300 {
			t.Fatalf("%s: %d %s, %v", step.path, r.status, r.body, err)
		}
	}
}

// pass is one request: Caddy's own preparation, and the gate unless it is left
// out.
func (g *warmGate) pass(w http.ResponseWriter, gate bool) error {
	// The request before has lost its credential and gained an identity.
	for _, name := range identityHeaders {
		delete(g.request.Header, name)
	}
	g.line[0] = g.authorization
	g.request.Header["Authorization"] = g.line[:]
	r := caddyhttp.PrepareRequest(g.request, caddy.NewReplacer(), w, nil)
	if !gate {
		return noop(w, r)
	}
	return g.handler.ServeHTTP(w, r, caddyhttp.HandlerFunc(noop))
}

func noop(http.ResponseWriter, *http.Request) error { return nil }

var identityHeaders = []string{
	"X-Auth-User-Id", "X-Auth-User-Type", "X-Auth-User-Roles", "X-Auth-Session-Id", "X-Auth-Device-Id", "X-Auth-Time",
}

// populate puts sessions into the store as sign-ins leave them, and into the
// table by a request of each.
func (g *warmGate) populate(t testing.TB, sessions int) (ids []auth.SessionID) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Millisecond)
	record := func(key string, v any) auth.Write {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return auth.Write{Key: key, Value: append([]byte{1}, text...)} // the first byte is the format
	}
	for range sessions / 10 {
		g.lastUser++
		user := auth.User{ID: g.lastUser, Type: "customer", Roles: []string{"customer"}, CreatedAt: now}
		var writes []auth.Write
		for range 10 {
			id := auth.NewSessionID()
			user.Sessions = append(user.Sessions, auth.Seat{SessionID: id, DeviceID: "browser"})
			writes = append(writes, record("session/"+id.String(), auth.Session{
				ID: id, UserID: user.ID, DeviceID: "browser", CreatedAt: now, AuthTime: now, ExpiresAt: now.Add(time.Hour), Generation: 1, RotatedAt: now,
			}))
		}
		if err := counted.Put(t.Context(), append(writes, record(fmt.Sprint("user/", user.ID), user))); err != nil {
			t.Fatal(err)
		}
		for _, seat := range user.Sessions {
			if _, err := g.app.Authenticate(t.Context(), auth.Proof{SessionID: seat.SessionID, Generation: 1}, auth.Activity); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, seat.SessionID)
		}
	}
	return ids
}

// BenchmarkGate is the handler alone, with a warm token, in front of a handler
// that does nothing. gate-ns/op is the processor time that it adds to Caddy's
// own preparation of a request; each op is one request without the gate and one
// with it. What it costs in a running proxy is for cmd/bench to say.
func BenchmarkGate(b *testing.B) {
	g := newWarmGate(b)
	populated := 0
	for _, sessions := range []int{0, 1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			g.populate(b, sessions-populated)
			populated = sessions
			var without, with time.Duration
			b.ResetTimer()
			// In turn, so that a busy machine slows both.
			for left := b.N; left > 0; left -= turn {
				without += g.passes(b, min(left, turn), false)
				with += g.passes(b, min(left, turn), true)
			}
			b.ReportMetric(float64((with-without).Nanoseconds())/float64(b.N), "gate-ns/op")
		})
	}
}

const turn = 1000

// passes returns the processor time of n requests. What neighbours take of a
// shared machine is not in it.
func (g *warmGate) passes(b *testing.B, n int, gate bool) time.Duration {
	start := processorTime(b)
	for range n {
		if err := g.pass(discard{}, gate); err != nil {
			b.Fatal(err)
		}
	}
	return processorTime(b) - start
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type discard struct{}

func (discard) Header() http.Header         { return nil }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func TestGateAllocates(t *testing.T) {
	g := newWarmGate(t)
	allocations := func(gate bool) float64 {
		return testing.AllocsPerRun(200, func() {
			if err := g.pass(discard{}, gate); err != nil || gate == (g.request.Header["X-Auth-User-Id"] == nil) {
				t.Fatal("not let through", err)
			}
		})
	}
	if n := allocations(true) - allocations(false); n > 3 {
		t.Errorf("got %v allocations, want at most 3", n)
	}
}

// A warm request is answered from memory. Only the writer of touches may be
// heard of at the store, and it reads nothing.
func TestWarmRequestReadsNoStore(t *testing.T) {
	g := newWarmGate(t)
	pass := func() {
		t.Helper()
		if err := g.pass(discard{}, true); err != nil || g.request.Header["X-Auth-User-Id"] == nil {
			t.Fatal("not let through", err)
		}
	}
	pass()
	reads, swaps := counted.reads.Load(), counted.swaps.Load()
	if reads == 0 || swaps == 0 {
		t.Fatal("the sign-in was not counted, so nothing is")
	}
	for range 100 {
		pass()
	}
	if r, s := counted.reads.Load()-reads, counted.swaps.Load()-swaps; r+s > 0 {
		t.Errorf("100 warm requests read %d times and wrote %d times", r, s)
	}
}

// BenchmarkRefresh is a durable rotation: the answer waits for the disk.
// Callers at the same time share their syncs.
func BenchmarkRefresh(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := newService(b)
			tickets := make([]string, clients)
			for i := range tickets {
				tickets[i] = signIn(b, s, fmt.Sprintf("+4670%07d", i))
			}
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for i := range tickets {
				wg.Go(func() {
					for next.Add(1) <= int64(b.N) {
						g, err := s.Refresh(b.Context(), tickets[i], auth.RefreshTicket)
						if err != nil {
							b.Error(err)
							return
						}
						tickets[i] = g.Ticket
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
		})
	}
}

// newService is the domain over the embedded store.
func newService(t testing.TB) *auth.Service {
	t.Helper()
	secrets, err := vault.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	store, err := badgerstore.Open(badgerstore.Options{Path: t.TempDir(), Seal: secrets, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return &auth.Service{
		Settings: auth.Settings{
			OTP:       auth.OTP{Length: 6, TTL: time.Minute, Attempts: 5, ResendAfter: time.Second},
			AccessTTL: time.Minute, IdleTimeout: time.Hour, MaxLifetime: time.Hour, MaxPerUser: 10,
		},
		Store: store, Live: auth.NewLive(1000), Secrets: secrets, Outbox: nowhere{}, Now: time.Now,
		Directory: &auth.LocalDirectory{Store: store, Secrets: secrets, Registration: true, FirstID: 1, Now: time.Now},
		Text:      func(_, _, _ string) (string, string) { return "", "" }, Log: slog.New(slog.DiscardHandler),
	}
}

type nowhere struct{}

func (nowhere) Enqueue(auth.Message, func(error)) error { return nil }

func signIn(t testing.TB, s *auth.Service, phone string) (ticket string) {
	t.Helper()
	p, err := s.Start(t.Context(), auth.StartRequest{Phone: phone})
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Verify(t.Context(), auth.VerifyRequest{ChallengeID: p.ChallengeID, Code: s.Secrets.Code(p.ChallengeID, 6), Kind: auth.RefreshTicket})
	if err != nil {
		t.Fatal(err)
	}
	return g.Ticket
}
