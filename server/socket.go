package server

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rooms"
)

// Phases of a socket; it moves only forward.
const (
	phaseConnecting uint32 = iota // middlewares are running
	phaseConnected
	phaseClosed
)

// Socket is one client in one namespace. All methods may be called from any goroutine; those that send never block.
// Packets sent by one goroutine arrive in the order of the calls.
type Socket struct {
	// Static after construction.
	nsp    *Namespace
	client *client
	id     string
	auth   string // raw JSON, "" without
	issued int64  // milliseconds since 1970

	restored *restored // nil unless the socket goes on after its connection was lost
	ticket   *ticket   // nil unless the client can go on

	kept  int32 // what the connection is charged for the socket and its auth object; static
	heard bool  // owned by the reading side: the client has sent something, so that it knows of the socket

	// Owned by the room index.
	set rooms.Set

	data atomic.Pointer[Data]     // created by the first Data call
	own  atomic.Pointer[registry] // created by the first registration on this socket
	// announced is set, with client.mu held, when the CONNECT packet has been queued: no broadcast may overtake it. For a
	// restored socket it is set later: a packet that it has missed may still come.
	announced atomic.Bool
	// phase is written with mu held and read without.
	phase atomic.Uint32

	mu sync.Mutex
	// Guarded by mu.
	inbox  *inbox    // nil while there is nothing to do
	acks   *ackTable // nil while none is pending
	ctx    *cancelContext
	reason Reason   // of the disconnect
	left   []string // rooms at the disconnect
}

func newSocket(nsp *Namespace, c *client, auth []byte) *Socket {
	s := &Socket{nsp: nsp, client: c, id: newID(), issued: time.Now().UnixMilli()}
	if cost := socketCost + int64(len(auth)); c.keep(cost) == nil { // if not, somebody else has taken the room since connect
		s.kept = int32(min(cost, math.MaxInt32))
	}
	s.auth = string(auth)
	if nsp.recovery != nil {
		s.ticket = &ticket{pid: newID()}
	}
	return s
}

// ID returns the socket's id, 20 characters that are unique in the cluster. It is also the name of a room that only
// this socket is in.
func (s *Socket) ID() string { return s.id }

// Namespace returns the namespace that the socket belongs to.
func (s *Socket) Namespace() *Namespace { return s.nsp }

// Conn returns the connection below, which the sockets of one client share.
func (s *Socket) Conn() *Conn { return s.client.session }

// Connected reports whether the socket has joined its namespace and not left it.
func (s *Socket) Connected() bool { return s.phase.Load() == phaseConnected }

// Rooms returns the rooms that the socket is in, its own room first. After a disconnect it returns those it was in.
func (s *Socket) Rooms() []string {
	if rooms := s.nsp.index.Rooms(member{s}); rooms != nil {
		return rooms
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.left)
}

// Join puts the socket into rooms. On this node it takes effect at once, also during middlewares: broadcasts reach the
// socket when it has connected. In a cluster whose adapter subscribes to rooms, Join waits until the other nodes'
// broadcasts arrive too; when ctx ends first it returns ErrClusterUnavailable with the join kept. While the broker is away or
// slow it does not wait: the subscription is caught up later, and the error is nil. A socket that has disconnected joins
// nothing and gets ErrDisconnected; so does one that Options.Hooks refuse, with their error, and one for which it would be too
// much, with ErrLimit: see Options.MaxRooms and MaxName.
func (s *Socket) Join(ctx context.Context, rooms ...string) error {
	if err := s.join(rooms); err != nil {
		return failed("join", err)
	}
	if w, ok := s.nsp.cluster().(adapter.JoinWaiter); ok {
		if err := w.WaitJoined(ctx, rooms); err != nil && (ctx.Err() != nil || !errors.Is(err, ErrClusterUnavailable)) {
			return failed("join", err)
		}
	}
	return nil
}

// Leave takes the socket out of rooms. Its own room cannot be left.
func (s *Socket) Leave(rooms ...string) { s.inTurn(func() { s.leave(rooms) }) }

// Emit sends an event to this client. It never blocks. []byte anywhere in args travels as a binary attachment; Args,
// Args2 and Args3 stand for several arguments. It returns ErrReservedEvent, an encoding error or ErrDisconnected.
func (s *Socket) Emit(event string, args ...any) error {
	return s.emission(sendFlags{}).Emit(event, args...)
}

// Volatile lets each socket that is not ready for more miss the packet.
func (s *Socket) Volatile() Emission { return s.emission(sendFlags{volatile: true}) }

// Compress says whether the packet may be compressed; the default is that it may.
func (s *Socket) Compress(on bool) Emission { return s.emission(sendFlags{plain: !on}) }

