package server

import (
	"sync/atomic"

	"github.com/sockeye-io/sockeye/server/parser"
)

// Reply acknowledges one event, at most once. Its methods may be called from any goroutine, also after the handler has
// returned.
type Reply struct {
	// Static after construction.
	socket *Socket
	id     int64
	remote func(parser.Payload) // instead of socket, for events of other nodes

	sent atomic.Bool
}

// Wanted reports whether the client waits for an acknowledgement.
func (r *Reply) Wanted() bool { return r != nil && (r.remote != nil || r.socket != nil && r.id >= 0) }

// Send acknowledges the event with args, which are encoded like those of Emit. It never blocks. It does nothing if the
// client does not wait, and returns ErrReplied if the event was acknowledged before.
func (r *Reply) Send(args ...any) error {
	if !r.Wanted() {
		return nil
	}
	if r.sent.Load() {
		return ErrReplied
	}
	payload, err := parser.MarshalArgs(spread(args)...)
	if err != nil {
		return failed("reply", err)
	}
	if !r.sent.CompareAndSwap(false, true) {
		return ErrReplied
	}
	if r.remote == nil {
		p := parser.Packet{Type: parser.Ack, Namespace: r.socket.nsp.name, ID: r.id, Payload: payload}
		if r.socket.observed() {
			r.socket.observeAck(ObservedAckSent, &p)
		}
		return r.socket.send(&p, sendFlags{})
	}
	list, err := payload.Args()
	if err != nil {
		return err
	}
	r.remote(firstArg(list))
	return nil
}

// SendError acknowledges the event with {"error": {message, data}} as a handler's error does: the text of a
// *ClientError, or else a fixed one.
func (r *Reply) SendError(err error) error {
	if !r.Wanted() || r.remote != nil {
		return nil
	}
	ce := clientError(err)
	type failure struct {
		Error errorBody `json:"error"`
	}
	sendErr := r.Send(failure{errorBody{ce.Message, ce.Data}})
	if sendErr != nil && !r.sent.Load() {
		// The data could not be encoded; the message alone can always be.
		return r.Send(failure{errorBody{Message: ce.Message}})
	}
	return sendErr
}

// firstArg returns the first argument, or null: what the cluster carries of an acknowledgement.
func firstArg(args Args) parser.Payload {
	if args.Len() == 0 {
		return parser.Payload{JSON: []byte("null")}
	}
	return args.At(0)
}
