package caddymodule

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule/internal/phone"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// Text is what people read, in one language or in one country.
type Text struct {
	// For those who read this language: a tag such as sv or pt-BR.
	Language string `json:"language,omitempty"`
	// Or for all numbers of this country (ISO 3166, two letters), whatever their
	// owners read.
	Country string `json:"country,omitempty"`
	// One line in the GSM alphabet. {code} must stand in it; {app} is app_name
	// and {minutes} the code's ttl. The line that binds the code to the origin
	// is added. With it, the text must fit into one message.
	Text string `json:"text"`
}

func (t Text) template() sender.Template { return sender.Template(t) }

func (t Text) validate() error {
	key := t.Language
	if t.Country != "" {
		key = "@" + t.Country
	}
	switch err := t.template().Check(); {
	case (t.Language == "") == (t.Country == ""):
		return fmt.Errorf("text: name a language or a country")
	case t.Country != "" && !phone.KnownCountry(t.Country):
		return fmt.Errorf("text %s: that is no country; use ISO 3166 codes such as @IN", key)
	case err != nil:
		return fmt.Errorf("text %s: %w", key, err)
	}
	return nil
}

// readText reads: text LANGUAGE|@COUNTRY TEXT
func (o *OTP) readText(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Err(`write it as: text sv "Din kod för {app} är {code}.", or for a country: text @IN "…"`)
	}
	t := Text{Language: args[0], Text: args[1]}
	if country, is := strings.CutPrefix(args[0], "@"); is {
		t.Language, t.Country = "", country
	}
	o.Text = append(o.Text, t)
	return nil
}

// loadTexts makes the messages, now that all that stands in them is known.
func (a *App) loadTexts() (*sender.Texts, error) {
	host, err := originHost(a.Origin)
	if err != nil {
		return nil, err
	}
	o := sender.TextOptions{AppName: a.AppName, TTL: a.settings.OTP.TTL, Length: a.settings.OTP.Length, Host: host}
	for _, t := range a.OTP.Text {
		o.Templates = append(o.Templates, t.template())
	}
	return sender.NewTexts(o)
}
