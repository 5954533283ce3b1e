package server

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/server/parser"
)

// Middleware decides whether a socket may join a namespace. It runs before the CONNECT packet is answered and may block;
// the context ends when the client goes away, or when the last middleware has returned. What it emits reaches the client before the answer. A non-nil error refuses
// the socket; see ClientError.
type Middleware func(ctx context.Context, s *Socket) error

// EventMiddleware sees an event before its handlers. A non-nil error ends the event: it is handled like an error of the
// handler.
type EventMiddleware func(ctx context.Context, s *Socket, e *Event) error

// slot gives a registered value an identity, so that it can be removed again.
type slot[T any] struct{ value T }

func without[T any](list []*slot[T], gone *slot[T]) []*slot[T] {
	return slices.DeleteFunc(slices.Clone(list), func(s *slot[T]) bool { return s == gone })
}

// hooks is one immutable state of a registry. Readers take it once and need no lock.
type hooks struct {
	middlewares   []Middleware
	events        []EventMiddleware
	handlers      map[string][]*slot[Handler]
	any, outgoing []*slot[func(context.Context, *Socket, *Event)]
	serverSide    map[string][]*slot[ServerSideHandler]
	connection    []func(context.Context, *Socket)
	disconnecting []func(*Socket, string)
	disconnect    []func(*Socket, string)
	failed        []func(*Socket, string, error)
}

var noHooks hooks

// endings reports whether there are functions for a disconnect.
func (h *hooks) endings() bool { return len(h.disconnecting)+len(h.disconnect) > 0 }

// registry holds the callbacks of a namespace, of a parent namespace or of a single socket. Registration copies the
// table; a child namespace starts with its parent's.
type registry struct {
	mu    sync.Mutex
	table atomic.Pointer[hooks]
}

func (r *registry) hooks() *hooks {
	if h := r.table.Load(); h != nil {
		return h
	}
	return &noHooks
}

// update replaces the table by a changed copy. change must replace slices and maps, never write into them.
func (r *registry) update(change func(h *hooks)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := *r.hooks()
	change(&next)
	r.table.Store(&next)
}

func with[T any](list []T, value T) []T { return append(slices.Clip(list), value) }

// Use adds a middleware for joining sockets. Middlewares run in the order of registration, each after the one before
// has returned; the first error refuses the socket.
func (r *registry) Use(m Middleware) {
	r.update(func(h *hooks) { h.middlewares = with(h.middlewares, m) })
}

// UseEvent adds a middleware for incoming events of all sockets.
func (r *registry) UseEvent(m EventMiddleware) {
	r.update(func(h *hooks) { h.events = with(h.events, m) })
}

// Handle registers a handler for an event. Several handlers of one event run in the order of registration. The returned
// function removes this one. Handle panics, as http.ServeMux does, if the handler is nil or could never run because the
// protocol keeps the name for itself: OnConnection, OnDisconnecting and OnDisconnect are for those.
func (r *registry) Handle(event string, handler Handler) (remove func()) {
	if handler == nil {
		panic("server: nil handler for event " + strconv.Quote(event))
	}
	if parser.ReservedEvent(event) {
		panic("server: clients cannot send event " + strconv.Quote(event) + "; see OnConnection, OnDisconnecting and OnDisconnect")
	}
	s := &slot[Handler]{handler}
	r.update(func(h *hooks) {
		h.handlers = cloneMap(h.handlers)
		h.handlers[event] = with(h.handlers[event], s)
	})
	return func() {
		r.update(func(h *hooks) {
			h.handlers = cloneMap(h.handlers)
			if h.handlers[event] = without(h.handlers[event], s); len(h.handlers[event]) == 0 {
				delete(h.handlers, event)
			}
		})
	}
}

func cloneMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return make(map[string]V)
	}
	return maps.Clone(m)
}

// HandleAny registers a function that sees every incoming event before its middlewares and handlers. The returned
// function removes it.
func (r *registry) HandleAny(f func(ctx context.Context, s *Socket, e *Event)) (remove func()) {
	s := &slot[func(context.Context, *Socket, *Event)]{f}
	r.update(func(h *hooks) { h.any = with(h.any, s) })
	return func() { r.update(func(h *hooks) { h.any = without(h.any, s) }) }
}

// HandleAnyOutgoing registers a function that sees every event sent to a socket, once for each recipient, before it is
// sent; acknowledgements are not included. It runs on the sending goroutine and must be quick. The returned
// function removes it.
func (r *registry) HandleAnyOutgoing(f func(ctx context.Context, s *Socket, e *Event)) (remove func()) {
	s := &slot[func(context.Context, *Socket, *Event)]{f}
	r.update(func(h *hooks) { h.outgoing = with(h.outgoing, s) })
	return func() { r.update(func(h *hooks) { h.outgoing = without(h.outgoing, s) }) }
}

// HandleServerSide registers a handler for events that other nodes send with ServerSideEmit. Events of one namespace
// are handled one after the other; their context ends when the server shuts down. The returned function removes it.
func (r *registry) HandleServerSide(event string, handler ServerSideHandler) (remove func()) {
	s := &slot[ServerSideHandler]{handler}
	r.update(func(h *hooks) {
		h.serverSide = cloneMap(h.serverSide)
		h.serverSide[event] = with(h.serverSide[event], s)
	})
	return func() {
		r.update(func(h *hooks) {
			h.serverSide = cloneMap(h.serverSide)
			h.serverSide[event] = without(h.serverSide[event], s)
		})
	}
}

// OnConnection registers a function that runs for each socket after it has joined, before its first event.
func (r *registry) OnConnection(f func(ctx context.Context, s *Socket)) {
	r.update(func(h *hooks) { h.connection = with(h.connection, f) })
}

// OnDisconnecting registers a function that runs when a socket has disconnected, after its last event and before the
// OnDisconnect functions. Socket.Rooms still tells the rooms it was in.
func (r *registry) OnDisconnecting(f func(s *Socket, reason string)) {
	r.update(func(h *hooks) { h.disconnecting = with(h.disconnecting, f) })
}

// OnDisconnect registers a function that runs exactly once for each socket that had connected, as its last callback.
// Socket.Rooms still tells the rooms it was in.
func (r *registry) OnDisconnect(f func(s *Socket, reason string)) {
	r.update(func(h *hooks) { h.disconnect = with(h.disconnect, f) })
}

// OnError registers a function that gets the errors of event handlers and event middlewares, arguments that do not fit
// their handler (ErrInvalidArguments), and packets that break the protocol (with an empty event name). Without one
// they are logged: what a client can cause at will at level debug, the rest as warnings.
func (r *registry) OnError(f func(s *Socket, event string, err error)) {
	r.update(func(h *hooks) { h.failed = with(h.failed, f) })
}
