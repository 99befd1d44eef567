// Package api answers the JSON routes: it reads requests strictly, calls the
// domain and writes what it says. It decides nothing about sessions.
package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Config is what the routes need of the rest of the house. Every func must be
// set; they are called by many requests at once.
type Config struct {
	Service Service
	Tokens  Tokens

	// ParsePhone gives a number its E.164 form, or refuses it with
	// CodePhoneInvalid or CodePhoneNotSupported.
	ParsePhone func(text string) (string, error)
	// MaskPhone hides all but the last two digits of a number.
	MaskPhone func(phone string) string
	// ClientIP is the address that limits count; empty when unknown.
	ClientIP func(*http.Request) string
	// CrossOrigin reports whether another origin's page made the request.
	CrossOrigin func(*http.Request) bool
	// Bearer reads the value of an Authorization header: the token, whether the
	// scheme is Bearer, and whether there is no more than one token.
	Bearer func(value string) (token string, isBearer, isOne bool)
	// CookieName is the session cookie's name for this request's scheme.
	CookieName func(*http.Request) string
	// DeviceCookieName is the name of the cookie that makes a browser known.
	DeviceCookieName func(*http.Request) string
	// CookieSecure tells whether the cookie gets Secure: always, except on the
	// loopback over plain http.
	CookieSecure func(*http.Request) bool

	// ReadReport reads what a provider says of a message, in a form: ok is false
	// when the sender is not known or the provider has not said it. nil: no
	// sender has a provider that reports.
	ReadReport func(sender string, d Dispatch) (report auth.Report, ok bool)

	Verify http.Handler // GET /verify, the gate's; nil: 404
	// Stopping is closed when the server must let go of its connections, event
	// streams among them; nil: never.
	Stopping <-chan struct{}

	Now func() time.Time
	Log *slog.Logger
}

// API serves the routes below the api path.
type API struct {
	Config
	problems Problems
}

// New makes the routes.
func New(c Config) *API {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &API{Config: c, problems: Problems{Log: c.Log}}
}

// ServeHTTP answers one request. route is the decoded path below the api path,
// such as "/otp/verify".
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request, route string) {
	answer := &answer{ResponseWriter: w}
	bearer := true
	defer func() { a.recovered(recover(), answer, r) }()
	setHeaders(w.Header())

	e, id, err := find(route)
	if err == nil {
		bearer = !e.exchange
		err = a.serve(e, answer, r, id)
	}
	if err != nil {
		a.problems.Write(answer, r, err, bearer)
	}
}

// serve holds a request to what is common to all routes.
func (a *API) serve(e endpoint, w http.ResponseWriter, r *http.Request, id string) error {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // net/http drops the body
	}
	h, ok := e.methods[method]
	if !ok {
		w.Header().Set("Allow", e.allow())
		return auth.Refuse(codeMethodNotAllowed)
	}
	if method != http.MethodGet && a.CrossOrigin(r) {
		return auth.Refuse(auth.CodeCrossOrigin)
	}
	return h(a, w, r, id)
}

// recovered turns a panic into the answer for a fault of ours.
func (a *API) recovered(v any, w *answer, r *http.Request) {
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
		panic(v)
	}
	a.Log.Error("panic in an api route", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if w.started {
		// Half an answer is out: the client must see that it is broken.
		panic(http.ErrAbortHandler)
	}
	a.problems.Write(w, r, auth.Refuse(auth.CodeInternal), false)
}

// setHeaders sets what every answer carries.
func setHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
}
