package web

import (
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// A page whose script works sends itself again, without a person: it must not
// do so for ever, whatever the server goes on to say.
func TestAPageAsksForWorkTwice(t *testing.T) {
	puzzle := &auth.Error{Code: auth.CodeRateLimited, RetryAfter: time.Minute, AttemptsLeft: -1, Puzzle: &auth.Puzzle{Challenge: `16.1."`, Bits: 16}}
	const work = `" data-challenge="16.1.&#34;" data-bits="16" data-text="One moment.`
	for _, route := range []string{"/login", "/login/resend", "/account/phone", "/account/phone/resend"} {
		f := &fake{err: puzzle}
		post := func(field string) string {
			w := call(newPages(f), "POST", route, "phone=%2B15555550100&challenge_id=ch1"+field, cookie)
			check(t, w, 429, "rate_limited", `role="alert" id="alert">Too many codes`, `id="wait" data-seconds="60"`)
			return w.Body.String()
		}
		if page := post(""); f.start.Proof != "" || !strings.Contains(page, `name="proof`+work) || !strings.Contains(page, ` blocking="render"`) {
			t.Errorf("%s, first: the service got %+v; %s", route, f.start, page)
		}
		if page := post("&proof=one"); f.start.Proof != "one" || !strings.Contains(page, `name="last_proof`+work) {
			t.Errorf("%s, again: the service got %+v; %s", route, f.start, page)
		}
		if page := post("&last_proof=two"); f.start.Proof != "two" || strings.Contains(page, "data-challenge") || strings.Contains(page, "blocking") {
			t.Errorf("%s, for good: the service got %+v; %s", route, f.start, page)
		}
		f.err = nil
		if w := call(newPages(f), "POST", route, "phone=%2B15555550100&proof=one", cookie); w.Code != 200 || strings.Contains(w.Body.String(), "proof") {
			t.Errorf("%s: got %d %s", route, w.Code, w.Body)
		}
	}
}
