package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/classic"
	"github.com/sockeye-io/sockeye/server/parser"
)

// ErrReservedEvent is returned for an event whose name has a meaning of its own, see parser.ReservedEvent; for server-side
// events these names are connect, connection and new_namespace.
var ErrReservedEvent = errors.New("reserved event name")

// Emitter reaches the sockets of a cluster from a process that serves none, such as a job or an HTTP handler elsewhere. It is
// no node: it has neither a subscription nor a goroutine, is not counted, and cannot ask for anything. Each call is one
// command to Redis and returns when Redis has executed it; a command whose answer is lost is not sent again.
//
// An Emitter is immutable and may be used from any goroutine. It does not close the Redis client.
type Emitter struct {
	rdb       redis.UniversalClient
	wire      emitterWire
	namespace string
}

// emitterWire is the form in which the nodes of a cluster take what an emitter says: broadcasts, joins, leaves, disconnects
// and server-side events. It may be used from any goroutine.
type emitterWire interface {
	command(ctx context.Context, namespace string, m *adapter.Message) (redis.Cmder, error)
}

// EmitterOptions configure NewEmitter. The zero value means the defaults of @socket.io/redis-emitter 5.1.
type EmitterOptions struct {
	// Key is the Key of the nodes' PubSubOptions. Default: "socket.io".
	Key string
}

// NewEmitter returns an emitter for the namespace "/" of a cluster of classic adapters, Go or Node, that writes what
// @socket.io/redis-emitter 5.1 does. opts may be nil.
func NewEmitter(rdb redis.UniversalClient, opts *EmitterOptions) *Emitter {
	w := classicEmitter{key: defaultKey}
	if opts != nil && opts.Key != "" {
		w.key = opts.Key
	}
	return &Emitter{rdb: rdb, wire: w, namespace: "/"}
}

// classicEmitter is the emitterWire of classic adapters.
type classicEmitter struct{ key string }

func (e classicEmitter) command(ctx context.Context, namespace string, m *adapter.Message) (redis.Cmder, error) {
	channel, body, err := classic.New(e.key, namespace, classic.Emitter, &classic.MessagePack{}).Encode(m)
	if err != nil {
		return nil, err
	}
	return redis.NewIntCmd(ctx, "publish", channel, body), nil
}

// Of returns an emitter for another namespace. A missing leading slash is added.
func (e *Emitter) Of(namespace string) *Emitter {
	if !strings.HasPrefix(namespace, "/") {
		namespace = "/" + namespace
	}
	return &Emitter{rdb: e.rdb, wire: e.wire, namespace: namespace}
}

// once keeps go-redis from sending a command again when it cannot know whether Redis has executed it.
type once struct{ redis.Cmder }

func (once) NoRetry() bool { return true }

// send executes what a message becomes.
func (e *Emitter) send(ctx context.Context, what string, m *adapter.Message) error {
	cmd, err := e.wire.command(ctx, e.namespace, m)
	if err == nil {
		err = e.rdb.Process(ctx, once{cmd})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// ServerSideEmit sends an event to the nodes themselves. Acknowledgements are not possible.
func (e *Emitter) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	switch event {
	case "connect", "connection", "new_namespace":
		return fmt.Errorf("server-side emit: %w: %q", ErrReservedEvent, event)
	}
	payload, err := parser.MarshalEvent(event, args...)
	if err != nil {
		return fmt.Errorf("server-side emit: %w", err)
	}
	return e.send(ctx, "server-side emit", &adapter.Message{Kind: adapter.KindServerSide, Payload: payload})
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
	selection adapter.Selection
	flags     adapter.Flags
}

// To adds the sockets that are in at least one of the rooms to the selection.
func (b BroadcastOperator) To(rooms ...string) BroadcastOperator {
	b.selection.Rooms = append(slices.Clip(b.selection.Rooms), rooms...)
	return b
}

// In is To.
func (b BroadcastOperator) In(rooms ...string) BroadcastOperator { return b.To(rooms...) }

// Except takes the sockets that are in one of the rooms out of the selection.
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

// Emit sends an event to the selected sockets.
func (b BroadcastOperator) Emit(ctx context.Context, event string, args ...any) error {
	if parser.ReservedEvent(event) {
		return fmt.Errorf("emit: %w: %q", ErrReservedEvent, event)
	}
	payload, err := parser.MarshalEvent(event, args...)
	if err != nil {
		return fmt.Errorf("emit: %w", err)
	}
	p := &parser.Packet{Type: parser.Event, Namespace: b.emitter.namespace, ID: parser.NoID, Payload: payload}
	return b.emitter.send(ctx, "emit", &adapter.Message{
		Kind: adapter.KindBroadcast, Packet: p, Selection: b.selection, Flags: b.flags,
	})
}

// SocketsJoin makes the selected sockets join rooms.
func (b BroadcastOperator) SocketsJoin(ctx context.Context, rooms ...string) error {
	m := &adapter.Message{Kind: adapter.KindJoin, Selection: b.selection, Rooms: rooms}
	return b.emitter.send(ctx, "sockets join", m)
}

// SocketsLeave makes the selected sockets leave rooms.
func (b BroadcastOperator) SocketsLeave(ctx context.Context, rooms ...string) error {
	m := &adapter.Message{Kind: adapter.KindLeave, Selection: b.selection, Rooms: rooms}
	return b.emitter.send(ctx, "sockets leave", m)
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
	m := &adapter.Message{Kind: adapter.KindDisconnect, Selection: b.selection, Close: closeConn}
	return b.emitter.send(ctx, "disconnect sockets", m)
}
