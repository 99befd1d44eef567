package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule/internal/gate"
	"github.com/sidegate/sidegate/caddymodule/web"
)

// Branding gives the hosted pages the look of the site. Their name is the
// app's app_name.
type Branding struct {
	// The logo: an https URL, or a path of this site, which then needs no
	// session. Default: the name of the app.
	Logo string `json:"logo,omitempty"`
	// The colour of buttons, as 1a5fb4. Text on it is black or white, and links
	// get a shade of it, whichever can be read. Default: a blue.
	Accent string `json:"accent,omitempty"`
	// A folder whose files replace those of the pages: layout.html, phone.html,
	// code.html, account.html, error.html, style.css, and words/LANGUAGE.json to
	// add a language or change its texts. Read when the configuration is loaded.
	// Default: none.
	Templates string `json:"templates,omitempty"`
}

// readPages reads the place of the pages, and a block about their look.
func (h *Handler) readPages(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() > 0 {
		if err := textWord(&h.Pages)(d); err != nil {
			return err
		}
	}
	b := new(Branding)
	err := block(d, words{
		"logo": textWord(&b.Logo), "accent": b.readAccent, "templates": textWord(&b.Templates),
	})
	switch {
	case err != nil:
		return err
	case *b != Branding{}:
		h.Branding = b
	case h.Pages == "":
		return d.Err("pages needs a value")
	}
	if h.Pages == "off" && h.Branding != nil {
		return d.WrapErr(errNoPages)
	}
	return nil
}

var errNoPages = errors.New("the pages are off, and have no look; remove the block")

// readAccent explains what becomes of a colour as most people write it.
func (b *Branding) readAccent(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() == 0 {
		return d.Err("accent needs a colour; in a Caddyfile # begins a comment, so write 1a5fb4")
	}
	return textWord(&b.Accent)(d)
}

// loadLook gives the pages their look. A logo of this site must load for who is
// not signed in.
func (h *Handler) loadLook(c *gate.Config) error {
	if c.Pages == "" {
		if h.Branding != nil {
			return errNoPages
		}
		return nil
	}
	look, logo, err := h.Branding.look(h.app.AppName)
	if err != nil {
		return err
	}
	if h.look = look; logo != "" {
		c.Public = append(slices.Clone(c.Public), logo)
	}
	return nil
}

// look reads what the branding names, so that a mistake shows before the
// configuration runs. public is the path that the logo needs, or empty.
func (b *Branding) look(appName string) (look *web.Look, public string, err error) {
	brand := web.Brand{AppName: appName}
	if b != nil {
		repl := caddy.NewReplacer()
		for _, field := range []struct {
			key, value string
			to         *string
		}{{"logo", b.Logo, &brand.Logo}, {"accent", b.Accent, &brand.Accent}, {"templates", b.Templates, &brand.Templates}} {
			if *field.to, err = resolve(repl, field.key, field.value); err != nil {
				return nil, "", fmt.Errorf("pages: %w", err)
			}
		}
	}
	if look, err = web.NewLook(brand); err != nil {
		return nil, "", fmt.Errorf("pages: %w", err)
	}
	if strings.HasPrefix(brand.Logo, "/") {
		public = brand.Logo
	}
	return look, public, nil
}
