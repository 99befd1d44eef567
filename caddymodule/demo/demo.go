// Package demo serves the page of Caddyfile.example that shows a session as the
// browser's client sees it. It is a package of its own, so that a Caddy that
// guards a real app need not carry it.
package demo

import (
	"embed"
	"io/fs"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(new(Files)) }

// dist is what web/scripts/build.mjs makes of web/demo. It is committed, because
// whoever builds a Caddy has no npm.
//
//go:embed dist
var dist embed.FS

// Files are the page's files, for Caddy's file_server:
//
//	{
//		filesystem demo sidegate_demo
//	}
type Files struct{ fs.FS }

// CaddyModule returns the Caddy module information.
func (*Files) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.fs.sidegate_demo", New: func() caddy.Module { return new(Files) }}
}

// Provision finds the files.
func (f *Files) Provision(caddy.Context) (err error) {
	f.FS, err = fs.Sub(dist, "dist")
	return err
}

// UnmarshalCaddyfile reads the bare name: there is nothing to set.
func (*Files) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() || d.NextBlock(0) {
		return d.ArgErr()
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Files)(nil)
	_ caddyfile.Unmarshaler = (*Files)(nil)
	_ fs.FS                 = (*Files)(nil)
)
