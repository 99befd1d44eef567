// Package caddymodule puts Sidegate into Caddy: the app that holds the sessions
// of all sites, the handler that stands in front of a site, and the matcher for
// routes behind it. It reads the configuration, calls the rooms of the house
// and writes nothing down itself; the rules stand in package auth.
package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func init() { caddy.RegisterModule(new(App)) }

// App is the session domain of this Caddy: who is signed in, on every site that
// has the sidegate handler. Without any configuration it works on one machine:
// an embedded store in Caddy's data directory, users made at their first
// sign-in, codes in Caddy's log for clients on the loopback.
type App struct {
	// The name that pages and messages show. Default: Sidegate.
	AppName string `json:"app_name,omitempty"`
	// The public origin, such as https://app.example.com: for the line of a
	// message that binds its code to the site, and for links. Default: none.
	// Placeholders {env.*} and {file.*} are allowed.
	Origin string `json:"origin,omitempty"`
	// The iss of access tokens. Changing it signs everyone's access tokens out;
	// clients then refresh. Default: the origin, else "sidegate".
	Issuer string `json:"issuer,omitempty"`
	// The aud of access tokens. Default: the issuer.
	Audience string `json:"audience,omitempty"`
	// 32 random bytes in base64 or hex that open the store: use {file./path} or
	// {env.NAME}. Whoever loses it loses all sessions and users. Default: made
	// on first run as master.key beside the store, mode 0600.
	MasterKey string `json:"master_key,omitempty"`
	// A command that gives the master key, in place of master_key. Default: none.
	MasterKeyExec *KeyCommand `json:"master_key_exec,omitempty"`
	// Where records are kept. Default: badger.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=sidegate.stores inline_key=engine"`
	// Who delivers the codes; the first that works, in order. Default: Caddy's
	// log, and only for clients on the loopback.
	SendersRaw []json.RawMessage `json:"senders,omitempty" caddy:"namespace=sidegate.senders inline_key=sender"`
	// Who decides, in the background, whether a code may go out. Default: nobody.
	RiskRaw json.RawMessage `json:"risk,omitempty" caddy:"namespace=sidegate.risks inline_key=risk"`
	// Who a phone number is. Default: local.
	DirectoryRaw json.RawMessage `json:"directory,omitempty" caddy:"namespace=sidegate.directories inline_key=directory"`
	// Who hears of events, such as the end of a session, and gets each at least
	// once. Default: nobody. The handlers of Caddy's events app hear of all.
	NotifyRaw []json.RawMessage `json:"notify,omitempty" caddy:"namespace=sidegate.notifiers inline_key=notifier"`

	OTP       OTP       `json:"otp,omitzero"`       // one-time codes
	Limits    Limits    `json:"limits,omitzero"`    // how often things may happen
	Tokens    Tokens    `json:"tokens,omitzero"`    // access and refresh tokens
	Sessions  Sessions  `json:"sessions,omitzero"`  // how long a sign-in lasts
	Retention Retention `json:"retention,omitzero"` // how long records outlive their use

	store     Store
	directory Directory
	senders   []sender.Sender
	risk      Risk // nil: nobody is asked
	notifiers []Notifier
	herald    *herald
	apis      []string // the api paths of all gates, for what senders tell their providers
	localOnly bool     // no sender is configured: codes are for this machine alone
	masters   masterSource
	settings  auth.Settings
	texts     *sender.Texts
	log       *slog.Logger
	auditLog  *zap.Logger
	ctx       caddy.Context

	// calls is held for reading by requests to our own routes, so that Cleanup
	// can let them finish.
	calls   sync.RWMutex
	opening sync.Mutex
	running atomic.Pointer[runtime]
	failed  error // why opening failed; guarded by opening
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate", New: func() caddy.Module { return new(App) }}
}

