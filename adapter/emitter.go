package adapter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye/server/parser"
)

// EmitterWire is how what an Emitter says reaches the nodes of a cluster: broadcasts, joins, leaves, disconnects and server-side
// events without acknowledgements. It may be used from any goroutine.
type EmitterWire interface {
	// Send gives a message to all nodes that serve a namespace, and returns when the broker has taken it. What is not known to have
	// been taken is not sent again.
	Send(ctx context.Context, namespace string, m *Message) error
}

// Emitter reaches the sockets of a cluster from a process that serves none, such as a job or an HTTP handler elsewhere. It is
// no node: it has neither a subscription nor a goroutine, is not counted, and cannot ask for anything. Each call returns when the
// broker has taken it; a message whose answer is lost is not sent again. The packages of the adapters make Emitters.
//
// An Emitter is immutable and may be used from any goroutine. It does not close the client of the broker.
type Emitter struct {
	wire      EmitterWire
	namespace string
}

// NewEmitter returns an emitter for the namespace "/".
func NewEmitter(wire EmitterWire) *Emitter { return &Emitter{wire, "/"} }

// Of returns an emitter for another namespace. A missing leading slash is added.
func (e *Emitter) Of(namespace string) *Emitter {
	if !strings.HasPrefix(namespace, "/") {
		namespace = "/" + namespace
	}
	return &Emitter{e.wire, namespace}
}

func (e *Emitter) send(ctx context.Context, what string, m *Message) error {
	if err := e.wire.Send(ctx, e.namespace, m); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// ServerSideEmit sends an event to the nodes themselves. Acknowledgements are not possible.
func (e *Emitter) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	payload, err := ServerSidePayload(event, args...)
	if err != nil {
		return fmt.Errorf("server-side emit: %w", err)
	}
	return e.send(ctx, "server-side emit", &Message{Kind: KindServerSide, Payload: payload})
}

func (e *Emitter) all() BroadcastOperator { return BroadcastOperator{emitter: e} }

// Emit sends an event to every socket of the namespace.
func (e *Emitter) Emit(ctx context.Context, event string, args ...any) error {
	return e.all().Emit(ctx, event, args...)
}

// To selects the sockets that are in at least one of the rooms.
func (e *Emitter) To(rooms ...string) BroadcastOperator { return e.all().To(rooms...) }

// In is To.
func (e *Emitter) In(rooms ...string) BroadcastOperator { return e.all().To(rooms...) }

// Except selects the sockets that are in none of the rooms.
func (e *Emitter) Except(rooms ...string) BroadcastOperator { return e.all().Except(rooms...) }

// Volatile selects every socket; those that are not ready for more miss the packet.
func (e *Emitter) Volatile() BroadcastOperator { return e.all().Volatile() }

// Compress selects every socket, with or without compression; the default is with.
func (e *Emitter) Compress(on bool) BroadcastOperator { return e.all().Compress(on) }

// SocketsJoin makes every socket of the namespace join rooms.
func (e *Emitter) SocketsJoin(ctx context.Context, rooms ...string) error {
	return e.all().SocketsJoin(ctx, rooms...)
}

// SocketsLeave makes every socket of the namespace leave rooms.
func (e *Emitter) SocketsLeave(ctx context.Context, rooms ...string) error {
	return e.all().SocketsLeave(ctx, rooms...)
}

// DisconnectSockets disconnects every socket from the namespace; the connections stay open.
func (e *Emitter) DisconnectSockets(ctx context.Context) error { return e.all().DisconnectSockets(ctx) }

// DisconnectClients disconnects the clients of the namespace from all namespaces and closes their connections.
func (e *Emitter) DisconnectClients(ctx context.Context) error { return e.all().DisconnectClients(ctx) }

// BroadcastOperator selects sockets for an Emitter. It is an immutable value: each method returns a changed copy. Without
// To every socket is selected; a socket's id is the name of its own room.
type BroadcastOperator struct {
	emitter   *Emitter
	selection Selection
	narrowed  bool // To was called: without a room the selection is empty
	flags     Flags
}

// To adds the sockets that are in at least one of the rooms to the selection. An operator that was given an empty list and
// nothing else selects nobody: its calls send nothing and return nil.
func (b BroadcastOperator) To(rooms ...string) BroadcastOperator {
	b.narrowed = true
	b.selection.Rooms = append(slices.Clip(b.selection.Rooms), rooms...)
	return b
}

// In is To.
func (b BroadcastOperator) In(rooms ...string) BroadcastOperator { return b.To(rooms...) }

// Except takes the sockets that are in one of the rooms out of the selection; an empty list takes out nobody.
func (b BroadcastOperator) Except(rooms ...string) BroadcastOperator {
	b.selection.Except = append(slices.Clip(b.selection.Except), rooms...)
	return b
}

// Volatile lets each socket that is not ready for more miss the packet.
func (b BroadcastOperator) Volatile() BroadcastOperator {
	b.flags.Volatile = true
	return b
}

// Compress says whether the packet may be compressed; the default is that it may.
func (b BroadcastOperator) Compress(on bool) BroadcastOperator {
	b.flags.NoCompress = !on
	return b
}

// send sends a message, unless it is for nobody. Node would read a selection without rooms as everybody.
func (b BroadcastOperator) send(ctx context.Context, what string, m *Message) error {
	if b.narrowed && len(b.selection.Rooms) == 0 {
		return nil
	}
	m.Selection = b.selection
	return b.emitter.send(ctx, what, m)
}

// Emit sends an event to the selected sockets.
func (b BroadcastOperator) Emit(ctx context.Context, event string, args ...any) error {
	payload, err := EventPayload(event, args...)
	if err != nil {
		return fmt.Errorf("emit: %w", err)
	}
	p := &parser.Packet{Type: parser.Event, Namespace: b.emitter.namespace, ID: parser.NoID, Payload: payload}
	return b.send(ctx, "emit", &Message{Kind: KindBroadcast, Packet: p, Flags: b.flags})
}

// SocketsJoin makes the selected sockets join rooms.
func (b BroadcastOperator) SocketsJoin(ctx context.Context, rooms ...string) error {
	return b.send(ctx, "sockets join", &Message{Kind: KindJoin, Rooms: rooms})
}

// SocketsLeave makes the selected sockets leave rooms.
func (b BroadcastOperator) SocketsLeave(ctx context.Context, rooms ...string) error {
	return b.send(ctx, "sockets leave", &Message{Kind: KindLeave, Rooms: rooms})
}

// DisconnectSockets disconnects the selected sockets from the namespace; their connections stay open.
func (b BroadcastOperator) DisconnectSockets(ctx context.Context) error {
	return b.disconnect(ctx, false)
}

// DisconnectClients disconnects the clients of the selected sockets from all namespaces and closes their connections.
func (b BroadcastOperator) DisconnectClients(ctx context.Context) error {
	return b.disconnect(ctx, true)
}

func (b BroadcastOperator) disconnect(ctx context.Context, closeConn bool) error {
	return b.send(ctx, "disconnect sockets", &Message{Kind: KindDisconnect, Close: closeConn})
}
