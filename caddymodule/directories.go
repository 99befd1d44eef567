package caddymodule

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/hook"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func init() { caddy.RegisterModule(new(WebhookDirectory)) }

// WebhookDirectory asks the app who a phone number is, after the code was
// right: the app's own table of users stays the truth. It posts
// {"phone","challenge_id"}; 200 {"auth_user_id","user_type","user_roles"} is an
// account, 404 an unknown number, 403 a banned one. Anything else is 503 for
// the client, and its code stays good.
type WebhookDirectory struct {
	// Where to post; http or https. Placeholders are allowed.
	URL string `json:"url"`
	// Signs the body (header X-Sidegate-Signature): use {env.NAME} or
	// {file./path}. Default: none, and then nothing is signed.
	Secret string `json:"secret,omitempty"`
	// How long the app may take to answer, 100ms to 8s: a sign-in may take 10 s
	// as a whole. A person waits for it. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	webhook *hook.Directory
}

// CaddyModule returns the Caddy module information.
func (*WebhookDirectory) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.directories.webhook", New: func() caddy.Module { return new(WebhookDirectory) }}
}

// Provision resolves the placeholders and checks the URL.
func (w *WebhookDirectory) Provision(ctx caddy.Context) error {
	o, err := hookOptions(w.URL, w.Secret)
	if err != nil {
		return err
	}
	if err := checkWait(w.Timeout); err != nil {
		return err
	}
	o.Timeout = time.Duration(w.Timeout)
	if o.Sign == nil {
		ctx.Slogger().Warn("the directory cannot tell our questions from those of others, who could learn whose a number is: give it a secret")
	}
	if inTheClear(o.URL) {
		ctx.Slogger().Warn("the directory is asked over plain http: whoever is on the way can answer in its place and sign in as anybody; use https")
	}
	w.webhook, err = hook.NewDirectory(o)
	return err
}

// hookOptions fills in where a hook is and what signs its questions.
func hookOptions(address, secret string) (o hook.Options, err error) {
	key := ""
	if err := resolveAll([]field{{"url", address, &o.URL}, {"secret", secret, &key}}); err != nil {
		return o, err
	}
	if key != "" {
		o.Sign = func(timestamp string, body []byte) string { return sender.Signature([]byte(key), timestamp, body) }
	}
	return o, nil
}

// Cleanup drops idle connections.
func (w *WebhookDirectory) Cleanup() error {
	if w.webhook == nil {
		return nil
	}
	return w.webhook.Close()
}

// Directory returns the directory; it needs no store.
func (w *WebhookDirectory) Directory(auth.Store, auth.Secrets) (auth.Directory, error) {
	return w.webhook, nil
}

// UnmarshalCaddyfile reads:
//
//	directory webhook URL {
//		secret  TEXT
//		timeout DURATION
//	}
func (w *WebhookDirectory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if err := readURL(d, "directory webhook", &w.URL); err != nil {
		return err
	}
	return block(d, words{
		"secret":  secretWord(&w.Secret),
		"timeout": waitWord(&w.Timeout),
	})
}

// Interface guards
var (
	_ Directory          = (*WebhookDirectory)(nil)
	_ caddy.CleanerUpper = (*WebhookDirectory)(nil)
)
