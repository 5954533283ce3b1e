package server

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Middleware decides whether a socket may join a namespace. It runs before the CONNECT packet is answered and may block;
// the context ends when the client goes away, or when the last middleware has returned. What it emits reaches the client
// before the answer. A non-nil error refuses the socket; see ClientError.
type Middleware func(ctx context.Context, s *Socket) error

// EventMiddleware sees an event before its handlers. A non-nil error ends the event: it is handled like an error of the
// handler.
type EventMiddleware func(ctx context.Context, s *Socket, e *Event) error

// Callbacks of sockets, by their signatures.
type (
	eventFunc      = func(ctx context.Context, s *Socket, e *Event)
	connectionFunc = func(ctx context.Context, s *Socket)
	disconnectFunc = func(ctx context.Context, s *Socket, reason Reason)
	roomsFunc      = func(s *Socket, rooms []string)
	dataFunc       = func(s *Socket, key string)
	errorFunc      = func(ctx context.Context, s *Socket, event string, err error)
	recoverFunc    = func(ctx context.Context, s *Socket) error
)

// slot gives a registered value an identity, so that it can be removed again.
type slot[T any] struct{ value T }

func without[T any](list []*slot[T], gone *slot[T]) []*slot[T] {
	return slices.DeleteFunc(slices.Clone(list), func(s *slot[T]) bool { return s == gone })
}

func with[T any](list []T, value T) []T { return append(slices.Clip(list), value) }

// hooks is what a registry holds at one moment. It is immutable: readers take it once and need no lock.
type hooks struct {
	middlewares   []*slot[middleware]
	events        []*slot[EventMiddleware]
	handlers      map[string][]*slot[Handler]
	tempos        map[string]*tempo // of handlers, in a registry of many sockets
	any, outgoing []*slot[eventFunc]
	serverSide    map[string][]*slot[ServerSideHandler]
	connection    []*slot[connectionFunc]
	disconnecting []*slot[disconnectFunc]
	disconnect    []*slot[disconnectFunc]
	failed        []*slot[errorFunc]
	rooms         []*slot[roomsFunc]
	directed      []*slot[func(*Directed)]
	recover       []*slot[recoverFunc]
	observers     []*slot[func(Observation)] // of sockets alone
	data          []*slot[dataFunc]
}

var noHooks hooks

// endings reports whether there are functions for a disconnect.
func (h *hooks) endings() bool { return len(h.disconnecting)+len(h.disconnect) > 0 }

// registry holds the callbacks of a namespace, of a parent namespace or of a single socket. Registration copies the
// table; a child namespace starts with its parent's. Each registration returns the function that undoes it.
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

// register adds a value to one of the lists. what is the name of the exported method, for the panic about a nil value.
func register[T any](r *registry, what string, value T, list func(h *hooks) *[]*slot[T]) (remove func()) {
	refuseNil(what, value)
	s := &slot[T]{value}
	r.update(func(h *hooks) { l := list(h); *l = with(*l, s) })
	return func() { r.update(func(h *hooks) { l := list(h); *l = without(*l, s) }) }
}

// registerNamed adds a value to the list of an event.
func registerNamed[T any](r *registry, what, event string, value T, lists func(h *hooks) *map[string][]*slot[T]) (remove func()) {
	refuseNil(what+"("+strconv.Quote(event)+")", value)
	s := &slot[T]{value}
	change := func(next func(list []*slot[T]) []*slot[T]) {
		r.update(func(h *hooks) {
			m := lists(h)
			if *m = maps.Clone(*m); *m == nil {
				*m = make(map[string][]*slot[T])
			}
			if (*m)[event] = next((*m)[event]); len((*m)[event]) == 0 {
				delete(*m, event)
			}
		})
	}
	change(func(list []*slot[T]) []*slot[T] { return with(list, s) })
	return func() { change(func(list []*slot[T]) []*slot[T] { return without(list, s) }) }
}

func refuseNil(what string, value any) {
	if v := reflect.ValueOf(value); !v.IsValid() || v.Kind() == reflect.Func && v.IsNil() {
		panic("server: " + what + " got nil")
	}
}

// middleware is one of a namespace.
type middleware struct {
	run    Middleware
	always bool // also for clients that go on with a session
}

func (r *registry) use(m Middleware) (remove func()) {
	refuseNil("Use", m)
	return r.addMiddleware(middleware{run: m})
}