// WithContext says in which context events are emitted, for Hooks.Begin. See BroadcastOperator.WithContext.
func (s *Socket) WithContext(ctx context.Context) Emission {
	return s.emission(sendFlags{}).WithContext(ctx)
}

func (s *Socket) emission(f sendFlags) Emission { return Emission{socket: s, flags: f} }

// Broadcast selects every socket of the namespace but this one.
func (s *Socket) Broadcast() BroadcastOperator { return s.emission(sendFlags{}).Broadcast() }

// To selects the sockets that are in at least one of the rooms. This socket is left out.
func (s *Socket) To(rooms ...string) BroadcastOperator { return s.Broadcast().To(rooms...) }

// In is To. This socket is left out.
func (s *Socket) In(rooms ...string) BroadcastOperator { return s.Broadcast().To(rooms...) }

// Except leaves out the sockets that are in at least one of the rooms. This socket is left out.
func (s *Socket) Except(rooms ...string) BroadcastOperator { return s.Broadcast().Except(rooms...) }

// Local limits the operation to this node. This socket is left out.
func (s *Socket) Local() BroadcastOperator { return s.Broadcast().Local() }

// Disconnect takes the socket out of its namespace; the client will not reconnect by itself. The connection stays open
// for other namespaces. Events that wait for their handlers are dropped. It does nothing on a socket that
// is not connected.
func (s *Socket) Disconnect() { s.inTurn(func() { s.close(ReasonServerDisconnect) }) }

// DisconnectClient takes the client out of all its namespaces and closes the connection.
func (s *Socket) DisconnectClient() {
	if s.Connected() || s.restoring() {
		s.inTurn(s.client.disconnect)
	}
}

// CloseConn closes the client's connection behind what was emitted before. The client is not told that it shall stay away: it comes back
// by itself.
func (s *Socket) CloseConn() { s.inTurn(s.client.drop) }

// inTurn calls f behind the events that were emitted before, some of which may wait for their place in the history.
func (s *Socket) inTurn(f func()) {
	if r := s.nsp.recovery; r != nil && s.Connected() {
		r.history.Turn(f)
		return
	}
	f()
}

// Context returns a context that ends when the socket disconnects, with a *DisconnectError as cause, and has the values
// that EngineOptions.SessionContext has kept, also then. It costs nothing until it is waited for.
func (s *Socket) Context() context.Context { return (*socketContext)(s) }

// registry returns the socket's own callbacks, creating them if necessary.
func (s *Socket) registry() *registry {
	if r := s.own.Load(); r != nil {
		return r
	}
	s.own.CompareAndSwap(nil, new(registry))
	return s.own.Load()
}

func (s *Socket) ownHooks() *hooks {
	if r := s.own.Load(); r != nil {
		return r.hooks()
	}
	return &noHooks
}

// UseEvent adds a middleware for the events of this socket. It runs after those of the namespace. The returned function
// removes it.
func (s *Socket) UseEvent(m EventMiddleware) (remove func()) { return s.registry().useEvent(m) }

// Handle registers a handler for an event of this socket, which runs after those of the namespace. The returned function
// removes it.
func (s *Socket) Handle(event string, handler Handler) (remove func()) {
	remove = s.registry().handle(event, handler)
	if s.nsp.server.hot {
		s.nsp.ownTempos.add(event)
	}
	return remove
}

// HandleAny registers a function that sees every event of this socket before its middlewares and handlers. The returned
// function removes it.
func (s *Socket) HandleAny(f func(ctx context.Context, s *Socket, e *Event)) (remove func()) {
	return s.registry().handleAny(f)
}

// HandleAnyOutgoing registers a function that sees every event sent to this socket, see Namespace.HandleAnyOutgoing.
// The returned function removes it.
func (s *Socket) HandleAnyOutgoing(f func(ctx context.Context, s *Socket, e *Event)) (remove func()) {
	return s.registry().handleAnyOutgoing(f)
}

// OnDisconnecting registers a function for this socket's disconnect, see Namespace.OnDisconnecting. Registered after
// the disconnect it may not run any more. The returned function removes it.
func (s *Socket) OnDisconnecting(f func(ctx context.Context, s *Socket, reason Reason)) (remove func()) {
	return s.registry().onDisconnecting(f)
}

// OnDisconnect registers a function for this socket's disconnect, see Namespace.OnDisconnect. Registered after the
// disconnect it may not run any more. The returned function removes it.
func (s *Socket) OnDisconnect(f func(ctx context.Context, s *Socket, reason Reason)) (remove func()) {
	return s.registry().onDisconnect(f)
}

func (s *Socket) disconnectError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &DisconnectError{s.reason}
}

// member is a Socket as the room index sees it. It keeps the index's methods out of Socket's exported ones.
type member struct{ *Socket }

func (m member) RoomID() string      { return m.id }
func (m member) RoomSet() *rooms.Set { return &m.set }
