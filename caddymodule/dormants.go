package caddymodule

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule/internal/hook"
)

func init() { caddy.RegisterModule(WebhookDormant{}) }

// WebhookDormant asks the app what a right code for a dormant account opens. It
// posts {"auth_user_id","phone","last_used_at","challenge_id"}, signed; 200
// {"action":"open"} opens the account, {"action":"new"} takes the number from it
// for a new one, 403 refuses both. Anything else is 503 for the client, and its
// code stays good.
type WebhookDormant struct {
	// Where to post; http or https. Placeholders are allowed.
	URL string `json:"url"`
	// Signs the body (header X-Sidegate-Signature): use {env.NAME} or
	// {file./path}. Default: none, and then nothing is signed.
	Secret string `json:"secret,omitempty"`
	// How long the app may take to answer, 100ms to 8s. A person waits for it.
	// Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	*hook.Dormant `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (WebhookDormant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.dormants.webhook", New: func() caddy.Module { return new(WebhookDormant) }}
}

// Provision resolves the placeholders and checks the values.
func (w *WebhookDormant) Provision(ctx caddy.Context) error {
	if err := checkWait(w.Timeout); err != nil {
		return err
	}
	o, err := hookOptions(w.URL, w.Secret)
	if err != nil {
		return err
	}
	o.Timeout = time.Duration(w.Timeout)
	if o.Sign == nil {
		ctx.Slogger().Warn("the dormant hook cannot tell our questions from those of others, who could have numbers taken from their accounts: give it a secret")
	}
	if inTheClear(o.URL) {
		ctx.Slogger().Warn("the dormant hook is asked over plain http: whoever is on the way can answer in its place and open accounts; use https")
	}
	w.Dormant, err = hook.NewDormant(o)
	return err
}

// Cleanup drops idle connections.
func (w *WebhookDormant) Cleanup() error {
	if w.Dormant == nil {
		return nil
	}
	return w.Close()
}

// UnmarshalCaddyfile reads:
//
//	dormant webhook URL {
//		secret  TEXT
//		timeout DURATION
//	}
func (w *WebhookDormant) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if err := readURL(d, "dormant webhook", &w.URL); err != nil {
		return err
	}
	return block(d, words{
		"secret":  secretWord(&w.Secret),
		"timeout": waitWord(&w.Timeout),
	})
}

// Interface guards
var (
	_ DormantHook        = (*WebhookDormant)(nil)
	_ caddy.Provisioner  = (*WebhookDormant)(nil)
	_ caddy.CleanerUpper = (*WebhookDormant)(nil)
)
