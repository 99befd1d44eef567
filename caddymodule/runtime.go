package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/move"
	"github.com/sidegate/sidegate/caddymodule/internal/phone"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
	"github.com/sidegate/sidegate/caddymodule/internal/token"
	"github.com/sidegate/sidegate/caddymodule/internal/vault"
)

// engine is what outlives a configuration: the open store, the table of live
// sessions over it with the requests in flight, and the secrets of the store's
// root key. It is shared by all configurations with the same store address.
type engine struct {
	store   auth.Store // guarded, and before it the mirror
	mirror  *move.Mirror
	seal    Sealer
	log     *slog.Logger
	live    *auth.Live
	health  *auth.Health
	vault   *vault.Vault
	masters sync.Mutex // held while the master keys that open the store change
	audit   *auditor
	stop    context.CancelFunc
	keepers sync.WaitGroup

	moving   sync.Mutex      // held while the place of the records changes
	home     home            // where they are
	leases   map[string]bool // the addresses under which configurations hold it
	transfer *transfer       // the last one, which may be over; nil: there was none

	mu      sync.Mutex
	serving []*auth.Service // of the configurations that use it, the newest last
}

// home is an open store, and where that is.
type home struct {
	address, place string // for us, and for people
	store          auth.Store
	close          io.Closer
}

var engines = caddy.NewUsagePool()

const (
	touchEvery   = 3 * time.Second // a touch is at most 5 s old in the store
	liveCapacity = 4 << 20         // entries of about 200 bytes
	openTimeout  = 30 * time.Second
)

// openEngine opens the store, or joins the one that is open at its address.
func openEngine(m Store, source masterSource, log *slog.Logger) (*engine, error) {
	address := m.Address()
	value, loaded, err := engines.LoadOrNew(address, func() (caddy.Destructor, error) {
		ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
		defer cancel()
		e, err := arrived(ctx, address, source)
		if e == nil && err == nil {
			e, err = newEngine(m, source, log)
		}
		if err != nil {
			return nil, err
		}
		return e.lease(address), nil
	})
	if err != nil {
		return nil, err
	}
	e := value.(*lease).engine
	if loaded {
		ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
		defer cancel()
		if err := e.sameKey(ctx, source); err != nil {
			_, released := engines.Delete(address)
			return nil, errors.Join(err, released)
		}
	}
	return e, nil
}

func newEngine(m Store, source masterSource, log *slog.Logger) (*engine, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	master, err := source.master(ctx, false)
	if err != nil {
		return nil, err
	}
	seal := new(vault.Late) // the root key is in the store itself
	store, closer, err := m.Open(ctx, openMark{seal}, log)
	if err != nil {
		return nil, err
	}
	// An engine that looks through millions of records has taken longer than that.
	ctx, cancel = context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	mirror := move.NewMirror(store)
	safe := guarded{mirror, log}
	e := &engine{
		store: safe, mirror: mirror, seal: openMark{seal}, log: log, live: auth.NewLive(liveCapacity),
		health: &auth.Health{Store: safe, Now: time.Now}, leases: map[string]bool{},
		home: home{address: m.Address(), place: placeOf(m), store: store, close: closer},
	}
	// Before anything is read that could change. It also waits until all of the
	// store answers: a Cluster may be starting with us.
	if shared, ok := store.(auth.Follower); ok {
		if err := e.live.Follow(ctx, shared); err != nil {
			return nil, errors.Join(err, closer.Close())
		}
	}
	if err := e.unlock(ctx, master, seal); err != nil {
		return nil, errors.Join(err, closer.Close())
	}
	if err := e.begin(ctx, log); err != nil {
		return nil, errors.Join(err, closer.Close())
	}
	return e, nil
}

// unlock opens the root key, of a store that may be used: the half of a copy has
// none yet, and must not get one.
func (e *engine) unlock(ctx context.Context, master *vault.Master, seal *vault.Late) (err error) {
	if err = unmarked(ctx, e.home); err != nil {
		return err
	}
	if e.vault, err = e.keyring().Open(ctx, master); err == nil {
		seal.Use(e.vault)
	}
	return err
}

// begin reads what must be known before the first request, and starts the
// keepers.
func (e *engine) begin(ctx context.Context, log *slog.Logger) (err error) {
	if err := e.live.Hear(ctx, e.store); err != nil {
		return err
	}
	if e.audit, err = openAuditor(ctx, e.store); err != nil {
		return err
	}
	keep, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.keepers.Go(func() {
		e.live.Keep(keep, e.store, touchEvery, func(err error) { log.Error("keeping up with the store", "error", err) })
	})
	e.keepers.Go(func() {
		e.audit.keep(keep, touchEvery, func(err error) { log.Error("the audit's head stays as it was", "error", err) })
	})
	e.keepers.Go(func() { auth.Patrol(keep, e.newest) })
	e.keepers.Go(func() { auth.Lapse(keep, e.newest) })
	return nil
}

