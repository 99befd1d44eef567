package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/gate"
)

var (
	_ Service = (*fake)(nil)
	_ Service = (*auth.Service)(nil)

	now   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	mine  = auth.SessionID{1}
	other = auth.SessionID{2}
)

// fake is a Service whose every method fails with err when it is set.
type fake struct {
	err     error
	authErr error // of Authenticate and AuthenticateCookie alone
	ended   bool
	rotated string
	proof   string // of the grant's browser
	panics  any
	news    chan struct{} // of Watch
	end     auth.EndReason
	due     time.Time
	watched int // watchers that have not stopped

	start    auth.StartRequest
	verify   auth.VerifyRequest
	change   auth.ChangeRequest
	kind     auth.TicketKind
	ticket   string
	scope    auth.Scope
	owner    auth.Proof
	id       auth.SessionID
	at       time.Time
	in       auth.DeviceInput
	logouts  int
	verified int
	reported []auth.Report
}

func (f *fake) grant() auth.Grant {
	return auth.Grant{
		Identity:   auth.Identity{UserID: 7, Type: "customer", SessionID: mine, DeviceID: "d1"},
		Generation: 1, Ticket: "sgr1_mine", AccessTTL: 1500 * time.Millisecond, TicketTTL: time.Hour,
		SessionExpiresAt: now.Add(time.Hour).In(time.FixedZone("x", 3600)), Now: now, NewUser: true, DeviceProof: f.proof,
	}
}

func (f *fake) Start(_ context.Context, r auth.StartRequest) (auth.Pending, error) {
	f.start = r
	if f.panics != nil {
		panic(f.panics)
	}
	return auth.Pending{ChallengeID: "ch1", ExpiresIn: 5 * time.Minute, ResendAfter: 59500 * time.Millisecond, CodeLength: 6, Channel: "sms"}, f.err
}

func (f *fake) Status(context.Context, string) (auth.Status, error) {
	return auth.Status{Status: auth.DeliverySent, ExpiresIn: time.Minute, AttemptsLeft: 4}, f.err
}

func (f *fake) Report(_ context.Context, r auth.Report) error {
	f.reported = append(f.reported, r)
	return f.err
}

func (f *fake) Verify(_ context.Context, r auth.VerifyRequest) (auth.Grant, error) {
	f.verify = r
	f.verified++
	return f.grant(), f.err
}

func (f *fake) Refresh(_ context.Context, ticket string, kind auth.TicketKind) (auth.Grant, error) {
	f.ticket, f.kind = ticket, kind
	return f.grant(), f.err
}

func (f *fake) Authenticate(context.Context, auth.Proof, auth.Use) (auth.Identity, error) {
	return f.grant().Identity, f.authErr
}

func (f *fake) AuthenticateCookie(context.Context, string, auth.Use, bool) (auth.Identity, string, time.Duration, error) {
	return f.grant().Identity, f.rotated, time.Hour, f.authErr
}

func (f *fake) ProofOfTicket(text string) (auth.Proof, bool) {
	switch text {
	case "sgr1_mine", "sgc1_mine":
		return auth.Proof{SessionID: mine, Generation: 1}, true
	case "sgr1_other":
		return auth.Proof{SessionID: other, Generation: 1}, true
	}
	return auth.Proof{}, false
}

func (f *fake) Session(_ context.Context, owner auth.Proof, id auth.SessionID) (auth.SessionInfo, error) {
	f.owner, f.id = owner, id
	if id != mine && f.err == nil {
		return auth.SessionInfo{}, auth.Refuse(auth.CodeNotFound)
	}
	info := auth.SessionInfo{SessionID: id, UserID: 7, IsActive: !f.ended, Current: true, CreatedAt: now.In(time.FixedZone("x", 3600))}
	if f.ended {
		info.EndReason = auth.EndRevoked
	}
	return info, f.err
}

func (f *fake) Sessions(_ context.Context, owner auth.Proof) ([]auth.SessionInfo, error) {
	f.owner = owner
	return []auth.SessionInfo{{SessionID: mine, IsActive: true, Current: true}, {SessionID: other, IsActive: true}}, f.err
}

func (f *fake) Activity(_ context.Context, owner auth.Proof, id auth.SessionID, at time.Time) error {
	f.owner, f.id, f.at = owner, id, at
	return f.err
}

func (f *fake) Watch(auth.SessionID) (news <-chan struct{}, stop func()) {
	f.watched++
	return f.news, func() { f.watched-- }
}

func (f *fake) Standing(context.Context, auth.SessionID) (auth.EndReason, time.Time, error) {
	if f.panics != nil {
		panic(f.panics)
	}
	if !f.due.IsZero() && !time.Now().Before(f.due) {
		return auth.EndRevoked, f.due, f.err
	}
	if f.ended {
		return auth.EndRevoked, f.due, f.err
	}
	return f.end, f.due, f.err
}

