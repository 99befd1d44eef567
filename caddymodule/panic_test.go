package caddymodule_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
)

func init() {
	caddy.RegisterModule(FaultyMatcher{})
	caddy.RegisterModule(FaultyDirectory{})
}

// FaultyMatcher is a guest of Caddy that breaks when a request says so.
type FaultyMatcher struct{}

// CaddyModule returns the Caddy module information.
func (FaultyMatcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.test_faulty", New: func() caddy.Module { return new(FaultyMatcher) }}
}

func (FaultyMatcher) MatchWithError(r *http.Request) (bool, error) {
	switch r.URL.Query().Get("matcher") {
	case "panics":
		panic(errBroken)
	case "aborts":
		panic(http.ErrAbortHandler)
	case "fails":
		return false, errBroken
	}
	return false, nil
}

func (FaultyMatcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

// FaultyDirectory breaks as theDirectory says, and else knows every number.
type FaultyDirectory struct{}

var theDirectory atomic.Value // of how

// CaddyModule returns the Caddy module information.
func (FaultyDirectory) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.directories.test_faulty", New: func() caddy.Module { return new(FaultyDirectory) }}
}

func (FaultyDirectory) Directory(auth.Store, auth.Secrets) (auth.Directory, error) {
	return FaultyDirectory{}, nil
}

func (FaultyDirectory) Resolve(context.Context, string, string) (auth.Account, error) {
	switch theDirectory.Load() {
	case panics:
		panic(errBroken)
	case fails:
		return auth.Account{}, errors.New("out of reach")
	}
	return auth.Account{UserID: 7, Type: "guest", Roles: []string{"reader"}}, nil
}

// DefaultRoles are all that a review number may have.
func (FaultyDirectory) DefaultRoles() []string { return []string{"reader"} }

func (FaultyDirectory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

var _ caddymodule.Directory = FaultyDirectory{}

// A matcher that breaks is a fault of ours, and one that cannot answer is read
// the stricter way: a path is not public, and a rule holds.
func TestMatcherBreaks(t *testing.T) {
	s := startWith(t, "", `
	@broken test_faulty
	sidegate {
		public  @broken /open
		require @broken role nobody
	}
	reverse_proxy {app}`)
	who := s.who(testA)
	wants(t, "no fault", s.do("GET", "/app", nil, who...), 200, "")
	s.upstream.take()
	page := []string{"Sec-Fetch-Mode", "navigate", "Accept", "text/html"}
	refused(t, "a panic", s.do("GET", "/app?matcher=panics", nil, who...), 500, "internal_error")
	refused(t, "a panic, for a stranger", s.do("GET", "/app?matcher=panics", nil), 500, "internal_error")
	refused(t, "a panic, in a browser", s.do("GET", "/app?matcher=panics", nil, page...), 500, "internal_error")
	refused(t, "a panic, on an open path", s.do("GET", "/open?matcher=panics", nil), 500, "internal_error")
	refused(t, "no answer, for a stranger", s.do("GET", "/app?matcher=fails", nil), 401, "token_missing")
	refused(t, "no answer", s.do("GET", "/app?matcher=fails", nil, who...), 403, "insufficient_role")
	if r, err := s.try("GET", "/app?matcher=aborts", nil, who...); err == nil {
		t.Errorf("an abort is answered: %d", r.status)
	}
	for _, got := range s.upstream.take() {
		t.Errorf("%s reached the app", got.URL)
	}
	wants(t, "afterwards", s.do("GET", "/app", nil, who...), 200, "")
}

// A directory that breaks lets nobody in and costs nobody the code.
func TestDirectoryBreaks(t *testing.T) {
	theDirectory.Store(how(""))
	s := newSite(t)
	s.load(strings.Replace(s.config(noLimits, "", ""), "store badger", "directory test_faulty\n\t\tstore badger", 1))
	t.Cleanup(func() { _ = caddy.Stop() })
	who := []string{"Authorization", bearer(s.signInWith(testA, nil))}
	for mode, want := range map[how]struct {
		status int
		code   string
	}{fails: {503, "store_unavailable"}, panics: {500, "internal_error"}} {
		theDirectory.Store(mode)
		body := map[string]any{"challenge_id": s.start(testA), "code": "424242"}
		refused(t, "a directory that "+string(mode), s.do("POST", apiPath+"/otp/verify", body), want.status, want.code)
		theDirectory.Store(how(""))
		wants(t, "still signed in", s.do("GET", "/app", nil, who...), 200, "")
		if id := s.upstream.one(t).Header.Get("X-Auth-User-Id"); id != "7" {
			t.Errorf("the app heard of user %q", id)
		}
		again := s.tokens(s.do("POST", apiPath+"/otp/verify", body))
		wants(t, "the code again", s.do("GET", "/app", nil, "Authorization", bearer(again)), 200, "")
		s.upstream.take()
	}
}
