package caddymodule

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/notify"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func init() { caddy.RegisterModule(new(WebhookNotifier)) }

// WebhookNotifier posts events to an URL of the app, signed, each at least once:
// what the app has not taken waits in the store, up to three days.
type WebhookNotifier struct {
	// Where to post; http or https. What waits belongs to the URL: after a change
	// the new one hears of what happens from then on. Placeholders are allowed.
	URL string `json:"url"`
	// Signs the body (header X-Sidegate-Signature): use {env.NAME} or
	// {file./path}. Default: none, and then nothing is signed.
	Secret string `json:"secret,omitempty"`
	// How long the app may take to answer, 100ms to 30s. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// Which events, or * for all. Default: session_started, session_ended,
	// token_reused, new_device, user_created, user_banned and user_deleted. Each one about a user costs a
	// write of the store that its request waits for.
	Events []string `json:"events,omitempty"`

	address string
	webhook *notify.Webhook
}

// standardEvents are those that an app needs to keep in step with its users.
var standardEvents = []auth.EventName{
	auth.EventSessionStarted, auth.EventSessionEnded, auth.EventTokenReused, auth.EventNewDevice, auth.EventUserCreated,
	auth.EventUserBanned, auth.EventUserDeleted,
}

// CaddyModule returns the Caddy module information.
func (*WebhookNotifier) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.notifiers.webhook", New: func() caddy.Module { return new(WebhookNotifier) }}
}

// Provision resolves the placeholders and checks the values.
func (w *WebhookNotifier) Provision(ctx caddy.Context) error {
	var o notify.WebhookOptions
	secret := ""
	if err := resolveAll([]field{{"url", w.URL, &o.URL}, {"secret", w.Secret, &secret}}); err != nil {
		return err
	}
	if err := checkTimeout(w.Timeout); err != nil {
		return err
	}
	if err := w.checkEvents(); err != nil {
		return err
	}
	if secret == "" {
		ctx.Slogger().Warn("the receiver of events cannot tell ours from forged ones: give it a secret")
	} else {
		o.Sign = func(timestamp string, body []byte) string { return sender.Signature([]byte(secret), timestamp, body) }
	}
	if inTheClear(o.URL) {
		ctx.Slogger().Warn("events go to another machine over plain http: whoever is on the way can read who signs in; use https")
	}
	var err error
	w.address = o.URL
	w.webhook, err = notify.NewWebhook(o)
	return err
}

func (w *WebhookNotifier) checkEvents() error {
	for _, name := range w.Events {
		if name != "*" && !slices.Contains(auth.EventNames, auth.EventName(name)) {
			return fmt.Errorf("events: %q is none; use * for all, or any of %s", name, eventList())
		}
	}
	return nil
}

func eventList() string {
	var names []string
	for _, name := range auth.EventNames {
		names = append(names, string(name))
	}
	return strings.Join(names, ", ")
}

// Cleanup drops idle connections.
func (w *WebhookNotifier) Cleanup() error {
	if w.webhook == nil {
		return nil
	}
	return w.webhook.Close()
}

// Name is the kind and the host.
func (w *WebhookNotifier) Name() string { return "webhook " + w.webhook.Host() }

// Address is the URL.
func (w *WebhookNotifier) Address() string { return w.address }

// Limit is the time that one attempt may take.
func (w *WebhookNotifier) Limit() time.Duration { return or(w.Timeout, 5*time.Second) }

// Wants reports whether the app is to hear of an event.
func (w *WebhookNotifier) Wants(event auth.EventName) bool {
	if len(w.Events) == 0 {
		return slices.Contains(standardEvents, event)
	}
	return slices.Contains(w.Events, "*") || slices.Contains(w.Events, string(event))
}

// Notify posts one event.
func (w *WebhookNotifier) Notify(ctx context.Context, id string, body []byte) error {
	return w.webhook.Post(ctx, id, body)
}

// UnmarshalCaddyfile reads:
//
//	notify webhook URL {
//		secret  TEXT
//		timeout DURATION
//		events  NAME…|*
//	}
func (w *WebhookNotifier) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if err := readURL(d, "notify webhook", &w.URL); err != nil {
		return err
	}
	return block(d, words{
		"secret":  secretWord(&w.Secret),
		"timeout": timeoutWord(&w.Timeout),
		"events":  checked(listWord(&w.Events), w.checkEvents),
	})
}

// Interface guards
var (
	_ Notifier           = (*WebhookNotifier)(nil)
	_ caddy.CleanerUpper = (*WebhookNotifier)(nil)
)
