package caddymodule_test

import (
	"net/http"
	"testing"
)

// An app behind the gate that is broken into, or that echoes what it is sent,
// must not tell a browser or another proxy who somebody is.
func TestUpstreamCannotSpeakForTheGate(t *testing.T) {
	s := startSite(t, "", "public /open")
	s.upstream.answerWith(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Auth-User-Id", "1")
		w.Header().Set("x_auth.user-roles", "admin")
		w.Header().Set("Sidegate-Error", "session_revoked")
		w.Header().Add("Set-Cookie", "sidegate=stolen; Path=/")
		w.Header().Add("Set-Cookie", "__Host-sidegate=stolen; Path=/")
		w.Header().Add("Set-Cookie", "theme=dark; Path=/")
		w.Header().Set("X-App", "kept")
		w.WriteHeader(http.StatusUnauthorized)
	})
	for _, path := range []string{"/open", "/page"} {
		who := []string{"Authorization", bearer(s.signIn("+46701234567"))}
		r := s.do("GET", path, nil, who...)
		if r.status != http.StatusUnauthorized || r.header.Get("X-App") != "kept" {
			t.Errorf("%s: the app's own answer is lost: %d %v", path, r.status, r.header)
		}
		for name := range r.header {
			switch http.CanonicalHeaderKey(name) {
			case "X-Auth-User-Id", "X_auth.user-Roles", "Sidegate-Error":
				t.Errorf("%s: the app's %s reached the client", path, name)
			}
		}
		if got := r.header.Values("Set-Cookie"); len(got) != 1 || got[0] != "theme=dark; Path=/" {
			t.Errorf("%s: cookies %q", path, got)
		}
	}
}
