package auth

import (
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// Code says to a program why a token was refused: it is data.code of CONNECT_ERROR, and of the error that acknowledges a renewal.
type Code string

// Codes of refusals.
const (
	CodeMissing     Code = "missing"     // there is no token
	CodeInvalid     Code = "invalid"     // it is no token, or not for this server; another attempt with it is in vain
	CodeExpired     Code = "expired"     // the client gets a new one and comes again
	CodeTooLarge    Code = "too_large"   // it is longer than Options.MaxToken
	CodeRevoked     Code = "revoked"     // it was issued before a RevokeBefore
	CodeOrigin      Code = "origin"      // it came in a cookie from a page that is not allowed, or from nobody knows where
	CodeSubject     Code = "subject"     // a renewal is for another user
	CodeUnavailable Code = "unavailable" // it cannot be verified now; the client comes again later
)

// codes lists all, for counting.
var codes = [...]Code{CodeMissing, CodeInvalid, CodeExpired, CodeTooLarge, CodeRevoked, CodeOrigin, CodeSubject, CodeUnavailable}

var messages = map[Code]string{
	CodeMissing:     "authentication required",
	CodeInvalid:     "token is invalid",
	CodeExpired:     "token has expired",
	CodeTooLarge:    "token is too large",
	CodeRevoked:     "token was revoked",
	CodeOrigin:      "cookies are not taken from this origin",
	CodeSubject:     "token is for another user",
	CodeUnavailable: "tokens cannot be verified now",
}

// RefusalData is what a client gets as data with a refusal.
type RefusalData struct {
	Code             Code  `json:"code"`
	ExpiredAt        int64 `json:"expiredAt,omitempty"`        // of CodeExpired, milliseconds since 1970
	MaxBytes         int   `json:"maxBytes,omitempty"`         // of CodeTooLarge
	RetryAfterMillis int64 `json:"retryAfterMillis,omitempty"` // of CodeUnavailable
}

// Refusal is why a token was refused. The client learns the code and what belongs to it, the cause stays on this side.
type Refusal struct {
	Data  RefusalData
	Cause error // nil if the code says everything
}

func refuse(code Code, cause error) *Refusal {
	r := &Refusal{RefusalData{Code: code}, cause}
	if code == CodeUnavailable {
		r.Data.RetryAfterMillis = retryAfter.Milliseconds()
	}
	return r
}

// retryAfter is when a client may ask again whose token could not be verified.
const retryAfter = 2 * time.Second

// Error returns the code's text with the cause.
func (r *Refusal) Error() string {
	if r.Cause == nil {
		return messages[r.Data.Code]
	}
	return messages[r.Data.Code] + ": " + r.Cause.Error()
}

// Unwrap returns the error that the client sees, a *server.ClientError, and the cause.
func (r *Refusal) Unwrap() []error {
	errs := []error{&server.ClientError{Message: messages[r.Data.Code], Data: r.Data}}
	if r.Cause != nil {
		errs = append(errs, r.Cause)
	}
	return errs
}
