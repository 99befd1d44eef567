package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/api"
	"github.com/sidegate/sidegate/caddymodule/internal/gate"
	"github.com/sidegate/sidegate/caddymodule/internal/phone"
	"github.com/sidegate/sidegate/caddymodule/web"
)

func init() { caddy.RegisterModule(Handler{}) }

// Handler is the gate in front of a site. It serves sign-in, refresh and
// logout itself, lets nobody else through to the next handler without a live
// session (but for public paths), and tells the next handler who it is.
type Handler struct {
	// Where the JSON API is. Default: /api/v1/auth.
	API string `json:"api,omitempty"`
	// Where the hosted pages are; "off" for none, and then a browser without a
	// session gets 401 instead of the login page. Default: /auth.
	Pages string `json:"pages,omitempty"`
	// How the hosted pages look. In a Caddyfile: the block of pages.
	Branding *Branding `json:"branding,omitempty"`
	// What needs no session. A request that has one still carries its identity.
	Public *Public `json:"public,omitempty"`
	// What needs more than a session. Every rule that matches must hold, on
	// public paths too.
	Require []Require `json:"require,omitempty"`
	// How the names of the identity headers begin. Every header of a client
	// that begins so is deleted. Default: X-Auth-.
	HeaderPrefix string `json:"header_prefix,omitempty"`

	app  *App
	gate *gate.Gate
	look *web.Look
	log  *slog.Logger
	own  func() (*rooms, error)
	warn func() // of addresses that clients choose; speaks once
	// stopping is closed when the server begins to shut down: it waits for
	// requests, and an event stream is one that never ends by itself.
	stopping chan struct{}
}

