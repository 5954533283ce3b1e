package server

import "context"

// The methods of a parent namespace that register something. It holds for the children that are created afterwards; what
// is removed again stays with those that have it already.

// Use adds a middleware for sockets that join the children, see Namespace.Use.
func (p *ParentNamespace) Use(m Middleware) (remove func()) { return p.use(m) }

// UseAlways adds a middleware that also runs for clients that go on with a session, see Namespace.UseAlways.
func (p *ParentNamespace) UseAlways(m Middleware) (remove func()) { return p.useAlways(m) }

// UseEvent adds a middleware for incoming events of the children, see Namespace.UseEvent.
func (p *ParentNamespace) UseEvent(m EventMiddleware) (remove func()) {
	defer p.proveAnew()
	return p.useEvent(m)
}

// Handle registers a handler for an event of the children, see Namespace.Handle.
func (p *ParentNamespace) Handle(event string, handler Handler) (remove func()) {
	return p.handleTimed(event, handler)
}

// HandleAny registers a function that sees every incoming event of the children, see Namespace.HandleAny.
func (p *ParentNamespace) HandleAny(f func(ctx context.Context, s *Socket, e *Event)) (remove func()) {
	defer p.proveAnew()
	return p.handleAny(f)
}

// HandleAnyOutgoing registers a function that sees every event sent to sockets of the children, see
// Namespace.HandleAnyOutgoing.
func (p *ParentNamespace) HandleAnyOutgoing(f func(ctx context.Context, s *Socket, e *Event)) (remove func()) {
	return p.handleAnyOutgoing(f)
}

// HandleServerSide registers a handler for events from other nodes, see Namespace.HandleServerSide.
func (p *ParentNamespace) HandleServerSide(event string, handler ServerSideHandler) (remove func()) {
	return p.handleServerSide(event, handler)
}

// OnConnection registers a function for each socket of the children, see Namespace.OnConnection.
func (p *ParentNamespace) OnConnection(f func(ctx context.Context, s *Socket)) (remove func()) {
	return p.onConnection(f)
}

// OnDisconnecting registers a function for disconnects, see Namespace.OnDisconnecting.
func (p *ParentNamespace) OnDisconnecting(f func(ctx context.Context, s *Socket, reason Reason)) (remove func()) {
	return p.onDisconnecting(f)
}

// OnDisconnect registers a function for disconnects, see Namespace.OnDisconnect.
func (p *ParentNamespace) OnDisconnect(f func(ctx context.Context, s *Socket, reason Reason)) (remove func()) {
	return p.onDisconnect(f)
}

// OnError registers a function for errors, see Namespace.OnError.
func (p *ParentNamespace) OnError(f func(ctx context.Context, s *Socket, event string, err error)) (remove func()) {
	return p.onError(f)
}
