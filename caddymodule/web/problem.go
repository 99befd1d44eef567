package web

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// refused readies an answer that shows an error: its status, its headers and
// the view's words for it. It is where faults of ours are logged, once.
func (p *Pages) refused(w http.ResponseWriter, r *http.Request, err error, v *view) (status int) {
	status, code := p.StatusOf(err, false)
	e := auth.AsError(err)
	h := w.Header()
	h.Set("Sidegate-Error", string(code))
	wait := e.RetryAfter
	if wait <= 0 && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
		wait = 2 * time.Second
	}
	if wait > 0 {
		h.Set("Retry-After", strconv.Itoa(upTo(wait)))
	}
	if status != http.StatusInternalServerError { // waiting does not cure that
		v.Wait = upTo(wait)
	}
	if status >= 500 {
		p.logFault(r.Context(), code, err)
	}
	// A page is sent again by its script, without a person. So the second puzzle
	// has its solution in a field of its own, and nothing follows on that.
	if v.LastProof == "" {
		v.Puzzle = e.Puzzle
	}
	v.Alert, v.Field, v.Left = p.Look.alert(code), aboutInput[code], max(0, e.AttemptsLeft)
	return status
}

// aboutInput are the refusals that another input cures.
var aboutInput = map[auth.Code]bool{
	auth.CodePhoneInvalid: true, auth.CodePhoneNotSupported: true, auth.CodeOTPInvalid: true,
}

// alert is the text for a code: most texts bear the code's name.
func (l *Look) alert(code auth.Code) string {
	if _, ok := l.locales.all[0].Texts[string(code)]; ok {
		return string(code)
	}
	return string(auth.CodeInvalidRequest)
}

func (p *Pages) logFault(ctx context.Context, code auth.Code, err error) {
	level := slog.LevelError
	if ctx.Err() != nil {
		level = slog.LevelDebug // the client left; no fault of ours
	}
	p.Log.Log(ctx, level, "page could not be answered", "code", string(code), "error", err.Error())
}

// problem answers with a page that holds nothing but the error.
func (p *Pages) problem(w http.ResponseWriter, r *http.Request, err error) {
	v := view{Title: "problem_title"}
	status := p.refused(w, r, err, &v)
	if p.show(w, r, status, "error", v) != nil {
		http.Error(w, v.Alert, status)
	}
}

// upTo rounds a wait up to whole seconds.
func upTo(d time.Duration) int { return max(0, int((d+time.Second-1)/time.Second)) }
