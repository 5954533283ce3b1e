package server

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// Hooks are asked before something is paid for, and told after it has happened: the places for limits and metrics, for
// all namespaces at once. Each function may be nil, which costs nothing. They run on the goroutine that does the work, often
// the one that reads from the client: they must be quick and must not block, and may be called from many goroutines at once.
// A panic in one is contained, and refuses what it was asked about.
//
// An error refuses. What the client learns of it is the text of a *ClientError, or else a fixed one; nothing is logged, and
// Stats.Refused counts. A function that wants to end the connection closes it itself.
type Hooks struct {
	// BeforeConnect is asked about each CONNECT packet, before the namespace is looked for and the auth object is kept. A
	// refused client gets CONNECT_ERROR. The function must not keep auth, which is raw JSON, or empty.
	BeforeConnect func(conn *Conn, namespace string, auth []byte) error

	// BeforeEvent is asked about each event of a client, before it is queued and its arguments are decoded. A refused event
	// is dropped; a client that waits for its acknowledgement gets {"error": {message, data}}.
	BeforeEvent func(s *Socket, in Incoming) error

	// BeforeJoin is asked before a socket joins rooms, all of which are refused or none: by Socket.Join, which returns the
	// error, and for each socket that SocketsJoin selects, which leaves it out. It must not keep or change rooms. A socket's
	// own room is not asked about.
	BeforeJoin func(s *Socket, rooms []string) error

	// Begin is told of each operation that begins, and returns the context in which it goes on, ctx or one made of it, and a function
	// that is called once, when the operation has ended, with its error; nil if nobody wants to know. Callbacks get that context:
	// the middlewares of a connect, the handlers of an event. The place for tracing.
	Begin func(ctx context.Context, op Operation) (in context.Context, end func(error))

	// AfterConnect is told of each socket that has joined its namespace, before its first callback. The socket may
	// have disconnected by then.
	AfterConnect func(s *Socket)

	// AfterEvent is told of each event of a client when its last callback has returned.
	AfterEvent func(s *Socket, r EventResult)

	// AfterDisconnect is told of each socket that had joined, as soon as it has disconnected.
	AfterDisconnect func(s *Socket, reason Reason)

	// BeforeDrain is told of each socket whose connection the server is about to close, by Drain or Shed, while the socket is connected
	// and in its rooms: the place to save what it is to go on with on another node. It runs on the goroutine that closes them one
	// after the other, and may take as long as the pace allows.
	BeforeDrain func(s *Socket)
}

// Incoming is an event that has arrived and has not been paid for. It is valid during the call that it is given to.
type Incoming struct {
	// Bytes is the length of the payload, attachments included.
	Bytes  int
	packet *parser.Packet
}

// Name reads the event's name out of the packet; "" if there is none. Clients choose it.
func (in Incoming) Name() string {
	name, _, err := in.packet.Event()
	if err != nil {
		return ""
	}
	return name
}

// NameBytes is Name without a copy, where there is none to be made: it must not be kept or changed.
func (in Incoming) NameBytes() []byte {
	if json := in.packet.JSON; len(json) > 2 && json[0] == '[' && json[1] == '"' {
		if name := json[2 : 2+max(bytes.IndexByte(json[2:], '"'), 0)]; len(name) > 0 && bytes.IndexByte(name, '\\') < 0 {
			return name
		}
	}
	return []byte(in.Name())
}

// EventResult tells how the handling of one event went.
type EventResult struct {
	Name    string
	Took    time.Duration // from the first callback to the end of the last
	Outcome Outcome
	Err     error // the first error, if any
}

// Outcome says in a word how an event went.
type Outcome string

// Outcomes of events.
const (
	OutcomeHandled   Outcome = "handled"
	OutcomeUnhandled Outcome = "unhandled" // no handler is registered for the name, which can be anything then
	OutcomeRejected  Outcome = "rejected"  // by an error that is the client's: a *ClientError, or ErrInvalidArguments
	OutcomeFailed    Outcome = "failed"    // by any other error
	OutcomePanicked  Outcome = "panicked"
)

func outcome(known bool, err error) Outcome {
	var ce *ClientError
	switch {
	case !known:
		return OutcomeUnhandled
	case err == nil:
		return OutcomeHandled
	case errors.Is(err, errPanic):
		return OutcomePanicked
	case errors.As(err, &ce), errors.Is(err, ErrInvalidArguments):
		return OutcomeRejected
	}
	return OutcomeFailed
}

// onReadingSide reports whether some of the functions run on the goroutine that reads from the client.
func (l *hookLists) onReadingSide() bool {
	return len(l.beforeConnect)+len(l.beforeEvent)+len(l.afterConnect)+len(l.afterDisconnect) > 0
}

