package caddymodule

import (
	"encoding/json"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("sidegate", parseGlobal)
	httpcaddyfile.RegisterDirective("sidegate", parseSite)
	// Before everything that looks at credentials, so that no site needs an
	// order line.
	httpcaddyfile.RegisterDirectiveOrder("sidegate", httpcaddyfile.Before, "basic_auth")
}

// word reads the arguments, and the block, of one key.
type word func(d *caddyfile.Dispenser) error

// words are the keys of a block. One that ends in * may be given repeatedly.
type words map[string]word

// block reads the block of the current line; all keys in it are known, and
// given once.
func block(d *caddyfile.Dispenser, known words) error {
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		key := d.Val()
		read, ok := known[key]
		if !ok {
			read, ok = known[key+"*"]
		} else if seen[key] {
			return d.Errf("%s is given twice; keep one", key)
		}
		if !ok {
			return d.Errf("unknown key %q; known here: %s", key, known.list())
		}
		seen[key] = true
		if err := read(d); err != nil {
			return err
		}
	}
	return nil
}

func (w words) list() string {
	if len(w) == 0 {
		return "none"
	}
	var keys []string
	for key := range w {
		keys = append(keys, strings.TrimSuffix(key, "*"))
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}

// section is a key with a block of its own and no arguments.
func section(known words) word {
	return func(d *caddyfile.Dispenser) error {
		if d.NextArg() {
			return d.Errf("%q stands where a { should", d.Val())
		}
		return block(d, known)
	}
}

// checked runs the section's own check after a key, so that its error has the
// key's line.
func checked(read word, check func() error) word {
	return func(d *caddyfile.Dispenser) error {
		if err := read(d); err != nil {
			return err
		}
		if err := check(); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}
}

// single reads exactly one argument.
func single(d *caddyfile.Dispenser) (key, value string, err error) {
	key = d.Val()
	if !d.Args(&value) || value == "" {
		return key, "", d.Errf("%s needs a value", key)
	}
	if d.NextArg() {
		return key, "", d.Errf("%s takes one value; %q is one too many", key, d.Val())
	}
	return key, value, nil
}

func textWord(to *string) word {
	return func(d *caddyfile.Dispenser) error {
		key, value, err := single(d)
		if err != nil {
			return err
		}
		*to = value
		return openURL(d, key, value)
	}
}

// readURL reads the one argument of such as `sender webhook`.
func readURL(d *caddyfile.Dispenser, of string, to *string) error {
	if !d.Args(to) || d.NextArg() {
		return d.Errf("%s needs one URL", of)
	}
	return openURL(d, of, *to)
}

// openURL refuses a URL in which a secret came out of {$NAME}.
func openURL(d *caddyfile.Dispenser, key, value string) error {
	if !strings.Contains(value, "://") {
		return nil
	}
	password := ""
	if u, err := url.Parse(value); err == nil {
		password, _ = u.User.Password()
	}
	for _, variable := range os.Environ() {
		name, held, _ := strings.Cut(variable, "=")
		if password != "" && held == password || isIn(name, held, value) {
			return errReadable(d, key, name)
		}
	}
	return nil
}

func errReadable(d *caddyfile.Dispenser, key, name string) error {
	return d.Errf("%s: a secret written as {$%s} ends up readable in the admin API; write {env.%s}", key, name, name)
}

// secretWord refuses a secret that came out of {$NAME}: Caddy would keep it in
// the clear in its admin API and its autosaved configuration.
func secretWord(to *string) word {
	return func(d *caddyfile.Dispenser) error {
		key, value, err := single(d)
		if err != nil {
			return err
		}
		for _, variable := range os.Environ() {
			name, held, _ := strings.Cut(variable, "=")
			if held == value || isIn(name, held, value) {
				return errReadable(d, key, name)
			}
		}
		if strings.Contains(value, "{$") {
			return d.Errf("%s: a secret written as {$NAME} ends up readable in the admin API; write {env.NAME}", key)
		}
		*to = value
		return nil
	}
}

var (
	secretName = regexp.MustCompile(`(?i)pass|secret|token|key|credential`)
	inBraces   = regexp.MustCompile(`\{[^}]*\}`)
)

// isIn reports whether a variable whose name says that it is a secret is part of
// a value, as a password is of a dsn. What a placeholder names, such as a file,
// is none.
func isIn(name, held, value string) bool {
	const least = 6 // shorter ones may stand there by accident
	return len(held) >= least && secretName.MatchString(name) && strings.Contains(inBraces.ReplaceAllString(value, ""), held)
}

func durationWord(to *caddy.Duration) word {
	return func(d *caddyfile.Dispenser) error {
		key, value, err := single(d)
		if err != nil {
			return err
		}
		parsed, err := caddy.ParseDuration(value)
		if err != nil {
			return d.Errf("%s: %q is no duration; write it as 15m or 7d", key, value)
		}
		if parsed <= 0 {
			return d.Errf("%s: %q is too short", key, value)
		}
		*to = caddy.Duration(parsed)
		return nil
	}
}

func numberWord[T int | uint64](to *T) word {
	return func(d *caddyfile.Dispenser) error {
		key, value, err := single(d)
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(value, 10, 62)
		if err != nil || n == 0 {
			return d.Errf("%s: %q is no whole number above 0", key, value)
		}
		*to = T(n)
		return nil
	}
}

func listWord(to *[]string) word {
	return func(d *caddyfile.Dispenser) error {
		key := d.Val()
		if *to = d.RemainingArgs(); len(*to) == 0 {
			return d.Errf("%s needs at least one value", key)
		}
		return nil
	}
}

// guestWord reads a key whose first argument names a module of the namespace.
func guestWord(namespace, inline string, keep func(json.RawMessage)) word {
	return func(d *caddyfile.Dispenser) error {
		key := d.Val()
		if !d.NextArg() {
			return d.Errf("%s needs the name of one, such as those of https://caddyserver.com/docs/modules in %s", key, namespace)
		}
		name := d.Val()
		guest, err := caddyfile.UnmarshalModule(d, namespace+"."+name)
		if err != nil {
			return err
		}
		keep(caddyconfig.JSONModuleObject(guest, inline, name, nil))
		return nil
	}
}

// parseGlobal reads the global option. The contract of its keys stands in
// docs/caddyfile.md.
func parseGlobal(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the sidegate global option is given twice; keep one")
	}
	d.Next()
	var a App
	if err := section(a.words())(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "sidegate", Value: caddyconfig.JSON(&a, nil)}, nil
}