// Public are the requests that need no session: any path or any matcher set.
type Public struct {
	// Exact paths, or prefixes that end in /*.
	Paths []string `json:"paths,omitempty"`
	// Sets of request matchers, such as a named matcher of a Caddyfile. A path
	// that can be read in two ways is never public.
	MatchersRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`
}

// Require is a rule for some requests: any of the paths or matcher sets.
type Require struct {
	// Exact paths, or prefixes that end in /*.
	Paths []string `json:"paths,omitempty"`
	// Sets of request matchers, such as a named matcher of a Caddyfile.
	MatchersRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`
	// The user needs any of these roles. Default: being signed in is enough.
	Roles []string `json:"roles,omitempty"`
	// The last sign-in with a code is at most this old. Default: any age.
	Fresh caddy.Duration `json:"fresh,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.sidegate", New: func() caddy.Module { return new(Handler) }}
}

// Provision builds the gate.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.log = ctx.Slogger()
	if err := checkSole(ctx); err != nil {
		return err
	}
	if errorsPassOn(ctx) {
		h.log.Warn("handle_errors passes requests on that no gate has seen: an error can come before the gate, and what the client claims in identity headers goes through; write sidegate in handle_errors too")
	}
	app, err := ctx.App("sidegate")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	c := gate.Config{
		API: cmp.Or(h.API, "/api/v1/auth"), Pages: h.Pages, HeaderPrefix: h.HeaderPrefix, Origin: h.app.Origin,
		Sessions: h.app, Tokens: h.app, OriginalURI: originalURI,
		Problem: func(w http.ResponseWriter, r *http.Request, refusal *auth.Error, credential bool) {
			api.Problems{Log: h.log}.Write(w, r, refusal, credential)
		},
	}
	switch c.Pages {
	case "":
		c.Pages = "/auth"
	case "off":
		c.Pages = ""
	}
	if err := h.loadRules(ctx, &c); err != nil {
		return err
	}
	if err := h.loadLook(&c); err != nil {
		return err
	}
	if h.gate, err = gate.New(c); err != nil {
		return err
	}
	h.app.apis = append(h.app.apis, c.API)
	h.warn = sync.OnceFunc(func() {
		h.log.Warn("limits by address protect nothing: behind a trusted proxy the client can write its own address into X-Forwarded-For; add trusted_proxies_strict to the servers global option")
	})
	h.stopping = make(chan struct{})
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		server.RegisterOnShutdown(sync.OnceFunc(func() { close(h.stopping) }))
	}
	h.own = sync.OnceValues(func() (*rooms, error) { return h.rooms(c.API, c.Pages) })
	return nil
}

func (h *Handler) loadRules(ctx caddy.Context, c *gate.Config) error {
	if h.Public != nil {
		match, err := loadMatchers(ctx, h.Public, h.Public.MatchersRaw, false)
		if err != nil {
			return fmt.Errorf("public: %w", err)
		}
		c.Public, c.PublicMatch = h.Public.Paths, match
	}
	for i := range h.Require {
		r := &h.Require[i]
		match, err := loadMatchers(ctx, r, r.MatchersRaw, true)
		if err != nil {
			return fmt.Errorf("require: %w", err)
		}
		if err := r.validate(len(match)); err != nil {
			return fmt.Errorf("require: %w", err)
		}
		c.Require = append(c.Require, gate.Rule{Paths: r.Paths, Match: match, Roles: r.Roles, Fresh: time.Duration(r.Fresh)})
	}
	return nil
}

func (r *Require) validate(matchers int) error {
	if len(r.Paths)+matchers == 0 {
		return errors.New("name the paths or matchers that the rule is for, such as /admin/*")
	}
	for _, role := range r.Roles {
		if role == "" || !isLabel(role) {
			return fmt.Errorf("role %q: a role is 1 to 64 letters, digits and any of . _ : -", role)
		}
	}
	return between("fresh", r.Fresh, caddy.Duration(time.Second), caddy.Duration(400*day))
}

// loadMatchers loads the field MatchersRaw of a struct. A matcher that cannot answer counts
// as onFault says: a rule holds, a path is not public.
func loadMatchers(ctx caddy.Context, owner any, raw caddyhttp.RawMatcherSets, onFault bool) (match []func(*http.Request) bool, err error) {
	if err := checkSets(raw); err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, nil
	}
	loaded, err := ctx.LoadModule(owner, "MatchersRaw")
	if err != nil {
		return nil, err
	}
	var sets caddyhttp.MatcherSets
	if err := sets.FromInterface(loaded); err != nil {
		return nil, err
	}
	return []func(*http.Request) bool{func(r *http.Request) bool {
		matched, err := sets.AnyMatchWithError(r)
		return matched && err == nil || err != nil && onFault
	}}, nil
}

// ServeHTTP is the way of every request: firewall, our own routes, credential,
// rules, identity, next handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	passage := h.admit(w, r)
	if passage == nil {
		return nil // answered
	}
	passage.Identify(r) // last: whatever failed before leaves nothing to trust
	h.publish(r, passage)
	defer passage.Done()
	err := next.ServeHTTP(passage.Depart(w, r), r)
	if passage.Aborted() {
		panic(http.ErrAbortHandler) // nothing less keeps the server from ending the answer in good order
	}
	return err
}

// admit answers the request, or returns its passage to the next handler. A
// panic in here is a fault of ours, and lets nobody through.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request) (passage *gate.Passage) {
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(fault)
		}
		h.log.Error("panic in the gate", "panic", fmt.Sprint(fault))
		h.gate.Refuse(w, r, auth.Refuse(auth.CodeInternal))
		passage = nil
	}()
	if refusal := h.gate.Firewall(r); refusal != nil {
		h.gate.Refuse(w, r, refusal)
		return nil
	}
	if place, route := h.gate.Own(r); place != gate.Upstream {
		h.serveOwn(w, r, place, route)
		return nil
	}
	credential, refusal := h.gate.Credential(r)
	if before := passed(r); before != nil && refusal == nil {
		passage, refusal = h.gate.Resume(r, before)
	} else if refusal == nil {
		passage, refusal = h.gate.Decide(r, credential)
	}
	if refusal != nil {
		h.gate.Refuse(w, r, refusal)
		return nil
	}
	return passage
}

// rooms are what answers our own routes.
type rooms struct {
	api   *api.API
	pages *web.Pages // nil when they are off
}

func (h *Handler) rooms(apiBase, base string) (*rooms, error) {
	rt, err := h.app.runtime()
	if err != nil {
		return nil, err
	}
	service := &reach{Service: rt.service, app: h.app, log: h.log}
	crossOrigin := func(r *http.Request) bool { return gate.CrossOrigin(r, h.app.Origin) }
	// The prefix demands Secure (RFC 6265bis, section 4.1.3.2).
	cookieSecure := func(r *http.Request) bool { return strings.HasPrefix(gate.CookieName(r), "__Host-") }
	routes := api.New(api.Config{
		Service: service, Tokens: rt.tokens, ParsePhone: h.app.parsePhone, MaskPhone: phone.Mask,
		ClientIP: clientIP, CrossOrigin: crossOrigin, Bearer: gate.Bearer, CookieName: gate.CookieName, CookieSecure: cookieSecure,
		DeviceCookieName: gate.DeviceCookieName,
		ReadReport:       h.app.readReport,
		Verify:           http.HandlerFunc(h.gate.Verify), Stopping: h.stopping, Log: h.log,
	})
	if base == "" {
		return &rooms{api: routes}, nil
	}
	pages := web.New(web.Config{
		Service: service, Base: base, API: apiBase, Look: h.look, ReturnTo: h.gate.ReturnTo,
		ParsePhone: h.app.parsePhone, MaskPhone: phone.Mask, ClientIP: clientIP, CrossOrigin: crossOrigin,
		CookieName: gate.CookieName, SetCookie: routes.SetCookie, ClearCookie: routes.ClearCookie,
		DeviceProof: routes.DeviceProof, SetDeviceProof: routes.SetDeviceProof,
		StatusOf: api.StatusOf, Log: h.log,
	})
	return &rooms{routes, pages}, nil
}

func (h *Handler) serveOwn(w http.ResponseWriter, r *http.Request, place gate.Place, route string) {
	h.app.calls.RLock()
	defer h.app.calls.RUnlock()
	if clientChoosesIP(r) {
		h.warn()
	}
	own, err := h.own()
	if err != nil {
		h.gate.Refuse(w, r, auth.AsError(err))
		return
	}
	ctx := context.WithValue(r.Context(), nearKey{}, isNear(r))
	switch {
	case place == gate.API:
		own.api.ServeHTTP(w, r.WithContext(ctx), route)
	case place == gate.Pages && own.pages != nil:
		own.pages.ServeHTTP(w, r.WithContext(ctx), route)
	default:
		h.gate.Refuse(w, r, auth.Refuse(auth.CodeNotFound))
	}
}

// originalURI is the target before any rewrite.
func originalURI(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.RequestURI
	}
	return r.RequestURI
}

const passageVar = "sidegate.passage"

// publish tells Caddy who it is: for {http.auth.user.*}, for user_id in the
// access log, and for the sidegate matcher. An anonymous request has empty
// placeholders: Caddy would pass unknown ones on as they are written.
func (h *Handler) publish(r *http.Request, p *gate.Passage) {
	caddyhttp.SetVar(r.Context(), passageVar, p)
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	repl.Map(func(key string) (any, bool) { return placeholder(p, key) })
}

func placeholder(p *gate.Passage, key string) (any, bool) {
	var value string
	switch key {
	case "http.auth.user.id":
		value = strconv.FormatUint(p.Identity.UserID, 10)
	case "http.auth.user.type":
		value = p.Identity.Type
	case "http.auth.user.roles":
		value = p.Identity.RolesText
	case "http.auth.user.session_id":
		value = p.Identity.SessionID.String()
	default:
		return nil, false
	}
	if !p.SignedIn {
		value = ""
	}
	return value, true
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