func (f *fake) Logout(_ context.Context, owner auth.Proof, scope auth.Scope) error {
	f.owner, f.scope = owner, scope
	f.logouts++
	return f.err
}

func (f *fake) Revoke(_ context.Context, owner auth.Proof, id auth.SessionID) error {
	f.owner, f.id = owner, id
	return f.err
}

func (f *fake) RevokeOthers(_ context.Context, owner auth.Proof) error {
	f.owner = owner
	return f.err
}

func (f *fake) UpdateDevice(_ context.Context, owner auth.Proof, in auth.DeviceInput) (auth.Device, bool, error) {
	f.owner, f.in = owner, in
	return auth.Device{ID: "d1", Type: in.Type, Name: in.Name, UserID: 7}, in.PushToken != "", f.err
}

func (f *fake) User(context.Context, auth.Proof) (auth.User, error) {
	return auth.User{ID: 7, Phone: "+15555550100", Type: "customer", CreatedAt: now}, f.err
}

func (f *fake) StartPhoneChange(ctx context.Context, owner auth.Proof, r auth.StartRequest) (auth.Pending, error) {
	f.owner = owner
	return f.Start(ctx, r)
}

func (f *fake) ChangePhone(_ context.Context, owner auth.Proof, r auth.ChangeRequest) (auth.User, string, error) {
	f.owner, f.change = owner, r
	f.verified++
	return auth.User{ID: 7, Phone: "+15555550199", Type: "customer", CreatedAt: now}, f.proof, f.err
}

func (f *fake) Healthy(context.Context) error { return f.err }

// fakeTokens knows "good", "other" and "old".
type fakeTokens struct{ signErr error }

func (t *fakeTokens) Sign(auth.Grant) (string, error) { return "good", t.signErr }
func (*fakeTokens) JWKS() []byte                      { return []byte(`{"keys":[]}`) }

func (*fakeTokens) Verify(text string) (auth.Proof, error) {
	switch text {
	case "good":
		return auth.Proof{SessionID: mine, Generation: 1, UserID: 7}, nil
	case "other":
		return auth.Proof{SessionID: other, Generation: 1, UserID: 8}, nil
	case "old":
		return auth.Proof{}, auth.Refuse(auth.CodeTokenExpired)
	}
	return auth.Proof{}, auth.Refuse(auth.CodeTokenInvalid)
}

func (t *fakeTokens) VerifyIgnoringExpiry(text string) (auth.Proof, error) {
	if text == "old" {
		text = "good"
	}
	return t.Verify(text)
}

// newAPI makes the routes over a fake service. A request with the header
// X-Cross is from another origin.
func newAPI(f *fake) *API {
	return New(Config{
		Service: f, Tokens: &fakeTokens{},
		ParsePhone: func(text string) (string, error) {
			if !strings.HasPrefix(text, "+") {
				return "", auth.Refuse(auth.CodePhoneInvalid)
			}
			return text, nil
		},
		MaskPhone:        func(p string) string { return "••" + p[len(p)-2:] },
		ClientIP:         func(*http.Request) string { return "192.0.2.1" },
		CrossOrigin:      func(r *http.Request) bool { return r.Header.Get("X-Cross") != "" },
		Bearer:           gate.Bearer,
		CookieName:       func(*http.Request) string { return "__Host-sidegate" },
		DeviceCookieName: func(*http.Request) string { return "__Host-sidegate-device" },
		CookieSecure:     func(*http.Request) bool { return true },
		Log:              slog.New(slog.DiscardHandler),
		Now:              func() time.Time { return now },
	})
}

// call makes a request; heads are "Name: value" lines. A body gets the JSON
// media type unless a head names another.
func call(a *API, method, route, body string, heads ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/api/v1/auth/x", strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	first := map[string]bool{}
	for _, head := range heads {
		name, value, _ := strings.Cut(head, ": ")
		if name == "Content-Type" && !first[name] {
			r.Header.Del(name)
			first[name] = true
		}
		if value != "" {
			r.Header.Add(name, value)
		}
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r, route)
	return w
}

// check holds an answer to a status and a code ("" for success).
func check(t *testing.T, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	if w.Code != status || w.Header().Get("Sidegate-Error") != code {
		t.Errorf("got %d %q, want %d %q: %s", w.Code, w.Header().Get("Sidegate-Error"), status, code, w.Body)
	}
	if code != "" && !strings.Contains(w.Body.String(), `"code":"`+code+`"`) {
		t.Errorf("body %s lacks code %q", w.Body, code)
	}
}
