package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// client is a person, or a few, with many sessions, who remembers what was
// answered. Its fields are used by one goroutine at a time, dead apart.
type client struct {
	site     *site
	number   int
	logins   int
	held     []*holding
	over     []*holding
	waiting  *login // its code is there, and was not brought back or got no answer
	answered map[string]int
	dead     atomic.Bool // the server is being killed: failures mean nothing
}

// login is a sign-in under way.
type login struct {
	phone, device   string
	challenge, code string
	tried           bool // the code was brought back, and no answer came
}

// holding is one session, as far as answers tell.
type holding struct {
	tokens
	phone  string
	device string
	before string // the refresh token before the current one
	oldest string // an older one: its use is reuse
	lost   bool   // a refresh got no answer
	reason string // how it ended
	unsure bool   // what would have ended it got no answer
	checks int    // restarts that it was seen refused after
}

func everyone(crowd []*client, do func(*client)) {
	var wg sync.WaitGroup
	for _, one := range crowd {
		wg.Go(func() { do(one) })
	}
	wg.Wait()
}

func (c *client) fail(format string, args ...any) {
	c.site.t.Helper()
	c.site.t.Errorf("client %d: %s", c.number, fmt.Sprintf(format, args...))
}

// ask sends a request. ok is false when no answer came, which only a dying
// server may do.
func (c *client) ask(method, path string, body any, headers ...string) (r reply, ok bool) {
	r, err := c.site.try(method, path, body, headers...)
	if err != nil {
		if !c.dead.Load() {
			c.fail("%s %s: %v", method, path, err)
		}
		return r, false
	}
	return r, true
}

// act does one thing at random.
func (c *client) act() {
	n := rand.IntN(12)
	if len(c.held) == 0 || n < 3 {
		if l := c.start(); l != nil {
			c.verify(l)
		}
		return
	}
	i := rand.IntN(len(c.held))
	h := c.held[i]
	switch {
	case n < 8:
		c.refresh(h)
	case n == 8 && h.oldest != "":
		c.end(i, "reused", 400, "POST", "/refresh", map[string]any{"refresh_token": h.oldest})
	case n == 9:
		c.end(i, "logout", 204, "POST", "/logout", map[string]any{"refresh_token": h.Refresh})
	case n == 10:
		c.revoke(i)
	case n == 11 && c.waiting == nil:
		c.waiting = c.start()
	}
}

// start asks for a code and waits for it.
func (c *client) start() *login {
	// Of the five sessions of a user two are on one device, so that the second
	// replaces the first.
	l := &login{phone: fmt.Sprintf("+4670%02d%05d", 10+c.number, c.logins/5), device: fmt.Sprint("dev-", max(1, c.logins%5))}
	c.logins++
	r, ok := c.ask("POST", apiPath+"/otp", map[string]any{"phone": l.phone})
	if !ok {
		return nil
	}
	var pending struct {
		ID string `json:"challenge_id"`
	}
	if r.status != http.StatusAccepted || json.Unmarshal(r.body, &pending) != nil {
		c.fail("code: %d %s", r.status, r.body)
		return nil
	}
	l.challenge = pending.ID
	for !c.dead.Load() {
		if l.code = c.site.sentCode(l.challenge); l.code != "" {
			return l
		}
	}
	return nil // killed before it was sent
}

// verify brings the code back.
func (c *client) verify(l *login) {
	replaced := slices.IndexFunc(c.held, func(h *holding) bool { return h.phone == l.phone && h.device == l.device })
	r, ok := c.ask("POST", apiPath+"/otp/verify", map[string]any{
		"challenge_id": l.challenge, "code": l.code, "device": map[string]any{"device_id": l.device},
	})
	h := &holding{phone: l.phone, device: l.device}
	switch {
	case !ok:
		l.tried, c.waiting = true, l
		if replaced >= 0 {
			c.held[replaced].unsure, c.held[replaced].reason = true, "replaced"
		}
	case l.tried && r.status == http.StatusBadRequest && r.code() == "otp_expired":
		// It had been used before the server died.
	case r.status != http.StatusOK || json.Unmarshal(r.body, &h.tokens) != nil:
		c.fail("login (brought back before: %v): %d %s", l.tried, r.status, r.body)
	default:
		c.answered["login"]++
		if replaced >= 0 {
			c.drop(replaced, "replaced")
		}
		c.held = append(c.held, h)
	}
}

// refresh renews a session that must live.
func (c *client) refresh(h *holding) {
	r, ok := c.ask("POST", apiPath+"/refresh", map[string]any{"refresh_token": h.Refresh})
	if !ok {
		h.lost = true
		return
	}
	next := tokens{}
	if r.status != http.StatusOK || json.Unmarshal(r.body, &next) != nil || next.SessionID != h.SessionID || next.Refresh == h.Refresh {
		c.fail("refresh (one got no answer: %v): %d %s", h.lost, r.status, r.body)
		return
	}
	c.answered["refresh"]++
	h.oldest, h.before, h.tokens, h.lost = h.before, h.Refresh, next, false
}

