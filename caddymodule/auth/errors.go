package auth

import (
	"errors"
	"time"
)

// Code is the machine-readable cause of a refusal, as clients see it.
type Code string

// The codes that the domain gives. What each one becomes in HTTP is decided in
// internal/api alone.
const (
	CodeInvalidRequest       Code = "invalid_request"
	CodePhoneInvalid         Code = "phone_invalid"
	CodePhoneNotSupported    Code = "phone_not_supported"
	CodeOTPInvalid           Code = "otp_invalid"
	CodeOTPExpired           Code = "otp_expired" // also: unknown, already used
	CodeOTPAttemptsExhausted Code = "otp_attempts_exhausted"
	CodeRefreshInvalid       Code = "refresh_token_invalid"
	CodeRefreshReused        Code = "refresh_token_reused"
	CodeSessionExpired       Code = "session_expired"
	CodeSessionRevoked       Code = "session_revoked"
	CodeTokenMissing         Code = "token_missing"
	CodeTokenInvalid         Code = "token_invalid"
	CodeTokenExpired         Code = "token_expired"
	CodeReauthRequired       Code = "reauthentication_required"
	CodeInsufficientRole     Code = "insufficient_role"
	CodeAccountDisabled      Code = "account_disabled"
	CodeCrossOrigin          Code = "cross_origin_blocked"
	CodeNotFound             Code = "not_found"
	CodeUserExists           Code = "user_exists"
	CodePhoneTaken           Code = "phone_taken"
	CodeRateLimited          Code = "rate_limited"
	CodeTooManyFailures      Code = "too_many_failures"
	CodeStoreUnavailable     Code = "store_unavailable"
	CodeDeliveryUnavailable  Code = "delivery_unavailable"
	CodeInternal             Code = "internal_error"
)

// Error is a refusal with its cause. Two Errors with the same Code match under
// errors.Is, whatever else they carry.
type Error struct {
	Code         Code
	Detail       string        // a sentence for people; empty for the code's own
	RetryAfter   time.Duration // 0: none
	AttemptsLeft int           // -1: not said
	Puzzle       *Puzzle       // work that lets the same request pass; nil: none does
	Limit        string        // which limit refused a message; nobody outside is told
	Err          error         // the fault behind it, for the log only
}

// Refuse makes an Error of a code.
func Refuse(code Code) *Error { return &Error{Code: code, AttemptsLeft: -1} }

// Because adds the detail that people read.
func (e *Error) Because(detail string) *Error {
	e.Detail = detail
	return e
}

func (e *Error) Error() string {
	text := string(e.Code)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an Error with the same code.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// AsError gives any error the code it has for the world: a store's trouble is
// store_unavailable, and what the domain did not foresee is internal_error.
func AsError(err error) *Error {
	var refusal *Error
	if errors.As(err, &refusal) {
		return refusal
	}
	code := CodeInternal
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrConflict) {
		code = CodeStoreUnavailable
	}
	return &Error{Code: code, AttemptsLeft: -1, RetryAfter: retryAfterFault, Err: err}
}

// retryAfterFault is how long a client should wait after a fault of ours.
const retryAfterFault = 2 * time.Second
