package api

import (
	"net/http"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// tokenResponse is what a sign-in and a refresh answer. With the cookie
// transport the two tokens are absent.
type tokenResponse struct {
	AccessToken      string         `json:"access_token,omitempty"`
	RefreshToken     string         `json:"refresh_token,omitempty"`
	ExpiresIn        int64          `json:"expires_in"`
	UserID           uint64         `json:"auth_user_id"`
	UserType         string         `json:"user_type"`
	SessionID        auth.SessionID `json:"session_id"`
	UserRoles        []string       `json:"user_roles"`
	TokenType        string         `json:"token_type"`
	ExpiresAt        time.Time      `json:"expires_at"`
	RefreshExpiresIn int64          `json:"refresh_expires_in"`
	SessionExpiresAt time.Time      `json:"session_expires_at"`
	DeviceID         string         `json:"device_id"`
	IsNewUser        bool           `json:"is_new_user"`
	ServerTime       time.Time      `json:"server_time"`
}

// writeGrant answers with the credential in the transport that was asked for.
func (a *API) writeGrant(w http.ResponseWriter, r *http.Request, g auth.Grant, kind auth.TicketKind) error {
	answer := tokenResponse{
		ExpiresIn: lifeSeconds(g.AccessTTL),
		UserID:    g.Identity.UserID, UserType: g.Identity.Type, UserRoles: roles(g.Identity.Roles),
		SessionID: g.Identity.SessionID, DeviceID: g.Identity.DeviceID,
		TokenType: "Bearer", ExpiresAt: g.Now.Add(g.AccessTTL).UTC(),
		RefreshExpiresIn: lifeSeconds(g.TicketTTL), SessionExpiresAt: g.SessionExpiresAt.UTC(),
		IsNewUser: g.NewUser, ServerTime: g.Now.UTC(),
	}
	if kind == auth.CookieTicket {
		a.SetCookie(w, r, g.Ticket, g.TicketTTL)
		a.SetDeviceProof(w, r, g.DeviceProof)
		return writeJSON(w, http.StatusOK, answer)
	}
	token, err := a.Tokens.Sign(g)
	if err != nil {
		return err
	}
	if isBrowser(r) {
		a.SetDeviceProof(w, r, g.DeviceProof)
	}
	answer.AccessToken, answer.RefreshToken = token, g.Ticket
	return writeJSON(w, http.StatusOK, answer)
}

// isBrowser reports what keeps cookies. What keeps tokens itself has no use for
// one.
func isBrowser(r *http.Request) bool { return r.Header.Get("Sec-Fetch-Site") != "" }

// roles are a list in JSON also when there are none.
func roles(of []string) []string {
	if of == nil {
		return []string{}
	}
	return of
}

// refresh answers POST /refresh.
func (a *API) refresh(w http.ResponseWriter, r *http.Request, _ string) error {
	f, err := readFields(w, r)
	if err != nil {
		return err
	}
	ticket, kind := f.text("refresh_token"), auth.RefreshTicket
	if f.err != nil {
		return f.err
	}
	c, err := a.credentialsOf(r)
	switch {
	case err != nil:
		return err
	case ticket != "" && c.hasCookie:
		return invalid("Send the refresh token or the cookie, not both.")
	case c.hasCookie:
		ticket, kind = c.cookie, auth.CookieTicket
	}
	if ticket == "" {
		return auth.Refuse(auth.CodeRefreshInvalid)
	}
	grant, err := a.Service.Refresh(r.Context(), ticket, kind)
	if err != nil {
		return err
	}
	return a.writeGrant(w, r, grant, kind)
}
