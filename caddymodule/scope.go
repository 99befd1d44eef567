package caddymodule

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule/internal/phone"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// CountryScope limits a sender to numbers of some countries. Senders embed it.
type CountryScope struct {
	// Countries (ISO 3166, two letters) whose numbers the sender takes. Default:
	// all. A number that no sender takes gets no code.
	Countries []string `json:"countries,omitempty"`
}

// TakesCountry reports whether the sender takes numbers of a country.
func (s CountryScope) TakesCountry(country string) bool {
	return len(s.Countries) == 0 || slices.ContainsFunc(s.Countries, func(c string) bool { return strings.EqualFold(c, country) })
}

// CheckCountries refuses what is no country. Provision of a sender calls it.
func (s CountryScope) CheckCountries() error {
	for _, country := range s.Countries {
		if !phone.KnownCountry(country) {
			return fmt.Errorf("countries: %q is no country; use ISO 3166 codes such as US", country)
		}
	}
	return nil
}

// ReadCountries reads the arguments of the word countries in a Caddyfile.
func (s *CountryScope) ReadCountries(d *caddyfile.Dispenser) error {
	return checked(listWord(&s.Countries), s.CheckCountries)(d)
}

// ChannelScope says which channels a sender has that cannot tell by itself.
type ChannelScope struct {
	// Ways to a phone that the sender has: sms, voice, whatsapp. Default: sms. A
	// client may ask for any that a sender has.
	Channels []string `json:"channels,omitempty"`
}

// TakesChannel reports whether the sender has a channel.
func (s ChannelScope) TakesChannel(channel string) bool {
	if len(s.Channels) == 0 {
		return channel == "sms"
	}
	return slices.Contains(s.Channels, channel)
}

// CheckChannels refuses what is no channel. Provision of a sender calls it.
func (s ChannelScope) CheckChannels() error {
	for _, channel := range s.Channels {
		if !slices.Contains(sender.Channels, channel) {
			return fmt.Errorf("channels: %q is no channel; known: %s", channel, strings.Join(sender.Channels, ", "))
		}
	}
	return nil
}

// ReadChannels reads the arguments of the word channels in a Caddyfile.
func (s *ChannelScope) ReadChannels(d *caddyfile.Dispenser) error {
	return checked(listWord(&s.Channels), s.CheckChannels)(d)
}

// scopeWords adds the words of the scopes to those of a sender.
func scopeWords(countries *CountryScope, channels *ChannelScope, more words) words {
	all := words{"countries": countries.ReadCountries}
	if channels != nil {
		all["channels"] = channels.ReadChannels
	}
	maps.Copy(all, more)
	return all
}

// checkCountries refuses a configuration by which a stranger could have
// messages sent to any country of the world at the operator's cost, and one
// that invites countries to which no message goes.
func (a *App) checkCountries() error {
	for _, s := range a.senders {
		free, ok := s.(interface{ Free() bool })
		if len(a.OTP.AllowCountries) == 0 && !(ok && free.Free()) {
			return fmt.Errorf("otp: allow_countries is needed with sender %s: name the countries that your users are from, such as: allow_countries SE NO GB (or * for all)", s.Name())
		}
	}
	for _, country := range a.OTP.AllowCountries {
		if country != "*" && !a.takesCountry(country) {
			return fmt.Errorf("otp: allow_countries has %s, and no sender takes its numbers: add it to the countries of one, or add a sender without countries", country)
		}
	}
	return nil
}

func (a *App) takesCountry(country string) bool {
	return slices.ContainsFunc(a.senders, func(s sender.Sender) bool { return sender.TakesCountry(s, country) })
}
