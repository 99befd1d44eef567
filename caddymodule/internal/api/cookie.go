package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// SetCookie gives the browser the session cookie.
func (a *API) SetCookie(w http.ResponseWriter, r *http.Request, value string, maxAge time.Duration) {
	seconds := int(lifeSeconds(maxAge))
	if seconds < 1 {
		seconds = 1 // 0 would leave the attribute out and make it last with the browser
	}
	a.putCookie(w, a.cookie(r, a.CookieName(r), value, seconds))
}

// ClearCookie takes the session cookie away.
func (a *API) ClearCookie(w http.ResponseWriter, r *http.Request) {
	a.putCookie(w, a.cookie(r, a.CookieName(r), "", -1)) // written as Max-Age=0
}

// putCookie replaces what this answer has said of the cookie before: one that
// was renewed on the way and then ended must not come twice.
func (a *API) putCookie(w http.ResponseWriter, c *http.Cookie) {
	lines := slices.DeleteFunc(w.Header()["Set-Cookie"], func(line string) bool {
		return strings.HasPrefix(line, c.Name+"=")
	})
	w.Header()["Set-Cookie"] = append(lines, c.String())
}

// DeviceProof is what makes the browser a known one; empty: nothing does.
func (a *API) DeviceProof(r *http.Request) string {
	cookies := r.CookiesNamed(a.DeviceCookieName(r))
	if len(cookies) != 1 {
		return ""
	}
	return cookies[0].Value
}

// SetDeviceProof makes the browser a known one after a sign-in, whatever the
// transport of its session. It outlives the session: a sign-out is when it is
// needed.
func (a *API) SetDeviceProof(w http.ResponseWriter, r *http.Request, proof string) {
	if proof != "" {
		a.putCookie(w, a.cookie(r, a.DeviceCookieName(r), proof, int(auth.DeviceProofLife/time.Second)))
	}
}

func (a *API) cookie(r *http.Request, name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: a.CookieSecure(r), SameSite: http.SameSiteLaxMode,
	}
}