func (r *registry) useAlways(m Middleware) (remove func()) {
	refuseNil("UseAlways", m)
	return r.addMiddleware(middleware{run: m, always: true})
}

func (r *registry) addMiddleware(m middleware) (remove func()) {
	return register(r, "Use", m, func(h *hooks) *[]*slot[middleware] { return &h.middlewares })
}

func (r *registry) useEvent(m EventMiddleware) (remove func()) {
	return register(r, "UseEvent", m, func(h *hooks) *[]*slot[EventMiddleware] { return &h.events })
}

func (r *registry) handle(event string, handler Handler) (remove func()) {
	if parser.ReservedEvent(event) {
		panic("server: clients cannot send event " + strconv.Quote(event) + "; see OnConnection, OnDisconnecting and OnDisconnect")
	}
	return registerNamed(r, "Handle", event, handler, func(h *hooks) *map[string][]*slot[Handler] { return &h.handlers })
}

// handleTimed is handle for a registry of many sockets. With each change of an event's handlers they have to prove anew that they
// are quick.
func (r *registry) handleTimed(event string, handler Handler) (remove func()) {
	undo := r.handle(event, handler)
	forget := func() {
		r.update(func(h *hooks) {
			if h.tempos = maps.Clone(h.tempos); h.tempos == nil {
				h.tempos = make(map[string]*tempo)
			}
			if h.tempos[event] = new(tempo); len(h.handlers[event]) == 0 {
				delete(h.tempos, event)
			}
		})
	}
	forget()
	return func() {
		undo()
		forget()
	}
}

// proveAnew is for what comes before the handlers of all events: they have to prove anew that they are quick.
func (r *registry) proveAnew() {
	r.update(func(h *hooks) {
		next := make(map[string]*tempo, len(h.tempos))
		for event := range h.tempos {
			next[event] = new(tempo)
		}
		h.tempos = next
	})
}

func (r *registry) handleAny(f eventFunc) (remove func()) {
	return register(r, "HandleAny", f, func(h *hooks) *[]*slot[eventFunc] { return &h.any })
}

func (r *registry) handleAnyOutgoing(f eventFunc) (remove func()) {
	return register(r, "HandleAnyOutgoing", f, func(h *hooks) *[]*slot[eventFunc] { return &h.outgoing })
}

func (r *registry) handleServerSide(event string, handler ServerSideHandler) (remove func()) {
	if adapter.ReservedServerSide(event) {
		panic("server: nodes cannot send event " + strconv.Quote(event) + "; see OnConnection and OnNewNamespace")
	}
	return registerNamed(r, "HandleServerSide", event, handler,
		func(h *hooks) *map[string][]*slot[ServerSideHandler] { return &h.serverSide })
}

func (r *registry) onConnection(f connectionFunc) (remove func()) {
	return register(r, "OnConnection", f, func(h *hooks) *[]*slot[connectionFunc] { return &h.connection })
}

func (r *registry) onDisconnecting(f disconnectFunc) (remove func()) {
	return register(r, "OnDisconnecting", f, func(h *hooks) *[]*slot[disconnectFunc] { return &h.disconnecting })
}

func (r *registry) onDisconnect(f disconnectFunc) (remove func()) {
	return register(r, "OnDisconnect", f, func(h *hooks) *[]*slot[disconnectFunc] { return &h.disconnect })
}

func (r *registry) onRoomsChange(f roomsFunc) (remove func()) {
	return register(r, "OnRoomsChange", f, func(h *hooks) *[]*slot[roomsFunc] { return &h.rooms })
}

func (r *registry) onDataChange(f dataFunc) (remove func()) {
	return register(r, "OnDataChange", f, func(h *hooks) *[]*slot[dataFunc] { return &h.data })
}

func (r *registry) onDirected(f func(*Directed)) (remove func()) {
	return register(r, "OnDirected", f, func(h *hooks) *[]*slot[func(*Directed)] { return &h.directed })
}

func (r *registry) onRecover(f recoverFunc) (remove func()) {
	return register(r, "OnRecover", f, func(h *hooks) *[]*slot[recoverFunc] { return &h.recover })
}

func (r *registry) onError(f errorFunc) (remove func()) {
	return register(r, "OnError", f, func(h *hooks) *[]*slot[errorFunc] { return &h.failed })
}
