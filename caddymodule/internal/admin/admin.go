// Package admin answers the routes of operators: JSON below /sidegate/ of an
// endpoint that only they can reach. It reads requests strictly, calls the
// domain and writes what it says. Who may come in is for the endpoint to say.
package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Base is the path that all routes begin with.
const Base = "/sidegate/"

// Config is what the routes need of the rest of the house. Every field must be
// set; funcs are called by many requests at once.
type Config struct {
	Service *auth.Service
	// ParsePhone gives a number its E.164 form, or refuses it.
	ParsePhone func(text string) (string, error)
	// MaskPhone hides all but the last two digits of a number.
	MaskPhone func(e164 string) string
	// KnownCountry reports whether two capital letters are a country.
	KnownCountry func(country string) bool

	Keys       func() []Key // that tokens are accepted of, the newest first
	RotateKeys func(ctx context.Context) error
	RevokeKeys func(ctx context.Context) error
	Masters    Masters
	Senders    func() []Sender
	Store      func() (StoreInfo, error)
	// Doctor examines the installation; r is the request that asks for it.
	Doctor func(r *http.Request) (report any, err error)
	// AuditHead is the last line of the audit, for JSON.
	AuditHead func() any

	// CheckLock refuses what no backup can be encrypted for.
	CheckLock func(l Lock) error
	// Backup writes a backup, encrypted for the lock.
	Backup func(ctx context.Context, to io.Writer, l Lock) error
	Moves  Moves

	// Problem writes an error as application/problem+json.
	Problem func(w http.ResponseWriter, r *http.Request, err error)
}

// Admin serves the routes below Base.
type Admin struct {
	Config
	mux *http.ServeMux
}

// New makes the routes.
func New(c Config) *Admin {
	a := &Admin{Config: c, mux: http.NewServeMux()}
	for pattern, act := range routes {
		a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, act) })
	}
	a.mux.HandleFunc("/", a.unknown)
	return a
}

// Codes that only HTTP knows.
const (
	codeMethodNotAllowed     auth.Code = "method_not_allowed"
	codeBodyTooLarge         auth.Code = "body_too_large"
	codeUnsupportedMediaType auth.Code = "unsupported_media_type"
)

// ServeHTTP answers one request.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if mutates(r) && fromBrowser(r.Header) {
		a.Problem(w, r, auth.Refuse(auth.CodeCrossOrigin).Because("Browsers may change nothing here."))
		return
	}
	a.mux.ServeHTTP(w, r)
}

func mutates(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// fromBrowser reports whether a browser has made the request. All of them send
// one of these headers with a method that changes something; what is no browser
// has no use for them. So no page that an operator happens to have open can act
// in their place, not even one of an origin that the endpoint allows.
func fromBrowser(h http.Header) bool {
	for name := range h {
		if name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") {
			return true
		}
	}
	return false
}

// streamed is the answer of an act that has written it itself.
type streamed struct{}

// created is the answer of an act that made something.
type created struct{ made any }

func (a *Admin) serve(w http.ResponseWriter, r *http.Request, act act) {
	answer, err := act(a, &call{Request: r, writer: w, operator: a.Service.As(operatorOf(r))})
	if err != nil {
		a.Problem(w, r, err)
		return
	}
	if answer == (streamed{}) {
		return
	}
	status := http.StatusOK
	if c, ok := answer.(created); ok {
		status, answer = http.StatusCreated, c.made
	}
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		a.Problem(w, r, fmt.Errorf("encoding answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone: nobody to tell
}

// unknown answers for a route that is not there, or not with this method.
func (a *Admin) unknown(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := a.mux.Handler(other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if allowed == nil {
		a.Problem(w, r, auth.Refuse(auth.CodeNotFound))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	a.Problem(w, r, auth.Refuse(codeMethodNotAllowed))
}
