package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Codes that only HTTP knows.
const (
	codeMethodNotAllowed     auth.Code = "method_not_allowed"
	codeBodyTooLarge         auth.Code = "body_too_large"
	codeUnsupportedMediaType auth.Code = "unsupported_media_type"
	codeTooEarly             auth.Code = "too_early"
)

// kind is what a code becomes in HTTP.
type kind struct {
	status int
	oauth  string // the OAuth name of the error (RFC 6749 5.2, RFC 6750 3.1, RFC 9470)
	title  string
	detail string // unless the error has its own
}

// kinds is the one map from the domain's codes to HTTP.
var kinds = map[auth.Code]kind{
	auth.CodeInvalidRequest:       {400, "", "Invalid request", "The request cannot be read as this route expects it."},
	auth.CodePhoneInvalid:         {400, "", "Invalid phone number", "The phone number is not valid. It must begin with + and the country code."},
	auth.CodePhoneNotSupported:    {400, "", "Phone number not supported", "Codes cannot be sent to this number."},
	auth.CodeOTPInvalid:           {400, "", "Wrong code", "The code is not right."},
	auth.CodeOTPExpired:           {400, "", "Code expired", "The code is no longer valid. Ask for a new one."},
	auth.CodeOTPAttemptsExhausted: {400, "", "Too many wrong codes", "The code was tried too often. Ask for a new one."},
	auth.CodeRefreshInvalid:       {400, "invalid_grant", "Invalid refresh token", "The refresh token is not valid."},
	auth.CodeRefreshReused:        {400, "invalid_grant", "Refresh token reused", "The refresh token was used before, so its session has been ended."},
	auth.CodeSessionExpired:       {400, "invalid_grant", "Session expired", "The session is over. Sign in again."},
	auth.CodeSessionRevoked:       {400, "invalid_grant", "Session ended", "The session has been ended. Sign in again."},

	auth.CodeTokenMissing:   {401, "invalid_token", "Not signed in", "This needs a signed-in session."},
	auth.CodeTokenInvalid:   {401, "invalid_token", "Invalid token", "The credential is not valid."},
	auth.CodeTokenExpired:   {401, "invalid_token", "Token expired", "The access token has expired. Refresh it."},
	auth.CodeReauthRequired: {401, "insufficient_user_authentication", "Sign in again", "This needs a more recent sign-in."},

	auth.CodeInsufficientRole: {403, "insufficient_scope", "Not allowed", "This account may not do that."},
	auth.CodeAccountDisabled:  {403, "", "Account disabled", "This account cannot sign in."},
	auth.CodeCrossOrigin:      {403, "", "Cross-origin request blocked", "Requests from other origins are not accepted here."},

	auth.CodeNotFound:        {404, "", "Not found", "There is nothing here."},
	codeMethodNotAllowed:     {405, "", "Method not allowed", "The route does not know this method."},
	auth.CodeUserExists:      {409, "", "User exists", "There is such a user already."},
	auth.CodePhoneTaken:      {409, "", "Phone number taken", "The phone number has a user."},
	codeBodyTooLarge:         {413, "", "Body too large", "The request body may have at most 16 KiB."},
	codeUnsupportedMediaType: {415, "", "Unsupported media type", "The request body must be application/json."},
	codeTooEarly:             {425, "", "Too early", "Send the request again when the connection is complete."},

	auth.CodeRateLimited:     {429, "", "Too many requests", "Too many codes were asked for. Wait and try again."},
	auth.CodeTooManyFailures: {429, "", "Too many wrong codes", "Too many wrong codes were given. Wait and try again."},

	auth.CodeInternal:            {500, "", "Internal error", "Something went wrong here."},
	auth.CodeStoreUnavailable:    {503, "", "Service unavailable", "Sessions cannot be read or written right now. Try again."},
	auth.CodeDeliveryUnavailable: {503, "", "Delivery unavailable", "Codes cannot be sent right now. Try again."},
}

// problem is the body of an error answer (RFC 9457). Clients switch on Code.
type problem struct {
	Type         string    `json:"type"`
	Title        string    `json:"title"`
	Status       int       `json:"status"`
	Detail       string    `json:"detail"`
	Code         auth.Code `json:"code"`
	Error        string    `json:"error,omitempty"`
	RetryAfter   int64     `json:"retry_after,omitempty"`
	AttemptsLeft *int      `json:"attempts_left,omitempty"`
	Work         *work     `json:"proof_of_work,omitempty"`
}

