package caddymodule

import (
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func init() { caddy.RegisterModule(TwilioSender{}) }

// TwilioSender hands messages to Twilio: text messages, calls that speak the
// code, and WhatsApp. Placeholders are allowed in every text.
type TwilioSender struct {
	// The account, AC and 32 hexadecimal digits.
	AccountSID string `json:"account_sid"`
	// The account's auth token: use {env.NAME} or {file./path}. It signs in,
	// unless there is an API key, and verifies status callbacks.
	AuthToken string `json:"auth_token,omitempty"`
	// An API key, SK and 32 hexadecimal digits. Unlike the auth token it can be
	// revoked alone and be limited to messages.
	APIKey string `json:"api_key,omitempty"`
	// The API key's secret: use {env.NAME} or {file./path}.
	APISecret string `json:"api_secret,omitempty"`
	// Who text messages come from: a number, a short code, or a name.
	From string `json:"from,omitempty"`
	// The messaging service that chooses who they come from, MG and 32
	// hexadecimal digits; instead of from.
	MessagingService string `json:"messaging_service,omitempty"`
	// The number that calls come from. Default: no calls.
	VoiceFrom string `json:"voice_from,omitempty"`
	// The number that WhatsApp messages come from. Default: no WhatsApp.
	WhatsAppFrom string `json:"whatsapp_from,omitempty"`
	// The approved template of WhatsApp messages, HX and 32 hexadecimal digits.
	// Its one variable {{1}} is the code. Needed with whatsapp_from.
	WhatsAppContent string `json:"whatsapp_content,omitempty"`
	// The API's host, for another edge or region, such as
	// https://api.dublin.ie1.twilio.com. Default: https://api.twilio.com.
	Endpoint string `json:"endpoint,omitempty"`
	// How long one attempt may take, 100ms to 30s. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	CountryScope
	*sender.Twilio `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (TwilioSender) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.senders.twilio", New: func() caddy.Module { return new(TwilioSender) }}
}

// Provision resolves the placeholders and checks what it gets.
func (s *TwilioSender) Provision(ctx caddy.Context) error {
	o := sender.TwilioOptions{Timeout: time.Duration(s.Timeout)}
	if err := resolveAll([]field{
		{"account_sid", s.AccountSID, &o.AccountSID}, {"auth_token", s.AuthToken, &o.AuthToken},
		{"api_key", s.APIKey, &o.APIKey}, {"api_secret", s.APISecret, &o.APISecret},
		{"from", s.From, &o.From}, {"messaging_service", s.MessagingService, &o.MessagingService},
		{"voice_from", s.VoiceFrom, &o.VoiceFrom},
		{"whatsapp_from", s.WhatsAppFrom, &o.WhatsAppFrom}, {"whatsapp_content", s.WhatsAppContent, &o.WhatsAppContent},
		{"endpoint", s.Endpoint, &o.Endpoint},
	}); err != nil {
		return err
	}
	warnInTheClear(ctx, o.Endpoint)
	if err := errors.Join(checkTimeout(s.Timeout), s.CheckCountries()); err != nil {
		return err
	}
	var err error
	s.Twilio, err = sender.NewTwilio(o)
	return err
}

// UnmarshalCaddyfile reads:
//
//	sender twilio {
//		account_sid       SID
//		auth_token        TEXT
//		api_key           SID
//		api_secret        TEXT
//		from              NUMBER|NAME
//		messaging_service SID
//		voice_from        NUMBER
//		whatsapp_from     NUMBER
//		whatsapp_content  SID
//		endpoint          URL
//		timeout           DURATION
//		countries         COUNTRY…
//	}
func (s *TwilioSender) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	return block(d, scopeWords(&s.CountryScope, nil, words{
		"account_sid":       textWord(&s.AccountSID),
		"auth_token":        secretWord(&s.AuthToken),
		"api_key":           textWord(&s.APIKey),
		"api_secret":        secretWord(&s.APISecret),
		"from":              textWord(&s.From),
		"messaging_service": textWord(&s.MessagingService),
		"voice_from":        textWord(&s.VoiceFrom),
		"whatsapp_from":     textWord(&s.WhatsAppFrom),
		"whatsapp_content":  textWord(&s.WhatsAppContent),
		"endpoint":          textWord(&s.Endpoint),
		"timeout":           timeoutWord(&s.Timeout),
	}))
}

// field is a setting whose placeholders are filled in.
type field struct {
	key, value string
	resolved   *string
}

func resolveAll(fields []field) (err error) {
	repl := caddy.NewReplacer()
	for _, f := range fields {
		if *f.resolved, err = resolve(repl, f.key, f.value); err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var _ Sender = (*TwilioSender)(nil)