// revoke ends a session from another one of its user.
func (c *client) revoke(i int) {
	h := c.held[i]
	other := slices.IndexFunc(c.held, func(o *holding) bool { return o != h && o.phone == h.phone })
	if other < 0 {
		return
	}
	c.end(i, "revoked", 204, "DELETE", "/sessions/"+h.SessionID, nil, "Authorization", bearer(c.held[other].tokens))
}

// end sends what ends a session.
func (c *client) end(i int, reason string, status int, method, route string, body any, headers ...string) {
	r, ok := c.ask(method, apiPath+route, body, headers...)
	switch h := c.held[i]; {
	case !ok:
		h.unsure, h.reason = true, reason
	case r.status != status || reason == "reused" && r.code() != "refresh_token_reused":
		c.fail("%s: %d %s", reason, r.status, r.body)
	default:
		c.drop(i, reason)
	}
}

// drop notes that a session is over.
func (c *client) drop(i int, reason string) {
	h := c.held[i]
	h.unsure, h.reason = false, reason
	c.answered[reason]++
	c.held = slices.Delete(c.held, i, i+1)
	c.over = append(c.over, h)
}

// check holds a server that has just started against all that was answered.
func (c *client) check() {
	for i := len(c.held) - 1; i >= 0; i-- {
		if c.held[i].unsure {
			c.settle(i)
		}
	}
	for _, h := range c.held {
		c.checkHeld(h)
	}
	for _, h := range c.over {
		if h.checks++; h.checks <= 2 {
			c.checkOver(h)
		}
	}
	if l := c.waiting; l != nil {
		c.waiting = nil
		c.verify(l)
		c.answered["code"]++
	}
}

// info asks a session how it is.
func (c *client) info(h *holding) (active bool, reason string) {
	r, ok := c.ask("GET", apiPath+"/session", nil, "Authorization", bearer(h.tokens))
	var info struct {
		ID     string `json:"session_id"`
		Active bool   `json:"is_active"`
		Reason string `json:"end_reason"`
	}
	if ok && (r.status != http.StatusOK || json.Unmarshal(r.body, &info) != nil || info.ID != h.SessionID) {
		c.fail("session: %d %s", r.status, r.body)
	}
	return info.Active, info.Reason
}

// settle finds out what became of a session whose end got no answer. Either
// will do, but then it must be so everywhere.
func (c *client) settle(i int) {
	h := c.held[i]
	if active, _ := c.info(h); active {
		h.unsure, h.reason = false, ""
		return
	}
	c.drop(i, h.reason)
	c.answered["unsure, over"]++
}

// checkHeld wants a session to live, in the generation that was answered: the
// access token names it, and one ahead of the store's would be refused.
func (c *client) checkHeld(h *holding) {
	r, ok := c.ask("GET", "/app", nil, "Authorization", bearer(h.tokens))
	if ok && r.status != http.StatusOK {
		c.fail("the access token of a session that lives: %d %s", r.status, r.body)
	}
	if h.before != "" && !h.lost {
		c.repeat(h)
	}
	if active, reason := c.info(h); !active {
		c.fail("a session that lives is shown as %q", reason)
	}
	c.refresh(h)
}

// repeat uses the predecessor, which gives the same successor again.
func (c *client) repeat(h *holding) {
	r, ok := c.ask("POST", apiPath+"/refresh", map[string]any{"refresh_token": h.before})
	var again tokens
	if ok && (r.status != http.StatusOK || json.Unmarshal(r.body, &again) != nil || again.Refresh != h.Refresh) {
		c.fail("the predecessor gave no or another successor: %d %s", r.status, r.body)
	}
}

// checkOver wants a session to be refused, and to say why it ended.
func (c *client) checkOver(h *holding) {
	r, ok := c.ask("GET", "/app", nil, "Authorization", bearer(h.tokens))
	if ok && (r.status != http.StatusUnauthorized || r.code() != "session_revoked") {
		c.fail("the access token of a session that is %s: %d %s", h.reason, r.status, r.body)
	}
	r, ok = c.ask("POST", apiPath+"/refresh", map[string]any{"refresh_token": h.Refresh})
	if ok && (r.status != http.StatusBadRequest || r.code() != "session_revoked") {
		c.fail("the refresh token of a session that is %s: %d %s", h.reason, r.status, r.body)
	}
	if active, reason := c.info(h); active || reason != h.reason {
		c.fail("a session that is %s is shown as active %v, %q", h.reason, active, reason)
	}
}