// work is what a client may do instead of waiting: find letters that make the
// SHA-256 of challenge, full stop and letters begin with so many zero bits, and
// send the whole text as proof.
type work struct {
	Challenge string `json:"challenge"`
	Bits      int    `json:"bits"`
}

// Problems writes errors as answers. It is the only place that does, also for
// the gate.
type Problems struct {
	Log *slog.Logger // of unexpected errors; nil: slog's default
}

// Write answers with the error as application/problem+json. bearer tells that
// the failure is about the credential of a request (401) and not about a code
// or ticket that was to be exchanged (400).
func (p Problems) Write(w http.ResponseWriter, r *http.Request, err error, bearer bool) {
	code, k, e := classify(err, bearer)
	p.log(r.Context(), code, k.status, err)

	body := problem{
		Type: "urn:sidegate:problem:" + string(code), Title: k.title, Status: k.status,
		Detail: k.detail, Code: code, Error: k.oauth,
	}
	if e.Detail != "" && k.status < 500 {
		body.Detail = e.Detail
	}
	if (code == auth.CodeOTPInvalid || code == auth.CodeOTPAttemptsExhausted) && e.AttemptsLeft >= 0 {
		body.AttemptsLeft = &e.AttemptsLeft
	}
	if e.Puzzle != nil {
		body.Work = &work{e.Puzzle.Challenge, e.Puzzle.Bits}
	}
	h := w.Header()
	if wait := retryAfter(k.status, e); wait > 0 {
		body.RetryAfter = wait
		h.Set("Retry-After", strconv.FormatInt(wait, 10))
	}
	if challenge := challengeOf(code, k); challenge != "" {
		h.Set("WWW-Authenticate", challenge)
	}
	setHeaders(h)
	h.Set("Sidegate-Error", string(code))
	h.Set("Content-Type", "application/problem+json")
	text, _ := json.Marshal(body) // strings and numbers: cannot fail
	w.WriteHeader(k.status)
	_, _ = w.Write(append(text, '\n'))
}

// StatusOf is the HTTP status of an error, for pages that write a body of
// their own, and the code for their Sidegate-Error header.
func StatusOf(err error, bearer bool) (status int, code auth.Code) {
	code, k, _ := classify(err, bearer)
	return k.status, code
}

// classify finds what an error is to the world.
func classify(err error, bearer bool) (auth.Code, kind, *auth.Error) {
	e := auth.AsError(err)
	code := e.Code
	if code == auth.CodeInternal && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		code = auth.CodeStoreUnavailable // only the store is waited for
	}
	if bearer {
		code = asBearer(code)
	}
	k, known := kinds[code]
	if !known {
		code, k = auth.CodeInternal, kinds[auth.CodeInternal]
	}
	if bearer && (code == auth.CodeSessionExpired || code == auth.CodeSessionRevoked) {
		k.status, k.oauth = http.StatusUnauthorized, "invalid_token"
	}
	return code, k, e
}

// asBearer renames the verdicts on a ticket that came as a cookie: to the one
// who sent it, it was a credential and not a grant.
func asBearer(code auth.Code) auth.Code {
	switch code {
	case auth.CodeRefreshInvalid:
		return auth.CodeTokenInvalid
	case auth.CodeRefreshReused:
		return auth.CodeSessionRevoked
	}
	return code
}

// challengeOf is the WWW-Authenticate header: on every 401, and on the 403
// that RFC 6750 3.1 names. RFC 6750 would leave the error out when there was no
// credential; the contract wants one way for all, and clients read the code.
func challengeOf(code auth.Code, k kind) string {
	if k.status == http.StatusUnauthorized || code == auth.CodeInsufficientRole {
		return `Bearer error="` + k.oauth + `"`
	}
	return ""
}

// retryAfter is in whole seconds; a refusal that promises the header always
// has it.
func retryAfter(status int, e *auth.Error) int64 {
	wait := e.RetryAfter
	if wait <= 0 && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
		wait = 2 * time.Second
	}
	return waitSeconds(wait)
}

// log reports faults of ours, once. The error's text is the domain's and holds
// no secret; the request is not quoted, because it may.
func (p Problems) log(ctx context.Context, code auth.Code, status int, err error) {
	if status < 500 {
		return
	}
	log, level := p.Log, slog.LevelError
	if log == nil {
		log = slog.Default()
	}
	if ctx.Err() != nil {
		level = slog.LevelDebug // the client left; no fault of ours
	}
	log.Log(ctx, level, "request could not be answered", "code", string(code), "error", err.Error())
}
