package server

import (
	"context"
	"fmt"
)

// Handler handles one kind of event. Func, FuncAck and FuncReply make handlers from functions with typed arguments.
//
// Handlers of one socket run one after the other in the order in which the events arrived, on a goroutine of their own:
// they may block, and may wait for acknowledgements of the same client. The context ends when the socket disconnects,
// with a *DisconnectError as cause. A returned error is given to OnError or logged; if the client waits for
// an acknowledgement it gets {"error": {"message": ...}}, with the text of a *ClientError or else a fixed one.
type Handler interface {
	HandleEvent(ctx context.Context, s *Socket, e *Event) error
}

// HandlerFunc is a function that is a Handler.
type HandlerFunc func(ctx context.Context, s *Socket, e *Event) error

// HandleEvent calls f.
func (f HandlerFunc) HandleEvent(ctx context.Context, s *Socket, e *Event) error { return f(ctx, s, e) }

// Func makes a handler from a function. The first argument of the event is decoded into T; None, Args, Args2 and
// Args3 as T take none, all raw, two or three. Arguments that do not fit never reach f.
func Func[T any](f func(ctx context.Context, s *Socket, arg T) error) Handler {
	return HandlerFunc(func(ctx context.Context, s *Socket, e *Event) error {
		var arg T
		if err := decodeArgs(e.Args, &arg); err != nil {
			return err
		}
		return f(ctx, s, arg)
	})
}

// FuncAck makes a handler that acknowledges the event with its result. Args, Args2 and Args3 as R acknowledge with
// several arguments, None with none.
func FuncAck[T, R any](f func(ctx context.Context, s *Socket, arg T) (R, error)) Handler {
	return HandlerFunc(func(ctx context.Context, s *Socket, e *Event) error {
		var arg T
		if err := decodeArgs(e.Args, &arg); err != nil {
			return err
		}
		result, err := f(ctx, s, arg)
		if err != nil {
			return err
		}
		return e.Reply.Send(result)
	})
}

// FuncReply makes a handler that acknowledges through reply, during the call or later from any goroutine.
func FuncReply[T any](f func(ctx context.Context, s *Socket, arg T, reply *Reply) error) Handler {
	return HandlerFunc(func(ctx context.Context, s *Socket, e *Event) error {
		var arg T
		if err := decodeArgs(e.Args, &arg); err != nil {
			return err
		}
		return f(ctx, s, arg, e.Reply)
	})
}

// ServerSideHandler handles one kind of event from other nodes; see Namespace.ServerSideEmit. The events of a namespace are
// handled one after the other on a goroutine of its own, and may block.
type ServerSideHandler interface {
	HandleServerSide(ctx context.Context, e *Event) error
}

type serverSideFunc func(ctx context.Context, e *Event) error

func (f serverSideFunc) HandleServerSide(ctx context.Context, e *Event) error { return f(ctx, e) }

// ServerSideFunc makes a handler for events from other nodes. T is as for Func.
func ServerSideFunc[T any](f func(ctx context.Context, arg T) error) ServerSideHandler {
	return serverSideFunc(func(ctx context.Context, e *Event) error {
		var arg T
		if err := decodeArgs(e.Args, &arg); err != nil {
			return err
		}
		return f(ctx, arg)
	})
}

// ServerSideFuncAck makes a handler for events from other nodes that answers with its result. An error is not sent: the
// other node counts this one as unanswered.
func ServerSideFuncAck[T, R any](f func(ctx context.Context, arg T) (R, error)) ServerSideHandler {
	return serverSideFunc(func(ctx context.Context, e *Event) error {
		var arg T
		if err := decodeArgs(e.Args, &arg); err != nil {
			return err
		}
		result, err := f(ctx, arg)
		if err != nil {
			return err
		}
		return e.Reply.Send(result)
	})
}

// Event is an incoming or outgoing event with its raw arguments. It is valid after the callback has returned; nothing else
// changes it then, and Reply may be used from any goroutine.
type Event struct {
	Name string
	Args Args
	// Reply acknowledges the event. It is never nil; replies that the client did not ask for go nowhere.
	Reply *Reply
}

// invalidArgument wraps a decoding error. The text stays on this side.
func invalidArgument(i int, err error) error {
	return fmt.Errorf("%w: argument %d: %w", ErrInvalidArguments, i+1, err)
}
