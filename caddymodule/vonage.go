package caddymodule

import (
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func init() { caddy.RegisterModule(VonageSender{}) }

// VonageSender hands text messages to Vonage (once Nexmo), signed. Placeholders
// are allowed in every text.
type VonageSender struct {
	// The account's API key.
	APIKey string `json:"api_key"`
	// The account's signature secret: use {env.NAME} or {file./path}. The
	// account's signing method must be SHA-256 HMAC.
	SignatureSecret string `json:"signature_secret"`
	// Who messages come from: a number, or a name of up to 11 letters where the
	// country allows one.
	From string `json:"from"`
	// The API's host. Default: https://rest.nexmo.com.
	Endpoint string `json:"endpoint,omitempty"`
	// How long one attempt may take, 100ms to 30s. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	CountryScope
	*sender.Vonage `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (VonageSender) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.senders.vonage", New: func() caddy.Module { return new(VonageSender) }}
}

// Provision resolves the placeholders and checks what it gets.
func (s *VonageSender) Provision(ctx caddy.Context) error {
	o := sender.VonageOptions{Timeout: time.Duration(s.Timeout)}
	if err := resolveAll([]field{
		{"api_key", s.APIKey, &o.APIKey}, {"signature_secret", s.SignatureSecret, &o.SignatureSecret},
		{"from", s.From, &o.From}, {"endpoint", s.Endpoint, &o.Endpoint},
	}); err != nil {
		return err
	}
	warnInTheClear(ctx, o.Endpoint)
	if err := errors.Join(checkTimeout(s.Timeout), s.CheckCountries()); err != nil {
		return err
	}
	var err error
	s.Vonage, err = sender.NewVonage(o)
	return err
}

// UnmarshalCaddyfile reads:
//
//	sender vonage {
//		api_key          KEY
//		signature_secret TEXT
//		from             NUMBER|NAME
//		endpoint         URL
//		timeout          DURATION
//		countries        COUNTRY…
//	}
func (s *VonageSender) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	return block(d, scopeWords(&s.CountryScope, nil, words{
		"api_key":          textWord(&s.APIKey),
		"signature_secret": secretWord(&s.SignatureSecret),
		"from":             textWord(&s.From),
		"endpoint":         textWord(&s.Endpoint),
		"timeout":          timeoutWord(&s.Timeout),
	}))
}

// Interface guards
var _ Sender = (*VonageSender)(nil)
