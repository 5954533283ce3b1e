package server

import (
	"errors"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/engine"
)

// Reason says why a socket has disconnected. The values are the strings of the Node reference.
type Reason string

// Reasons of a disconnect.
const (
	ReasonServerDisconnect  Reason = "server namespace disconnect" // Disconnect was called
	ReasonClientDisconnect  Reason = "client namespace disconnect" // the client left the namespace
	ReasonShutdown          Reason = "server shutting down"        // Shutdown or Close was called
	ReasonForcedServerClose Reason = "forced server close"         // the connection is being closed and could not be at once

	ReasonTransportClose Reason = engine.ReasonTransportClose // the client closed the connection
	ReasonTransportError Reason = engine.ReasonTransportError // the connection broke, or the client read too slowly
	ReasonPingTimeout    Reason = engine.ReasonPingTimeout    // the client did not answer a ping
	ReasonParseError     Reason = engine.ReasonParseError     // the client sent what is no packet of Engine.IO
	ReasonForcedClose    Reason = engine.ReasonForcedClose    // this side closed the connection
)

// reasons are those that are counted, the first one for all that are not in the list.
var reasons = [...]Reason{
	"other", ReasonServerDisconnect, ReasonClientDisconnect, ReasonShutdown, ReasonForcedServerClose,
	ReasonTransportClose, ReasonTransportError, ReasonPingTimeout, ReasonParseError, ReasonForcedClose,
}

// Errors to compare with errors.Is.
var (
	// ErrDisconnected is returned by calls on a socket that has disconnected; *DisconnectError wraps it with the reason.
	ErrDisconnected = errors.New("socket is disconnected")
	// ErrAckTimeout says that the time for an acknowledgement ran out.
	ErrAckTimeout = errors.New("acknowledgement timed out")
	// ErrAckMissing says that some sockets or nodes did not acknowledge a broadcast.
	ErrAckMissing = errors.New("some acknowledgements are missing")
	// ErrInboxFull ends a wait for an acknowledgement that could not arrive, because reading from the client is paused
	// until its earlier events have been handled.
	ErrInboxFull = errors.New("inbox of the client is full")
	// ErrLimit says that a client has as much of something as Options allow; the text tells of what.
	ErrLimit = errors.New("limit reached")
	// ErrInvalidArguments says that the arguments of an event or acknowledgement do not fit the Go types that wait for them.
	ErrInvalidArguments = errors.New("invalid arguments")
	// ErrReservedEvent is returned for event names that the protocol keeps for itself.
	ErrReservedEvent = adapter.ErrReservedEvent
	// ErrReplied is returned by the second reply to one event.
	ErrReplied = errors.New("event was already acknowledged")
	// ErrParentNamespace is returned by calls that need the sockets of one concrete namespace.
	ErrParentNamespace = errors.New("not supported on a parent namespace")
	// ErrClusterUnavailable says that the other nodes could not be reached. What could be done on this node has been done.
	ErrClusterUnavailable = adapter.ErrClusterUnavailable
	// ErrNodeUnreachable says that a node that alone is meant is no member of the cluster that serves the namespace, or is not heard.
	ErrNodeUnreachable = adapter.ErrNodeUnreachable
	// ErrQueueFull is an ErrClusterUnavailable: too many messages wait for a broker that is away or slow.
	ErrQueueFull = adapter.ErrQueueFull
	// ErrClosed is returned by what needs the cluster once the server has been shut down.
	ErrClosed = adapter.ErrClosed
)

// ClientError is an error whose text is meant for the client. A namespace middleware that returns one sends it as
// CONNECT_ERROR {message, data}; an event handler that returns one acknowledges with {"error": {message, data}}, if the
// client asked for an acknowledgement. Every other error is reported on this side and hidden from the client.
type ClientError struct {
	Message string
	Data    any // encoded like an argument of Emit, without []byte; nil = absent
}

// Error returns the message.
func (e *ClientError) Error() string { return e.Message }

// hiddenMessage is what a client learns of an error that is not a ClientError.
const hiddenMessage = "internal error"

// clientError returns what the client may see of err.
func clientError(err error) *ClientError {
	var ce *ClientError
	switch {
	case errors.As(err, &ce):
		return ce
	case errors.Is(err, ErrInvalidArguments):
		return &ClientError{Message: ErrInvalidArguments.Error()}
	}
	return &ClientError{Message: hiddenMessage}
}

// errorBody is the JSON shape of a ClientError.
type errorBody struct {
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

// DisconnectError is the cause of a context that ended because its socket disconnected.
type DisconnectError struct {
	Reason Reason
}

// Error returns the reason in a sentence.
func (e *DisconnectError) Error() string { return "socket is disconnected: " + string(e.Reason) }

// Is reports that every DisconnectError is an ErrDisconnected.
func (e *DisconnectError) Is(target error) bool { return target == ErrDisconnected }

// errPanic stands for a contained panic; the panic itself has been logged.
var errPanic = errors.New("panic in a callback")
