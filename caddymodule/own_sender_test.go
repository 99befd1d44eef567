package caddymodule_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
)

func init() { caddy.RegisterModule(Gateway{}) }

// Gateway hands text messages to a gateway in the house.
type Gateway struct {
	URL   string `json:"url"`   // where it listens
	Token string `json:"token"` // lets us in

	caddymodule.CountryScope

	url, token string
	client     http.Client
}

// CaddyModule makes it the sender "gateway".
func (Gateway) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.senders.gateway", New: func() caddy.Module { return new(Gateway) }}
}

// Provision fills the placeholders in.
func (g *Gateway) Provision(caddy.Context) (err error) {
	if g.url, err = caddymodule.Resolve("url", g.URL); err != nil {
		return err
	}
	if g.token, err = caddymodule.Resolve("token", g.Token); err != nil {
		return err
	}
	return g.CheckCountries()
}

// UnmarshalCaddyfile reads its block.
func (g *Gateway) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return caddymodule.ReadKeys(d, map[string]caddymodule.Key{
		"url":       caddymodule.TextKey(&g.URL),
		"token":     caddymodule.SecretKey(&g.Token),
		"countries": g.ReadCountries,
	})
}

// Name is what logs call it.
func (*Gateway) Name() string { return "gateway" }

// Send hands one message over.
func (g *Gateway) Send(ctx context.Context, m auth.Message) error {
	form := url.Values{"to": {m.To}, "text": {m.Text}, "reference": {m.ID}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "Bearer "+g.token)
	answer, err := g.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnprocessableEntity: // it works, and does not like the number
		return fmt.Errorf("no such number: %w", caddymodule.ErrRefused)
	}
	return fmt.Errorf("answered %d", answer.StatusCode)
}
