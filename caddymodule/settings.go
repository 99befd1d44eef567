package caddymodule

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/phone"
)

// OTP are the rules for one-time codes.
type OTP struct {
	// Digits of a code, 6 to 10. Default: 6.
	Length int `json:"length,omitempty"`
	// How long a code is good, at most 10m. Default: 5m.
	TTL caddy.Duration `json:"ttl,omitempty"`
	// How many wrong codes end a challenge, 1 to 10. Default: 5. With 5 tries at
	// 6 digits a guess succeeds once in 200 000 challenges.
	Attempts int `json:"attempts,omitempty"`
	// The least time between two messages of a challenge, 1s to 10m. Default: 60s.
	ResendAfter caddy.Duration `json:"resend_after,omitempty"`
	// Countries (ISO 3166, two letters) whose numbers get a code; * is all.
	// Needed unless every sender is log, file or exec: without it strangers run
	// up the bill with numbers all over the world.
	AllowCountries []string `json:"allow_countries,omitempty"`
	// What people read, for a language or a country. Default: English, German,
	// Spanish and French, by what the client reads.
	Text []Text `json:"text,omitempty"`
	// Numbers for app reviewers, with a fixed code and no message.
	TestNumbers []TestNumber `json:"test_numbers,omitempty"`
}

// TestNumber is a number that signs in with a fixed code until a day.
type TestNumber struct {
	Phone string `json:"phone"` // E.164; need not exist
	Code  string `json:"code"`  // 6 to 10 digits
	Until string `json:"until"` // the last day, as 2027-06-30 (UTC)
}

// Tokens are the rules for access and refresh tokens.
type Tokens struct {
	// Life of an access token, 1s to 1h. Default: 15m.
	AccessTTL caddy.Duration `json:"access_ttl,omitempty"`
	// How long a refresh token stays good after its successor was used, 0 to
	// 60s: for tabs that refresh at the same moment. Default: 30s.
	RefreshGrace *caddy.Duration `json:"refresh_grace,omitempty"`
	// How access tokens are signed: ES256, EdDSA, RS256, PS256 or HS256 (which
	// nobody else can verify). Tokens of the algorithm before stay good.
	// Default: ES256.
	Algorithm string `json:"algorithm,omitempty"`
	// How old the signing key gets before the next one takes over, 1d to 730d; 0
	// leaves it to you. Tokens of the key before live out their life. Default:
	// 90d.
	RotateKeys *caddy.Duration `json:"rotate_keys,omitempty"`
}

// Sessions are the rules for how long a sign-in lasts.
type Sessions struct {
	// A session without activity ends after this, 1s to 400d. Default: 7d.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`
	// A session ends after this, whatever happens, 1s to 400d. Default: 30d.
	MaxLifetime caddy.Duration `json:"max_lifetime,omitempty"`
	// Live sessions of one user, 1 to 100; one more ends the least recently
	// used. Default: 10.
	MaxPerUser int `json:"max_per_user,omitempty"`
}

// Retention is how long records are kept that nobody needs any more to sign in.
// A record is removed by an expiry that it was written with: another setting
// holds for a record from when it is next written.
type Retention struct {
	// How long a session's record outlives its session, 1h to 3650d; for so long
	// its owner learns how it ended. Default: 30d.
	Sessions caddy.Duration `json:"sessions,omitempty"`
	// How long a device is remembered after its last sign-in, 1d to 3650d; after
	// that it counts as a new one. Default: 400d.
	Devices caddy.Duration `json:"devices,omitempty"`
}

func (r Retention) validate() error {
	if err := between("sessions", r.Sessions, caddy.Duration(time.Hour), caddy.Duration(3650*day)); err != nil {
		return err
	}
	return between("devices", r.Devices, caddy.Duration(day), caddy.Duration(3650*day))
}

const day = 24 * time.Hour

// between refuses a value outside its range; zero is the default, and allowed.
func between[T int | caddy.Duration](key string, value, least, most T) error {
	if value == 0 || value >= least && value <= most {
		return nil
	}
	return fmt.Errorf("%s is %v: use a value from %v to %v", key, show(value), show(least), show(most))
}

func show[T int | caddy.Duration](v T) string {
	if d, ok := any(v).(caddy.Duration); ok {
		return time.Duration(d).String()
	}
	return fmt.Sprint(v)
}

