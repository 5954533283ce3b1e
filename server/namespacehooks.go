package server

import "context"

// The methods of a namespace that register something: what holds for all its sockets.

// Use adds a middleware for joining sockets. Middlewares run in the order of registration, each after the one before
// has returned; the first error refuses the socket. The returned function removes it, as that of every method here does.
func (n *Namespace) Use(m Middleware) (remove func()) { return n.use(m) }

// UseAlways is Use for a middleware that also runs for clients that go on with a session, for which the others are skipped, see
// Options.Recovery. What decides who a client is belongs here, and tells it by Socket.SetOwner.
func (n *Namespace) UseAlways(m Middleware) (remove func()) { return n.useAlways(m) }

// UseEvent adds a middleware for incoming events of all sockets. The returned function removes it.
func (n *Namespace) UseEvent(m EventMiddleware) (remove func()) {
	defer n.proveAnew()
	return n.useEvent(m)
}

// Handle registers a handler for an event. Several handlers of one event run in the order of registration. The returned
// function removes this one. Handle panics, as http.ServeMux does, if the handler is nil or could never run because the
// protocol keeps the name for itself: OnConnection, OnDisconnecting and OnDisconnect are for those. So do the other
// methods that register, for nil.
func (n *Namespace) Handle(event string, handler Handler) (remove func()) {
	return n.handleTimed(event, handler)
}

// HandleAny registers a function that sees every incoming event before its middlewares and handlers. The returned
// function removes it.
func (n *Namespace) HandleAny(f func(ctx context.Context, s *Socket, e *Event)) (remove func()) {
	defer n.proveAnew()
	return n.handleAny(f)
}

// proveAnew makes all events prove again that they are quick.
func (n *Namespace) proveAnew() {
	n.registry.proveAnew()
	n.ownTempos.proveAnew()
}

// HandleAnyOutgoing registers a function that sees every event sent to a socket, once for each recipient, before it is
// sent; acknowledgements are not included. It runs on the sending goroutine and must be quick. The returned
// function removes it.
func (n *Namespace) HandleAnyOutgoing(f func(ctx context.Context, s *Socket, e *Event)) (remove func()) {
	return n.handleAnyOutgoing(f)
}

// HandleServerSide registers a handler for events that other nodes send with ServerSideEmit. Events of one namespace
// are handled one after the other; their context ends when the server begins to shut down. The returned function removes it.
// Names that ServerSideEmit refuses panic.
func (n *Namespace) HandleServerSide(event string, handler ServerSideHandler) (remove func()) {
	return n.handleServerSide(event, handler)
}

// OnConnection registers a function that runs for each socket after it has joined, before its first event. The returned
// function removes it.
func (n *Namespace) OnConnection(f func(ctx context.Context, s *Socket)) (remove func()) {
	return n.onConnection(f)
}

// OnDisconnecting registers a function that runs when a socket has disconnected, after its last event and before the
// OnDisconnect functions. Socket.Rooms still tells the rooms it was in. The socket's own context has ended by then: ctx
// is the server's, which lives on until Shutdown has waited for these functions, or has given up waiting. The returned
// function removes it.
func (n *Namespace) OnDisconnecting(f func(ctx context.Context, s *Socket, reason Reason)) (remove func()) {
	return n.onDisconnecting(f)
}

// OnDisconnect registers a function that runs exactly once for each socket that had connected, as its last callback.
// Socket.Rooms still tells the rooms it was in. ctx is as for OnDisconnecting. The returned function removes it.
func (n *Namespace) OnDisconnect(f func(ctx context.Context, s *Socket, reason Reason)) (remove func()) {
	return n.onDisconnect(f)
}

// OnError registers a function that gets the errors of event handlers and event middlewares, arguments that do not fit
// their handler (ErrInvalidArguments), and packets that break the protocol (with an empty event name). Without one
// they are logged: arguments that do not fit as warnings, each event at most once a minute, what else a client can cause at
// will at level debug, the rest as warnings. ctx is the socket's. The returned
// function removes it.
func (n *Namespace) OnError(f func(ctx context.Context, s *Socket, event string, err error)) (remove func()) {
	return n.onError(f)
}
