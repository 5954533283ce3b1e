package engine

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Reasons why a session ended, as Handler.OnClose reports them. The strings are those of the npm package engine.io.
const (
	// ReasonTransportClose: the peer closed the connection, or sent a close packet over polling.
	ReasonTransportClose = "transport close"
	// ReasonTransportError: the connection broke, the peer violated the protocol, or it read too slowly.
	ReasonTransportError = "transport error"
	// ReasonPingTimeout: no pong came within PingTimeout.
	ReasonPingTimeout = "ping timeout"
	// ReasonParseError: a packet could not be decoded.
	ReasonParseError = "parse error"
	// ReasonForcedClose: this side called Close or Discard.
	ReasonForcedClose = "forced close"
	// ReasonMoved: the session goes on on another server, see Server.Release. Node has no such reason.
	ReasonMoved = "moved"
)

// Codes of refused requests, as in the JSON body that the client gets.
const (
	CodeUnknownTransport    = 0
	CodeUnknownSession      = 1
	CodeBadHandshakeMethod  = 2
	CodeBadRequest          = 3
	CodeForbidden           = 4
	CodeUnsupportedProtocol = 5
)

var codeMessages = [...]string{
	CodeUnknownTransport:    "Transport unknown",
	CodeUnknownSession:      "Session ID unknown",
	CodeBadHandshakeMethod:  "Bad handshake method",
	CodeBadRequest:          "Bad request",
	CodeForbidden:           "Forbidden",
	CodeUnsupportedProtocol: "Unsupported protocol version",
}

var (
	// ErrClosed is returned when a message is sent on a session that is closing or closed.
	ErrClosed = errors.New("session closed")
	// ErrSlowConsumer ends a session whose peer does not read; see Options.OutboxLimit.
	ErrSlowConsumer = errors.New("slow consumer")
	// ErrOutboxTotal ends the sessions with the longest backlogs when all together exceed Options.OutboxTotal.
	ErrOutboxTotal = errors.New("outbox budget of the server exceeded")
	// ErrInputTotal ends the sessions that have held most input for longest when all together exceed Options.InputTotal.
	ErrInputTotal = errors.New("input budget of the server exceeded")
	// ErrStateTotal ends sessions when what all together keep exceeds Options.StateTotal.
	ErrStateTotal = errors.New("state budget of the server exceeded")
	// ErrMaxSessions ends sessions from which nothing came when there are more than Options.MaxSessions.
	ErrMaxSessions = errors.New("too many sessions")
)

// The causes of transport errors.
var (
	errPollOverlap    = errors.New("overlap from client")
	errDataOverlap    = errors.New("data request overlap from client")
	errPollGone       = errors.New("poll connection closed prematurely")
	errDataGone       = errors.New("data request connection closed prematurely")
	errInvalidContent = errors.New("invalid content")
	errPingDirection  = errors.New("invalid heartbeat direction")
	errHandlerLeft    = errors.New("the handler did not return")
	errControlFlood   = errors.New("too many unanswered control frames")
)

// ConnectionError describes a refused request: Options.OnConnectionError gets it, with the same codes, messages and
// context names as the connection_error event of the Node server.
type ConnectionError struct {
	Request *http.Request
	Code    int
	// Message is the standard text of the code.
	Message string
	// Context holds details, such as "name": "TRANSPORT_MISMATCH"; never nil.
	Context map[string]any

	clientText string // replaces Message in the answer
	status     int    // replaces the status of the answer
	retryAfter time.Duration
}

func newConnectionError(r *http.Request, code int, context map[string]any) *ConnectionError {
	if context == nil {
		context = map[string]any{}
	}
	return &ConnectionError{Request: r, Code: code, Message: codeMessages[code], Context: context}
}

// Error describes the refusal for a log.
func (e *ConnectionError) Error() string {
	return fmt.Sprintf("request refused: %s (code %d)", e.Message, e.Code)
}

// answer is the text that the client gets.
func (e *ConnectionError) answer() string {
	if e.clientText != "" {
		return e.clientText
	}
	return e.Message
}

// statusOr returns the HTTP status of the answer, or the one that the reference gives.
func (e *ConnectionError) statusOr(usual int) int {
	if e.status < http.StatusBadRequest || e.status > 599 {
		return usual
	}
	return e.status
}

// retryHeader is the value of Retry-After, "" for none.
func (e *ConnectionError) retryHeader() string {
	if e.retryAfter <= 0 {
		return ""
	}
	return strconv.FormatInt(int64((e.retryAfter-1)/time.Second)+1, 10)
}

// Refusal is an error for AllowRequest whose message is meant for the client; of any other error the client only
// learns "Forbidden".
type Refusal struct {
	Message string
	// Status is the HTTP status of the answer, from 400 to 599. Default that of the reference: 403, and 400 for an upgrade.
	Status int
	// RetryAfter tells the client in the header of that name, in whole seconds rounded up, when to try again. Default: no header.
	RetryAfter time.Duration
}

// Error returns the message.
func (e *Refusal) Error() string { return e.Message }