func (o OTP) validate() error {
	for _, err := range []error{
		between("length", o.Length, 6, 10),
		between("ttl", o.TTL, caddy.Duration(time.Second), caddy.Duration(10*time.Minute)),
		between("attempts", o.Attempts, 1, 10),
		between("resend_after", o.ResendAfter, caddy.Duration(time.Second), caddy.Duration(10*time.Minute)),
	} {
		if err != nil {
			return err
		}
	}
	for _, country := range o.AllowCountries {
		if country != "*" && !phone.KnownCountry(country) {
			return fmt.Errorf("allow_countries: %q is no country; use ISO 3166 codes such as SE, or * for all", country)
		}
	}
	for _, t := range o.TestNumbers {
		if _, err := t.parse(); err != nil {
			return err
		}
	}
	for _, t := range o.Text {
		if err := t.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (t TestNumber) parse() (auth.TestNumber, error) {
	until, err := time.Parse(time.DateOnly, t.Until)
	if err != nil {
		return auth.TestNumber{}, fmt.Errorf("test_number: until %q is no day; write it as 2027-06-30", t.Until)
	}
	if !phone.Plausible(t.Phone) {
		return auth.TestNumber{}, fmt.Errorf("test_number: %q is no number; write it as +15555550100", t.Phone)
	}
	if len(t.Code) < 6 || len(t.Code) > 10 || strings.Trim(t.Code, "0123456789") != "" {
		return auth.TestNumber{}, fmt.Errorf("test_number: the code must be 6 to 10 digits")
	}
	return auth.TestNumber{Phone: t.Phone, Code: t.Code, Until: until.Add(day)}, nil
}

var algorithms = []string{"ES256", "EdDSA", "RS256", "PS256", "HS256"}

func (t Tokens) validate() error {
	if err := between("access_ttl", t.AccessTTL, caddy.Duration(time.Second), caddy.Duration(time.Hour)); err != nil {
		return err
	}
	if t.RefreshGrace != nil {
		if err := between("refresh_grace", *t.RefreshGrace, 0, caddy.Duration(time.Minute)); err != nil {
			return err
		}
	}
	if t.RotateKeys != nil {
		if err := between("rotate_keys", *t.RotateKeys, caddy.Duration(day), caddy.Duration(730*day)); err != nil {
			return err
		}
	}
	if t.Algorithm != "" && !slices.Contains(algorithms, t.Algorithm) {
		return fmt.Errorf("algorithm %q is not known; use one of %s", t.Algorithm, strings.Join(algorithms, ", "))
	}
	return nil
}

func (t Tokens) rotateEvery() time.Duration {
	if t.RotateKeys == nil {
		return 90 * day
	}
	return time.Duration(*t.RotateKeys)
}

func (s Sessions) validate() error {
	for _, err := range []error{
		between("idle_timeout", s.IdleTimeout, caddy.Duration(time.Second), caddy.Duration(400*day)),
		between("max_lifetime", s.MaxLifetime, caddy.Duration(time.Second), caddy.Duration(400*day)),
		between("max_per_user", s.MaxPerUser, 1, 100),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *App) validate() error {
	if _, err := originHost(a.Origin); err != nil {
		return err
	}
	for _, section := range []struct {
		key string
		err error
	}{
		{"otp", a.OTP.validate()}, {"limits", a.Limits.validate()},
		{"tokens", a.Tokens.validate()}, {"sessions", a.Sessions.validate()},
		{"retention", a.Retention.validate()},
	} {
		if section.err != nil {
			return fmt.Errorf("%s: %w", section.key, section.err)
		}
	}
	return nil
}

// originHost is the host of an origin; empty for none.
func originHost(origin string) (string, error) {
	if origin == "" {
		return "", nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Path+u.RawQuery+u.Fragment != "" {
		return "", fmt.Errorf("origin %q: write scheme and host alone, such as https://app.example.com", origin)
	}
	return u.Host, nil
}

func or(d caddy.Duration, standard time.Duration) time.Duration {
	if d == 0 {
		return standard
	}
	return time.Duration(d)
}

func orInt(n, standard int) int {
	if n == 0 {
		return standard
	}
	return n
}

// rules gives the domain its settings, defaults filled in.
func (a *App) rules() (auth.Settings, error) {
	limits, err := a.Limits.Rules()
	if err != nil {
		return auth.Settings{}, err
	}
	a.Limits.standFor(&limits, a.allFree())
	s := auth.Settings{
		OTP: auth.OTP{
			Length: orInt(a.OTP.Length, 6), TTL: or(a.OTP.TTL, 5*time.Minute),
			Attempts: orInt(a.OTP.Attempts, 5), ResendAfter: or(a.OTP.ResendAfter, time.Minute),
		},
		Limits: limits, AppName: a.AppName,
		AccessTTL: or(a.Tokens.AccessTTL, 15*time.Minute), RefreshGrace: 30 * time.Second,
		IdleTimeout: or(a.Sessions.IdleTimeout, 7*day), MaxLifetime: or(a.Sessions.MaxLifetime, 30*day),
		MaxPerUser:       orInt(a.Sessions.MaxPerUser, 10),
		SessionRetention: or(a.Retention.Sessions, 30*day), DeviceRetention: or(a.Retention.Devices, 400*day),
	}
	if a.Tokens.RefreshGrace != nil {
		s.RefreshGrace = time.Duration(*a.Tokens.RefreshGrace)
	}
	for _, t := range a.OTP.TestNumbers {
		parsed, err := t.parse()
		if err != nil {
			return s, err
		}
		s.OTP.TestNumbers = append(s.OTP.TestNumbers, parsed)
		a.log.Warn("a test number signs in with a fixed code", "phone", phone.Mask(t.Phone), "until", t.Until)
	}
	return s, nil
}

// resolve fills placeholders in. A placeholder that gives nothing is an error:
// an empty secret would protect nothing.
func resolve(repl *caddy.Replacer, key, value string) (string, error) {
	if value == "" {
		return "", nil
	}
	resolved, err := repl.ReplaceOrErr(value, true, true)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return resolved, nil
}