func (a *App) words() words {
	originChecked := func() error {
		if strings.Contains(a.Origin, "{") {
			return nil // a placeholder, filled in when the configuration is loaded
		}
		_, err := originHost(a.Origin)
		return err
	}
	return words{
		"app_name":   textWord(&a.AppName),
		"origin":     checked(textWord(&a.Origin), originChecked),
		"issuer":     textWord(&a.Issuer),
		"audience":   textWord(&a.Audience),
		"master_key": a.readMasterKey,
		"store":      guestWord("sidegate.stores", "engine", func(raw json.RawMessage) { a.StoreRaw = raw }),
		"sender*":    guestWord("sidegate.senders", "sender", func(raw json.RawMessage) { a.SendersRaw = append(a.SendersRaw, raw) }),
		"risk":       guestWord("sidegate.risks", "risk", func(raw json.RawMessage) { a.RiskRaw = raw }),
		"directory":  guestWord("sidegate.directories", "directory", func(raw json.RawMessage) { a.DirectoryRaw = raw }),
		"notify*":    guestWord("sidegate.notifiers", "notifier", func(raw json.RawMessage) { a.NotifyRaw = append(a.NotifyRaw, raw) }),
		"otp":        section(a.OTP.words()),
		"limits":     section(a.Limits.words()),
		"tokens":     section(a.Tokens.words()),
		"sessions":   section(a.Sessions.words()),
		"retention":  section(a.Retention.words()),
	}
}

func (o *OTP) words() words {
	return words{
		"length":          checked(numberWord(&o.Length), func() error { return o.validate() }),
		"ttl":             checked(durationWord(&o.TTL), func() error { return o.validate() }),
		"attempts":        checked(numberWord(&o.Attempts), func() error { return o.validate() }),
		"resend_after":    checked(durationWord(&o.ResendAfter), func() error { return o.validate() }),
		"allow_countries": checked(listWord(&o.AllowCountries), func() error { return o.validate() }),
		"text*":           checked(o.readText, func() error { return o.validate() }),
		"test_number*":    checked(o.readTestNumber, func() error { return o.validate() }),
	}
}

func (o *OTP) readTestNumber(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 4 || args[2] != "until" {
		return d.Err("write it as: test_number +15555550100 424242 until 2027-06-30")
	}
	o.TestNumbers = append(o.TestNumbers, TestNumber{Phone: args[0], Code: args[1], Until: args[3]})
	return nil
}

func (t *Tokens) words() words {
	check := func() error { return t.validate() }
	return words{
		"access_ttl":    checked(durationWord(&t.AccessTTL), check),
		"refresh_grace": checked(t.readGrace, check),
		"algorithm":     checked(textWord(&t.Algorithm), check),
		"rotate_keys":   checked(t.readRotation, check),
	}
}

// readRotation is a duration, or off.
func (t *Tokens) readRotation(d *caddyfile.Dispenser) error {
	_, value, err := single(d)
	if err != nil {
		return err
	}
	var every time.Duration
	if value != "off" && value != "0" {
		if every, err = caddy.ParseDuration(value); err != nil {
			return d.Errf("rotate_keys: %q is no duration; write it as 90d, or off", value)
		}
	}
	t.RotateKeys = new(caddy.Duration(every))
	return nil
}

// readGrace is a duration that may be 0, also without a unit.
func (t *Tokens) readGrace(d *caddyfile.Dispenser) error {
	_, value, err := single(d)
	if err != nil {
		return err
	}
	grace, err := caddy.ParseDuration(value)
	if err != nil && value != "0" {
		return d.Errf("refresh_grace: %q is no duration; write it as 30s, or 0", value)
	}
	t.RefreshGrace = new(caddy.Duration(grace))
	return nil
}

func (s *Sessions) words() words {
	check := func() error { return s.validate() }
	return words{
		"idle_timeout": checked(durationWord(&s.IdleTimeout), check),
		"max_lifetime": checked(durationWord(&s.MaxLifetime), check),
		"max_per_user": checked(numberWord(&s.MaxPerUser), check),
	}
}

func (r *Retention) words() words {
	check := func() error { return r.validate() }
	return words{
		"sessions": checked(durationWord(&r.Sessions), check),
		"devices":  checked(durationWord(&r.Devices), check),
	}
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*BadgerStore)(nil)
	_ caddyfile.Unmarshaler = (*LocalDirectory)(nil)
	_ caddyfile.Unmarshaler = (*Matcher)(nil)
)
