package web

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// SignIn sends codes and takes them back.
type SignIn interface {
	Start(ctx context.Context, req auth.StartRequest) (auth.Pending, error)
	Status(ctx context.Context, challengeID string) (auth.Status, error)
	Verify(ctx context.Context, req auth.VerifyRequest) (auth.Grant, error)
}

// Account shows and ends the sessions of the cookie's owner.
type Account interface {
	AuthenticateCookie(ctx context.Context, value string, use auth.Use, rotate bool) (id auth.Identity, rotated string, maxAge time.Duration, err error)
	ProofOfTicket(text string) (auth.Proof, bool)
	Sessions(ctx context.Context, owner auth.Proof) ([]auth.SessionInfo, error)
	Endings
}

// Endings takes access away. A repeated call is no error.
type Endings interface {
	Logout(ctx context.Context, owner auth.Proof, scope auth.Scope) error
	Revoke(ctx context.Context, owner auth.Proof, id auth.SessionID) error
	RevokeOthers(ctx context.Context, owner auth.Proof) error
}

// Numbers changes the number that the cookie's owner signs in with.
type Numbers interface {
	PhoneChangeable(ctx context.Context, owner auth.Proof) error
	StartPhoneChange(ctx context.Context, owner auth.Proof, req auth.StartRequest) (auth.Pending, error)
	ChangePhone(ctx context.Context, owner auth.Proof, req auth.ChangeRequest) (user auth.User, deviceProof string, err error)
}

// Service is the domain as these pages need it; *auth.Service is one.
type Service interface {
	SignIn
	Account
	Numbers
}

// Config is what the pages need of the rest of the house. Every func must be
// set; they are called by many requests at once.
type Config struct {
	Service Service

	Base string // the path the pages are below, such as "/auth"
	API  string // the path the JSON API is below
	Look *Look  // default: the one without a brand

	// ReturnTo makes a safe path of this origin of what a stranger asks for,
	// and a default of anything else.
	ReturnTo    func(asked string) string
	ParsePhone  func(text string) (string, error)
	MaskPhone   func(phone string) string
	ClientIP    func(*http.Request) string
	CrossOrigin func(*http.Request) bool

	CookieName  func(*http.Request) string
	SetCookie   func(w http.ResponseWriter, r *http.Request, value string, maxAge time.Duration)
	ClearCookie func(w http.ResponseWriter, r *http.Request)

	// DeviceProof makes a browser a known one of its number.
	DeviceProof    func(*http.Request) string
	SetDeviceProof func(w http.ResponseWriter, r *http.Request, proof string)

	// StatusOf is the one map from errors to HTTP, api.StatusOf.
	StatusOf func(err error, bearer bool) (status int, code auth.Code)

	Now func() time.Time // default: time.Now
	Log *slog.Logger
}

// Pages serves the hosted pages.
type Pages struct{ Config }

// New makes the pages.
func New(c Config) *Pages {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Look == nil {
		c.Look = plain()
	}
	return &Pages{c}
}

// handler answers one method of one page. It writes the answer, or returns the
// error and writes nothing.
type handler func(p *Pages, w http.ResponseWriter, r *http.Request) error

// pages are the paths below Base. What only forms are sent to leads somewhere
// when its address is opened by hand.
var pages = map[string]struct {
	get  handler
	post handler
}{
	"/login":                {(*Pages).login, (*Pages).sendCode},
	"/login/code":           {to("/login"), (*Pages).checkCode},
	"/login/resend":         {to("/login"), (*Pages).resend},
	"/account":              {(*Pages).account, nil},
	"/account/end":          {to("/account"), (*Pages).end},
	"/account/others":       {to("/account"), (*Pages).endOthers},
	"/account/phone":        {(*Pages).number, moving((*Pages).sendToNumber)},
	"/account/phone/code":   {to("/account/phone"), moving((*Pages).checkNumber)},
	"/account/phone/resend": {to("/account/phone"), moving((*Pages).resendToNumber)},
	"/logout":               {to("/account"), (*Pages).logout},
}