// hookLists are the functions of all Hooks of a server, by kind. An empty list is one that nobody is called for.
type hookLists struct {
	beforeConnect   []func(*Conn, string, []byte) error
	beforeEvent     []func(*Socket, Incoming) error
	beforeJoin      []func(*Socket, []string) error
	begin           []func(context.Context, Operation) (context.Context, func(error))
	afterConnect    []func(*Socket)
	afterEvent      []func(*Socket, EventResult)
	afterDisconnect []func(*Socket, Reason)
	beforeDrain     []func(*Socket)
}

func newHookLists(all []Hooks) (l hookLists) {
	for _, h := range all {
		l.beforeConnect = withHook(l.beforeConnect, h.BeforeConnect, h.BeforeConnect != nil)
		l.beforeEvent = withHook(l.beforeEvent, h.BeforeEvent, h.BeforeEvent != nil)
		l.beforeJoin = withHook(l.beforeJoin, h.BeforeJoin, h.BeforeJoin != nil)
		l.begin = withHook(l.begin, h.Begin, h.Begin != nil)
		l.afterConnect = withHook(l.afterConnect, h.AfterConnect, h.AfterConnect != nil)
		l.afterEvent = withHook(l.afterEvent, h.AfterEvent, h.AfterEvent != nil)
		l.afterDisconnect = withHook(l.afterDisconnect, h.AfterDisconnect, h.AfterDisconnect != nil)
		l.beforeDrain = withHook(l.beforeDrain, h.BeforeDrain, h.BeforeDrain != nil)
	}
	return l
}

func withHook[F any](list []F, f F, given bool) []F {
	if !given {
		return list
	}
	return append(list, f)
}

// allow calls the functions of a list until one refuses.
func allow[F any](srv *Server, list []F, what, namespace, socket string, call func(F) error) error {
	for _, f := range list {
		if err := srv.protect(what, namespace, socket, func() error { return call(f) }); err != nil {
			srv.refused.Add(1)
			return err
		}
	}
	return nil
}

// tell calls all functions of a list.
func tell[F any](s *Socket, list []F, what string, call func(F)) {
	each(list, func(f F) {
		_ = s.nsp.server.protect(what, s.nsp.name, s.id, func() error {
			call(f)
			return nil
		})
	})
}

// mayConnect asks about a CONNECT packet and answers one that is refused.
func (c *client) mayConnect(namespace string, auth []byte) bool {
	defer c.server.asking.begin().end()
	err := allow(c.server, c.server.hooks.beforeConnect, "BeforeConnect", namespace, "",
		func(f func(*Conn, string, []byte) error) error { return f(c.session, namespace, auth) })
	if err != nil {
		ce := clientError(err)
		c.refuse(nil, namespace, ce.Message, ce.Data)
	}
	return err == nil
}

// mayEmit asks about an event of the client and answers one that is refused.
func (s *Socket) mayEmit(p *parser.Packet) bool {
	defer s.nsp.server.asking.begin().end()
	in := Incoming{Bytes: payloadSize(&p.Payload), packet: p}
	err := allow(s.nsp.server, s.nsp.server.hooks.beforeEvent, "BeforeEvent", s.nsp.name, s.id,
		func(f func(*Socket, Incoming) error) error { return f(s, in) })
	if err != nil {
		if s.observed() {
			s.observeEvent(ObservedRefused, p)
		}
		// The client may be gone; then nobody waits.
		_ = (&Reply{socket: s, id: p.ID}).SendError(err)
	}
	return err == nil
}

// mayJoin asks about rooms that the socket is to join.
func (s *Socket) mayJoin(rooms []string) error {
	return allow(s.nsp.server, s.nsp.server.hooks.beforeJoin, "BeforeJoin", s.nsp.name, s.id,
		func(f func(*Socket, []string) error) error { return f(s, rooms) })
}

func (s *Socket) tellConnect() {
	defer s.nsp.server.asking.begin().end()
	tell(s, s.nsp.server.hooks.afterConnect, "AfterConnect", func(f func(*Socket)) { f(s) })
}

func (s *Socket) tellEvent(r EventResult) {
	tell(s, s.nsp.server.hooks.afterEvent, "AfterEvent", func(f func(*Socket, EventResult)) { f(s, r) })
}

func (s *Socket) tellDisconnect(reason Reason) {
	defer s.nsp.server.asking.begin().end()
	tell(s, s.nsp.server.hooks.afterDisconnect, "AfterDisconnect", func(f func(*Socket, Reason)) { f(s, reason) })
}

// tellLeaving tells of the sockets of a client that is sent away.
func (c *client) tellLeaving() {
	if len(c.server.hooks.beforeDrain) == 0 {
		return
	}
	for _, s := range c.snapshot() {
		tell(s, s.nsp.server.hooks.beforeDrain, "BeforeDrain", func(f func(*Socket)) { f(s) })
	}
}
