package caddymodule

import (
	"errors"
	"net/netip"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func init() {
	caddy.RegisterModule(WebhookSender{})
	caddy.RegisterModule(ExecSender{})
	caddy.RegisterModule(FileSender{})
	caddy.RegisterModule(LogSender{})
}

// WebhookSender posts each message to an URL, signed.
type WebhookSender struct {
	// Where to post; http or https, and over plain http to another machine the
	// codes can be read on the way. Placeholders are allowed.
	URL string `json:"url"`
	// Signs the body (header X-Sidegate-Signature): use {env.NAME} or
	// {file./path}. Default: none, and then nothing is signed.
	Secret string `json:"secret,omitempty"`
	// How long one attempt may take, 100ms to 30s. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	CountryScope
	ChannelScope
	*sender.Webhook `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (WebhookSender) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.senders.webhook", New: func() caddy.Module { return new(WebhookSender) }}
}

// Provision resolves the placeholders and checks the URL.
func (s *WebhookSender) Provision(ctx caddy.Context) error {
	repl := caddy.NewReplacer()
	address, err := resolve(repl, "url", s.URL)
	if err != nil {
		return err
	}
	secret, err := resolve(repl, "secret", s.Secret)
	if err != nil {
		return err
	}
	if secret == "" {
		ctx.Slogger().Warn("the webhook cannot tell our messages from forged ones: give it a secret")
	}
	warnInTheClear(ctx, address)
	if err := errors.Join(checkTimeout(s.Timeout), s.CheckCountries(), s.CheckChannels()); err != nil {
		return err
	}
	s.Webhook, err = sender.NewWebhook(sender.WebhookOptions{URL: address, Secret: []byte(secret), Timeout: time.Duration(s.Timeout)})
	return err
}

func warnInTheClear(ctx caddy.Context, address string) {
	if inTheClear(address) {
		ctx.Slogger().Warn("codes go to another machine over plain http: whoever is on the way can read them and sign in as anybody; use https")
	}
}

// inTheClear reports whether an URL leads off this machine without TLS.
func inTheClear(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback())
}

func checkTimeout(d caddy.Duration) error {
	return between("timeout", d, caddy.Duration(100*time.Millisecond), caddy.Duration(30*time.Second))
}

// checkWait is checkTimeout for what is asked in the middle of a sign-in: a
// decision that has begun may take 10 s as a whole.
func checkWait(d caddy.Duration) error {
	return between("timeout", d, caddy.Duration(100*time.Millisecond), caddy.Duration(8*time.Second))
}

func waitWord(to *caddy.Duration) word {
	return checked(durationWord(to), func() error { return checkWait(*to) })
}

func timeoutWord(to *caddy.Duration) word {
	return checked(durationWord(to), func() error { return checkTimeout(*to) })
}

// UnmarshalCaddyfile reads:
//
//	sender webhook URL {
//		secret    TEXT
//		timeout   DURATION
//		countries COUNTRY…
//		channels  CHANNEL…
//	}
func (s *WebhookSender) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if err := readURL(d, "sender webhook", &s.URL); err != nil {
		return err
	}
	return block(d, scopeWords(&s.CountryScope, &s.ChannelScope, words{
		"secret":  secretWord(&s.Secret),
		"timeout": timeoutWord(&s.Timeout),
	}))
}

// ExecSender runs a command for each message, with the message as JSON on its
// standard input.
type ExecSender struct {
	// The command and its arguments. No shell reads them.
	Command []string `json:"command"`
	// How long one attempt may take, 100ms to 30s. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	CountryScope
	ChannelScope
	*sender.Exec `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (ExecSender) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.senders.exec", New: func() caddy.Module { return new(ExecSender) }}
}

// Provision checks the command.
func (s *ExecSender) Provision(caddy.Context) error {
	if len(s.Command) == 0 {
		return errors.New("exec: the command is missing")
	}
	repl := caddy.NewReplacer()
	command, err := resolve(repl, "command", s.Command[0])
	if err != nil {
		return err
	}
	if err := errors.Join(checkTimeout(s.Timeout), s.CheckCountries(), s.CheckChannels()); err != nil {
		return err
	}
	s.Exec, err = sender.NewExec(command, s.Command[1:], time.Duration(s.Timeout))
	return err
}

// Free says that no message costs money.
func (ExecSender) Free() bool { return true }

// UnmarshalCaddyfile reads:
//
//	sender exec COMMAND ARGUMENT… {
//		timeout   DURATION
//		countries COUNTRY…
//		channels  CHANNEL…
//	}
func (s *ExecSender) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	s.Command = d.RemainingArgs()
	if len(s.Command) == 0 {
		return d.Err("sender exec needs a command")
	}
	return block(d, scopeWords(&s.CountryScope, &s.ChannelScope, words{"timeout": timeoutWord(&s.Timeout)}))
}

// FileSender appends each message to a file, as a line of JSON. It is for tests
// and for programs that read the file: codes stand in it in the clear.
type FileSender struct {
	// The file; made with mode 0600. Placeholders are allowed.
	Path string `json:"path"`

	CountryScope
	ChannelScope
	*sender.File `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (FileSender) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.senders.file", New: func() caddy.Module { return new(FileSender) }}
}

// Provision resolves the path.
func (s *FileSender) Provision(caddy.Context) error {
	path, err := resolve(caddy.NewReplacer(), "path", s.Path)
	if err != nil {
		return err
	}
	if err := errors.Join(s.CheckCountries(), s.CheckChannels()); err != nil {
		return err
	}
	s.File, err = sender.NewFile(path)
	return err
}

// Free says that no message costs money.
func (FileSender) Free() bool { return true }

// UnmarshalCaddyfile reads:
//
//	sender file PATH {
//		countries COUNTRY…
//		channels  CHANNEL…
//	}
func (s *FileSender) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.Args(&s.Path) || d.NextArg() {
		return d.Err("sender file needs one path")
	}
	return block(d, scopeWords(&s.CountryScope, &s.ChannelScope, nil))
}

// LogSender writes each message to Caddy's log: for development, since whoever
// reads the log can sign in as anybody.
type LogSender struct {
	CountryScope
	ChannelScope
	*sender.Log `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (LogSender) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.senders.log", New: func() caddy.Module { return new(LogSender) }}
}

// Provision takes Caddy's log.
func (s *LogSender) Provision(ctx caddy.Context) error {
	s.Log = sender.NewLog(ctx.Slogger())
	return errors.Join(s.CheckCountries(), s.CheckChannels())
}

// Free says that no message costs money.
func (LogSender) Free() bool { return true }

// UnmarshalCaddyfile reads:
//
//	sender log {
//		countries COUNTRY…
//		channels  CHANNEL…
//	}
func (s *LogSender) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	return block(d, scopeWords(&s.CountryScope, &s.ChannelScope, nil))
}

// Interface guards
var (
	_ Sender = (*WebhookSender)(nil)
	_ Sender = (*ExecSender)(nil)
	_ Sender = (*FileSender)(nil)
	_ Sender = (*LogSender)(nil)
)