// ServeHTTP answers one request. route is the decoded path below Base, such as
// "/login".
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request, route string) {
	defer func() { p.recovered(recover(), w, r) }()
	setHeaders(w.Header())
	if err := p.serve(w, r, route); err != nil {
		p.problem(w, r, err)
	}
}

func (p *Pages) serve(w http.ResponseWriter, r *http.Request, route string) error {
	page, ok := pages[route]
	if file, isAsset := p.Look.assets[route]; isAsset {
		ok, page.get = true, file.get
	}
	if !ok {
		return auth.Refuse(auth.CodeNotFound)
	}
	switch {
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && page.get != nil:
		return page.get(p, w, r)
	case r.Method == http.MethodPost && page.post != nil:
		if p.CrossOrigin(r) {
			return auth.Refuse(auth.CodeCrossOrigin)
		}
		return page.post(p, w, r)
	}
	allow := "GET, HEAD, POST"
	if page.post == nil {
		allow = "GET, HEAD"
	}
	w.Header().Set("Allow", allow)
	return auth.Refuse("method_not_allowed")
}

// setHeaders sets what every answer carries. The referrer policy is not the
// API's no-referrer: under that, browsers send "Origin: null" with a form, and
// one without Fetch Metadata would look like another origin's.
func setHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// policy is what a page may do. Scripts need the nonce of their answer: the
// site behind the gate may serve files of strangers, and 'self' would let them
// run here.
func (f *frame) policy() string {
	return "default-src 'none'; script-src 'nonce-" + f.Nonce + "'; style-src 'self'; img-src " + f.imgSrc +
		"; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'" +
		"; require-trusted-types-for 'script'; trusted-types 'none'"
}

// view is what a page shows. Title, Alert and Notice are keys of texts.
type view struct {
	*frame
	Title         string
	Alert, Notice string // what went wrong; what went well
	Left, Wait    int    // tries, and seconds until the next one, beside Alert; 0: not said
	Field         bool   // Alert is about what was entered
	Self          string // the route that shows this page to whoever opens it; empty: none
	ReturnTo      string

	Phone, Hint, ChallengeID string // the sign-in's, or the change's
	ResendIn, ExpiresIn      int    // seconds; 0: not known, or now

	Puzzle           *auth.Puzzle // work that the script does before it sends the form again; nil: none
	Proof, LastProof string       // the work that the form has brought

	Sessions []row // the account's
	Others   bool  // there are some beside the current one
	Movable  bool  // the number can be changed

	EndOthers bool // is ticked, beside the code of a new number
}

// show writes a page. It is rendered first, so that a fault leaves the answer
// free for the problem.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, status int, name string, v view) error {
	v.frame = p.frame(r)
	var page bytes.Buffer
	if err := p.Look.views[name].ExecuteTemplate(&page, "layout", v); err != nil {
		return fmt.Errorf("rendering page %s: %w", name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.Lang())
	h.Set("Content-Security-Policy", v.policy())
	h.Add("Vary", "Accept-Language")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // the client may be gone: nobody to tell
	return nil
}

// to answers with a redirect to another page. 303 makes it a GET. Pairs are of
// the address's query.
func to(route string, pairs ...string) handler {
	return func(p *Pages, w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, p.frame(r).To(route, pairs...), http.StatusSeeOther)
		return nil
	}
}

func (a asset) get(_ *Pages, w http.ResponseWriter, r *http.Request) error {
	a.serve(w, r)
	return nil
}

// recovered turns a panic into the page for a fault of ours.
func (p *Pages) recovered(v any, w http.ResponseWriter, r *http.Request) {
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
		panic(v)
	}
	p.Log.Error("panic in a hosted page", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	p.problem(w, r, auth.Refuse(auth.CodeInternal))
}
