package caddymodule

import (
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule/internal/hook"
)

func init() { caddy.RegisterModule(WebhookRisk{}) }

// WebhookRisk asks a service, before each code goes out, whether it may: one
// that knows of SIM swaps, or what kind of line a number is. It posts
// {"id","phone","country","channel","client_ip"}, signed, while the client has
// its answer already, and takes 200 {"action":"allow"} or {"action":"deny"} for
// an answer. A denied code is not sent, and nobody outside is told.
type WebhookRisk struct {
	// Where to post; http or https. Placeholders are allowed.
	URL string `json:"url"`
	// Signs the body (header X-Sidegate-Signature): use {env.NAME} or
	// {file./path}. Default: none, and then nothing is signed.
	Secret string `json:"secret,omitempty"`
	// How long the service may take to answer, 100ms to 10s. The code waits for
	// it. Default: 2s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// What becomes of a code that the service does not judge, because it is down,
	// slow, or gives another answer. deny: it fails as if no sender had taken it,
	// so that nobody gets around the service by breaking it. allow: it is sent.
	// Default: deny.
	OnFailure string `json:"on_failure,omitempty"`

	*hook.Risk `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (WebhookRisk) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.risks.webhook", New: func() caddy.Module { return new(WebhookRisk) }}
}

// Provision resolves the placeholders and checks the values.
func (w *WebhookRisk) Provision(ctx caddy.Context) error {
	if err := w.validate(); err != nil {
		return err
	}
	o, err := hookOptions(w.URL, w.Secret)
	if err != nil {
		return err
	}
	o.Timeout = or(w.Timeout, 2*time.Second)
	if o.Sign == nil {
		ctx.Slogger().Warn("the risk hook cannot tell our questions from those of others, who could learn what it knows of a number: give it a secret")
	}
	if inTheClear(o.URL) {
		ctx.Slogger().Warn("the risk hook is asked over plain http: whoever is on the way can read numbers and addresses, and answer in its place; use https")
	}
	w.Risk, err = hook.NewRisk(o)
	return err
}

func (w *WebhookRisk) validate() error {
	if !slices.Contains([]string{"", "deny", "allow"}, w.OnFailure) {
		return fmt.Errorf("on_failure %q: use deny or allow", w.OnFailure)
	}
	return between("timeout", w.Timeout, caddy.Duration(100*time.Millisecond), caddy.Duration(10*time.Second))
}

// AllowOnFailure says what becomes of a code that the service does not judge.
func (w *WebhookRisk) AllowOnFailure() bool { return w.OnFailure == "allow" }

// UnmarshalCaddyfile reads:
//
//	risk webhook URL {
//		secret     TEXT
//		timeout    DURATION
//		on_failure deny|allow
//	}
func (w *WebhookRisk) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if err := readURL(d, "risk webhook", &w.URL); err != nil {
		return err
	}
	return block(d, words{
		"secret":     secretWord(&w.Secret),
		"timeout":    checked(durationWord(&w.Timeout), w.validate),
		"on_failure": checked(textWord(&w.OnFailure), w.validate),
	})
}

// Interface guards
var (
	_ Risk              = (*WebhookRisk)(nil)
	_ caddy.Provisioner = (*WebhookRisk)(nil)
)