// join makes a configuration's rules those for what is in flight.
func (e *engine) join(s *auth.Service) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.serving = append(e.serving, s)
}

// part is the end of a configuration: after a reload of the old one, and of the
// new one when it could not start.
func (e *engine) part(s *auth.Service) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.serving = slices.DeleteFunc(e.serving, func(other *auth.Service) bool { return other == s })
}

func (e *engine) newest() *auth.Service {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.serving) == 0 {
		return nil
	}
	return e.serving[len(e.serving)-1]
}

// shut writes the last touches and closes the store, when the last configuration
// has let go. What is still in flight ends: nobody could tell any more that its
// session has.
func (e *engine) shut() error {
	e.stop()
	e.keepers.Wait()
	e.live.CutAll()
	return errors.Join(e.settleMove(), e.home.close.Close())
}

// runtime is what one configuration works with, once the store is open.
type runtime struct {
	engine      *engine
	address     string // of the engine, as the configuration has it
	service     *auth.Service
	tokens      *token.Keys
	queue       *sender.Queue
	subscribers *subscribers
	directory   auth.Directory
	operators   http.Handler // their routes

	stop    context.CancelFunc
	keepers sync.WaitGroup // of the signing keys
}

// close ends what this configuration has for itself, and gives the store back.
func (rt *runtime) close(ctx context.Context) error {
	rt.end()
	err := errors.Join(rt.queue.Close(ctx), rt.subscribers.close(ctx))
	if directory, ok := rt.directory.(io.Closer); ok {
		err = errors.Join(err, directory.Close())
	}
	rt.engine.part(rt.service)
	_, released := engines.Delete(rt.address)
	return errors.Join(err, released)
}

// runtime opens the store at first use: in Start, or for the first request when
// the http app started before this one.
func (a *App) runtime() (*runtime, error) {
	if rt := a.running.Load(); rt != nil {
		return rt, nil
	}
	a.opening.Lock()
	defer a.opening.Unlock()
	if rt := a.running.Load(); rt != nil || a.failed != nil {
		return rt, a.failed
	}
	rt, err := a.open()
	if err != nil {
		a.failed = fmt.Errorf("%w: %w", auth.ErrUnavailable, err)
		return nil, a.failed
	}
	rt.begin(a.log)
	a.running.Store(rt)
	return rt, nil
}

func (a *App) open() (*runtime, error) {
	e, err := openEngine(a.store, a.masters, a.log)
	if err != nil {
		return nil, err
	}
	rt, err := a.compose(e)
	if err != nil {
		_, released := engines.Delete(a.store.Address())
		return nil, errors.Join(err, released)
	}
	rt.operators = a.operators(rt)
	return rt, nil
}

// compose puts the rooms together.
func (a *App) compose(e *engine) (*runtime, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	keys, err := token.Open(ctx, e.store, token.Options{
		Issuer: a.Issuer, Audience: a.Audience, Algorithm: a.Tokens.Algorithm,
		RotateEvery: a.Tokens.rotateEvery(), HeadStart: headStart, Uses: &tokenUses,
	})
	if err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	directory, err := a.directory.Directory(e.store, e.vault)
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	a.invite()
	e.live.Retain(a.settings.SessionRetention)
	queue := sender.NewQueue(sender.Options{Senders: a.senders, Screen: a.risk, Country: phone.Country, Tried: tried, Log: a.log})
	subscribers := a.subscribe(e)
	text := func(code, to, locale string) (string, string) { return a.texts.For(code, phone.Country(to), locale) }
	service := &auth.Service{
		Settings: a.settings, Store: e.store, Live: e.live, Health: e.health, Secrets: e.vault,
		Outbox: queue, Directory: directory, Text: text, Notice: a.texts.Notice, Reaches: queue.Reaches,
		Tell: subscribers.tell, Step: traceStep, Now: time.Now, Log: a.log,
	}
	e.join(service)
	return &runtime{engine: e, address: a.store.Address(), tokens: keys, queue: queue, subscribers: subscribers, directory: directory, service: service}, nil
}

// isTestNumber reports whether a number signs in with a fixed code.
func (a *App) isTestNumber(e164 string) bool {
	return slices.ContainsFunc(a.settings.OTP.TestNumbers, func(t auth.TestNumber) bool {
		return t.Phone == e164 && time.Now().Before(t.Until)
	})
}

// parsePhone reads a number that a client sends.
func (a *App) parsePhone(text string) (string, error) {
	e164, err := phone.ParseWith(text, a.isTestNumber)
	if err != nil || a.isTestNumber(e164) {
		return e164, err
	}
	countries := a.OTP.AllowCountries
	if len(countries) == 0 {
		countries = []string{"*"}
	}
	if err := phone.Allowed(e164, countries); err != nil {
		return e164, err
	}
	if !a.takesCountry(phone.Country(e164)) {
		return e164, auth.Refuse(auth.CodePhoneNotSupported)
	}
	return e164, nil
}
