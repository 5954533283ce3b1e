package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

const (
	// maxBody bounds the body of a request, in bytes.
	maxBody = 1 << 20
	// bodyTimeout is how long it may take to arrive.
	bodyTimeout = 10 * time.Second
	// answerTimeout is how long an answer may take to be taken.
	answerTimeout = 30 * time.Second
)

// failure is an error as the API answers it.
type failure struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error returns the message.
func (f *failure) Error() string { return f.Message }

// failureBody is the form of all errors.
type failureBody struct {
	Error *failure `json:"error"`
}

func refuse(status int, code, format string, args ...any) *failure {
	return &failure{status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// invalid is what is wrong with a request.
func invalid(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "invalid", format, args...)
}

// failureOf says what the caller learns of an error.
func failureOf(err error) *failure {
	var f *failure
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "too_large", "the body must not exceed %d bytes", tooLarge.Limit)
	case errors.Is(err, server.ErrReservedEvent):
		return refuse(http.StatusBadRequest, "reserved_event", "%v", err)
	case errors.Is(err, server.ErrClusterUnavailable), errors.Is(err, server.ErrNodeUnreachable), errors.Is(err, server.ErrClosed):
		return refuse(http.StatusServiceUnavailable, "unavailable", "%v", err)
	}
	return refuse(http.StatusInternalServerError, "internal", "the log of the node says more")
}

// write answers with JSON.
func write(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	send(w, status, body)
}

// send writes a whole answer. The deadline is for it alone: the connection goes on with answers of others, which have their own.
func send(w http.ResponseWriter, status int, body []byte) {
	control := http.NewResponseController(w)
	// Who does not read the answer does not get it. A writer without deadlines, as in tests, has no reader who is slow.
	_ = control.SetWriteDeadline(time.Now().Add(answerTimeout))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
	_ = control.Flush()
	_ = control.SetWriteDeadline(time.Time{})
}

// limitBody bounds how long the body of a request is waited for, also one that nobody reads: the server waits for it then.
func limitBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		// A writer without deadlines, as in tests, has a body that is there.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	}
}

// writeFailure answers with an error.
func writeFailure(w http.ResponseWriter, f *failure) {
	switch f.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="sockeye"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	}
	write(w, f.status, encode(failureBody{f}))
}

func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // all answers are made of what can be encoded
	}
	return b.Bytes()
}

// readBody reads the JSON text of a request; without a body it is {} if that is allowed.
func readBody(w http.ResponseWriter, r *http.Request, optional bool) ([]byte, error) {
	if optional && r.ContentLength == 0 {
		return []byte("{}"), nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, refuse(http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must be JSON, with Content-Type: application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	switch {
	case err == nil:
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = refuse(http.StatusRequestTimeout, "body_timeout", "the body did not arrive within %v", bodyTimeout)
	case !errors.As(err, new(*http.MaxBytesError)):
		err = invalid("the body did not arrive: %v", err)
	}
	return body, err
}

// decode reads a request; what it does not know it refuses.
func decode[T any](body []byte) (v T, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err = d.Decode(&v); err != nil {
		return v, invalid("the body does not fit: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return v, invalid("the body has something behind its JSON value")
	}
	return v, nil
}
