// Package sql looks phone numbers up in the app's own table of users, in
// PostgreSQL, MySQL or MariaDB. It is a package of its own, since the drivers
// make a binary megabytes larger; cmd/sidegate has it.
package sql

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
)

func init() { caddy.RegisterModule(new(Directory)) }

// Directory asks the app's own table of users who a phone number is, after the
// code was right. One row is an account, none is an unknown number. Anything
// else is 503 for the client, and its code stays good. Nothing is ever written.
type Directory struct {
	// Which database it is: postgres, or mysql, which is MariaDB as well.
	Engine string `json:"engine"`
	// Where it is and who we are there: use {env.NAME} or {file./path}. For
	// postgres a URL or key=value pairs, as psql takes them; for mysql
	// user:password@tcp(host:port)/database. Without TLS whose certificate is
	// checked, whoever is on the way can sign in as anybody; the log warns.
	DSN string `json:"dsn"`
	// One SELECT whose only parameter ($1 for postgres, ? for mysql) is the
	// number in E.164, such as +46701234567. Its columns are, in this order: the
	// id (a whole number), the type, the roles, and, if there is one named so,
	// banned. It must give one row at most; two are a fault.
	Query string `json:"query"`
	// How long one question may take, a new connection included, 100ms to 8s: a
	// sign-in may take 10 s as a whole. A person waits for it. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// Connections that may be open at once, 1 to 100; further questions wait for
	// one. Too many on many nodes use up what the database allows. Default: 8.
	MaxOpen int `json:"max_open,omitempty"`

	source source
}

const (
	defaultTimeout = 5 * time.Second
	defaultMaxOpen = 8
	mostOpen       = 100
)

// CaddyModule returns the Caddy module information.
func (*Directory) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.directories.sql", New: func() caddy.Module { return new(Directory) }}
}

// Provision resolves the placeholders and reads the DSN. It connects to nothing.
func (d *Directory) Provision(ctx caddy.Context) error {
	if err := errors.Join(d.checkEngine(), caddymodule.CheckWait(d.Timeout), d.checkMaxOpen()); err != nil {
		return err
	}
	e := engines[d.Engine]
	if !strings.Contains(d.Query, e.parameter) {
		return fmt.Errorf("query must be a SELECT with %s in the place of the number", e.parameter)
	}
	dsn, err := caddymodule.Resolve("dsn", d.DSN)
	if err != nil {
		return err
	}
	if dsn == "" {
		return fmt.Errorf("dsn is needed, such as %s", e.example)
	}
	if d.source, err = e.read(dsn, d.timeout()); err != nil {
		return fmt.Errorf("dsn cannot be read%s; write it as %s", missingFile(err), e.example) // the cause would repeat it
	}
	if d.source.exposed {
		ctx.Slogger().Warn("the users' database is on another machine, without TLS or with a certificate that is not checked: "+
			"whoever is on the way can answer in its place and sign in as anybody; use "+e.remedy, "engine", d.Engine)
	}
	return nil
}

func (d *Directory) checkEngine() error {
	if _, known := engines[d.Engine]; !known {
		return fmt.Errorf("directory sql knows no %q; use postgres, or mysql (also for MariaDB)", d.Engine)
	}
	return nil
}

func (d *Directory) checkMaxOpen() error {
	if d.MaxOpen < 0 || d.MaxOpen > mostOpen {
		return fmt.Errorf("max_open is %d: use a value from 1 to %d", d.MaxOpen, mostOpen)
	}
	return nil
}

func (d *Directory) timeout() time.Duration { return cmp.Or(time.Duration(d.Timeout), defaultTimeout) }

// Directory returns the directory, with a pool that has no connection yet.
func (d *Directory) Directory(auth.Store, auth.Secrets) (auth.Directory, error) {
	return newUsers(d.source.connector, d.Query, d.timeout(), cmp.Or(d.MaxOpen, defaultMaxOpen)), nil
}

// UnmarshalCaddyfile reads:
//
//	directory sql postgres|mysql {
//		dsn      TEXT
//		query    TEXT
//		timeout  DURATION
//		max_open NUMBER
//	}
func (d *Directory) UnmarshalCaddyfile(in *caddyfile.Dispenser) error {
	in.Next()
	if !in.Args(&d.Engine) || in.NextArg() {
		return in.Err("directory sql needs one word: postgres or mysql")
	}
	if err := d.checkEngine(); err != nil {
		return in.WrapErr(err)
	}
	return caddymodule.ReadKeys(in, map[string]caddymodule.Key{
		"dsn":      caddymodule.SecretKey(&d.DSN),
		"query":    caddymodule.TextKey(&d.Query),
		"timeout":  caddymodule.WaitKey(&d.Timeout),
		"max_open": d.readMaxOpen,
	})
}

func (d *Directory) readMaxOpen(in *caddyfile.Dispenser) error {
	if err := caddymodule.NumberKey(&d.MaxOpen)(in); err != nil {
		return err
	}
	if err := d.checkMaxOpen(); err != nil {
		return in.WrapErr(err)
	}
	return nil
}

// Interface guards
var (
	_ caddymodule.Directory = (*Directory)(nil)
	_ caddyfile.Unmarshaler = (*Directory)(nil)
	_ caddy.Provisioner     = (*Directory)(nil)
)