// Provision checks the configuration. It opens nothing: `caddy validate` runs
// it beside a running server, which holds the store.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.log = ctx, ctx.Slogger()
	a.auditLog = ctx.Logger().Named("audit")
	repl := caddy.NewReplacer()
	for _, field := range []struct {
		key   string
		value *string
	}{{"app_name", &a.AppName}, {"origin", &a.Origin}, {"issuer", &a.Issuer}, {"audience", &a.Audience}} {
		var err error
		if *field.value, err = resolve(repl, field.key, *field.value); err != nil {
			return err
		}
	}
	var err error
	a.masters = masterSource{value: a.MasterKey, command: a.MasterKeyExec}
	if err := a.masters.check(); err != nil {
		return err
	}
	a.setDefaults()
	if err := a.validate(); err != nil {
		return err
	}
	if err := a.loadGuests(ctx); err != nil {
		return err
	}
	a.masters.file = a.store.KeyFile()
	if err := meters.Register(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	if a.herald, err = newHerald(ctx, a.log); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	if a.settings, err = a.rules(); err != nil {
		return err
	}
	if a.texts, err = a.loadTexts(); err != nil {
		return fmt.Errorf("otp: %w", err)
	}
	return a.checkCountries()
}

func (a *App) setDefaults() {
	if a.AppName == "" {
		a.AppName = "Sidegate"
	}
	if a.Issuer == "" {
		a.Issuer = a.Origin
	}
	if a.Issuer == "" {
		a.Issuer = "sidegate"
	}
	if a.Audience == "" {
		a.Audience = a.Issuer
	}
}

// loadGuests loads the store, the directory, the senders and the risk hook.
func (a *App) loadGuests(ctx caddy.Context) error {
	if a.StoreRaw == nil {
		a.StoreRaw = json.RawMessage(`{"engine":"badger"}`)
	}
	guest, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	a.store = guest.(Store)
	if a.DirectoryRaw == nil {
		a.DirectoryRaw = json.RawMessage(`{"directory":"local"}`)
	}
	if guest, err = ctx.LoadModule(a, "DirectoryRaw"); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	a.directory = guest.(Directory)
	a.localOnly = len(a.SendersRaw) == 0
	if a.localOnly {
		a.SendersRaw = []json.RawMessage{json.RawMessage(`{"sender":"log"}`)}
	}
	guest, err = ctx.LoadModule(a, "SendersRaw")
	if err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	for _, module := range guest.([]any) {
		a.senders = append(a.senders, module.(Sender))
	}
	if err := a.loadRisk(ctx); err != nil {
		return err
	}
	return a.loadNotifiers(ctx)
}

func (a *App) loadRisk(ctx caddy.Context) error {
	if a.RiskRaw == nil {
		return nil
	}
	guest, err := ctx.LoadModule(a, "RiskRaw")
	if err != nil {
		return fmt.Errorf("risk: %w", err)
	}
	a.risk = guest.(Risk)
	return nil
}

func (a *App) loadNotifiers(ctx caddy.Context) error {
	if len(a.NotifyRaw) == 0 {
		return nil
	}
	guest, err := ctx.LoadModule(a, "NotifyRaw")
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	for _, module := range guest.([]any) {
		a.notifiers = append(a.notifiers, module.(Notifier))
	}
	return a.checkNotifiers()
}

// Start opens the store, unless the first request of the http app was faster.
func (a *App) Start() error {
	_, err := a.runtime()
	if err == nil && a.localOnly {
		a.log.Warn("no sender is configured: codes go to this log, and only clients on the loopback get one; add a sender to the sidegate global option")
	}
	return err
}

// Stop does nothing: requests of the old configuration go on until Cleanup.
func (*App) Stop() error { return nil }

// Cleanup lets what is under way finish and gives the store back. The store
// stays open while another configuration uses it.
func (a *App) Cleanup() error {
	if a.herald != nil {
		defer a.herald.stop()
	}
	rt := a.running.Load()
	if rt == nil {
		return nil
	}
	for deadline := time.Now().Add(drain); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if a.calls.TryLock() {
			// Requests that come even later find what is left, and do not wait for ever.
			defer a.calls.Unlock()
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	return rt.close(ctx)
}

// drain bounds how long a reload or an exit waits for requests to our routes,
// and then for messages that are on their way.
const drain = 5 * time.Second

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
