package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// BroadcastOperator selects sockets of the whole cluster. It is an immutable value: each method returns a changed copy.
// Without To every connected socket is selected; a socket's id is the name of its own room.
type BroadcastOperator struct {
	nsp    *Namespace       // or
	parent *ParentNamespace // all children of it
	rooms  []string
	except []string
	flags  adapter.Flags
	ctx    context.Context // of WithContext, nil for none

	narrowed bool // To was called: without a room the selection is empty

	directed bool // Nodes was called
	nodes    []NodeID
	holders  []NodeID
	receipt  func(NodeID, Receipt)
}

// To selects the sockets that are in at least one of the rooms. Several calls add up. An operator that was given an empty
// list and nothing else selects nobody: its calls send nothing and return nil, its questions have an empty, complete result.
func (b BroadcastOperator) To(rooms ...string) BroadcastOperator {
	b.narrowed = true
	b.rooms = append(slices.Clip(b.rooms), rooms...)
	return b
}

// In is To.
func (b BroadcastOperator) In(rooms ...string) BroadcastOperator { return b.To(rooms...) }

// Except leaves out the sockets that are in at least one of the rooms. Several calls add up; an empty list leaves out
// nobody.
func (b BroadcastOperator) Except(rooms ...string) BroadcastOperator {
	b.except = append(slices.Clip(b.except), rooms...)
	return b
}

// Local limits the operation to this node.
func (b BroadcastOperator) Local() BroadcastOperator {
	b.flags.Local = true
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

// WithContext says in which context events are emitted, for Hooks.Begin. An emit in a handler with the handler's context
// becomes a part of what is traced there. Nothing else comes of it; an emit waits for nothing, so that the end of ctx ends
// none.
func (b BroadcastOperator) WithContext(ctx context.Context) BroadcastOperator {
	b.ctx = ctx
	return b
}

func (b BroadcastOperator) selection() adapter.Selection {
	return adapter.Selection{Rooms: b.rooms, Except: b.except}
}

// nobody reports whether the selection is empty whatever sockets there are. It is decided here and never said to an
// adapter: on the wire, as in Node, a selection without rooms means everybody.
func (b BroadcastOperator) nobody() bool {
	return b.narrowed && len(b.rooms) == 0 || b.directed && len(b.nodes) == 0
}

func (b BroadcastOperator) operator() BroadcastOperator { return b }

// each runs an operation on the adapters of all namespaces, and for all nodes, that are meant and joins the errors.
func (b BroadcastOperator) each(what string, f func(n *Namespace, a adapter.Adapter, flags adapter.Flags) error) error {
	one := func(n *Namespace) error {
		a := n.cluster()
		return failed(what, b.eachNode(a, func(flags adapter.Flags) error { return f(n, a, flags) }))
	}
	switch {
	case b.nobody():
		return nil
	case b.parent == nil:
		return one(b.nsp)
	}
	var errs []error
	for _, n := range b.parent.Children() {
		errs = append(errs, one(n))
	}
	return errors.Join(errs...)
}

// failed says in an error what has failed.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Emit sends an event to the selected sockets. It is encoded once, and never blocks. The error is ErrReservedEvent, an
// encoding error, or the adapter's: the sockets of this node have been served then.
func (b BroadcastOperator) Emit(event string, args ...any) error {
	e, err := Encode(event, args...)
	if err != nil {
		return err
	}
	return b.EmitEncoded(e)
}

// Encoded is an event as Emit has encoded it, for what is sent more than once. What it was made of may be changed again; []byte in
// it may not.
type Encoded struct {
	event   string
	payload parser.Payload
}

// Encode encodes an event. The error is as for Emit.
func Encode(event string, args ...any) (Encoded, error) {
	payload, err := eventPayload(event, args)
	return Encoded{event, payload}, err
}

// EmitEncoded is Emit of an event that has been encoded before.
func (b BroadcastOperator) EmitEncoded(e Encoded) error {
	_, end := b.server().begin(orBackground(b.ctx), b.emitting(e.event))
	err := b.each("emit", func(n *Namespace, a adapter.Adapter, flags adapter.Flags) error {
		p := &parser.Packet{Type: parser.Event, Namespace: n.name, ID: parser.NoID, Payload: e.payload}
		return a.Broadcast(p, b.selection(), flags)
	})
	end(err)
	return err
}

// FetchSockets describes the selected sockets. The result says which nodes did not answer.
func (b BroadcastOperator) FetchSockets(ctx context.Context) (Result[*RemoteSocket], error) {
	var result Result[*RemoteSocket]
	if b.parent != nil {
		return result, fmt.Errorf("fetch sockets: %w", ErrParentNamespace)
	}
	if b.nobody() {
		return result, nil
	}
	raw, err := askNodes(ctx, b, "fetch sockets", func(ctx context.Context, a adapter.Adapter, flags adapter.Flags) (Result[adapter.SocketDetails], error) {
		return a.FetchSockets(ctx, b.selection(), flags)
	})
	result.Missing, result.Unanswered = raw.Missing, raw.Unanswered
	for _, d := range raw.Values {
		result.Values = append(result.Values, newRemoteSocket(b.nsp, d))
	}
	return result, failed("fetch sockets", err)
}

// SocketsJoin makes the selected sockets join rooms.
func (b BroadcastOperator) SocketsJoin(rooms ...string) error {
	return b.each("sockets join", func(_ *Namespace, a adapter.Adapter, flags adapter.Flags) error {
		return a.SocketsJoin(b.selection(), flags, rooms)
	})
}

// SocketsLeave makes the selected sockets leave rooms.
func (b BroadcastOperator) SocketsLeave(rooms ...string) error {
	return b.each("sockets leave", func(_ *Namespace, a adapter.Adapter, flags adapter.Flags) error {
		return a.SocketsLeave(b.selection(), flags, rooms)
	})
}

// DisconnectSockets disconnects the selected sockets from the namespace; their connections stay open.
func (b BroadcastOperator) DisconnectSockets() error {
	return b.disconnect(false)
}

// DisconnectClients disconnects the clients of the selected sockets from all namespaces and closes their connections.
func (b BroadcastOperator) DisconnectClients() error {
	return b.disconnect(true)
}

func (b BroadcastOperator) disconnect(closeConn bool) error {
	return b.each("disconnect sockets", func(_ *Namespace, a adapter.Adapter, flags adapter.Flags) error {
		return a.DisconnectSockets(b.selection(), flags, closeConn)
	})
}

// Broadcaster is what BroadcastWithAck can send to: *Namespace and BroadcastOperator.
type Broadcaster interface {
	operator() BroadcastOperator
}

// Replies are the acknowledgements of a broadcast.
type Replies[R any] struct {
	// Values holds the first argument of each acknowledgement, in the order in which they came.
	Values []R
	// Expected is the number of sockets that received the packet, as far as their nodes have told.
	Expected int
	// Failed names the sockets that did not acknowledge in time, or disconnected, or whose answer was no R; "" stands for
	// one on a node that does not tell names.
	Failed []string
	// Missing and Unanswered tell the nodes that did not take part to the end; see Result.
	Missing    []NodeID
	Unanswered int
}

// BroadcastWithAck sends an event to the selected sockets and waits until each has acknowledged or disconnected, or until
// the deadline of ctx (Options.AckTimeout without one). The replies that came are returned in any case. The error is
// ErrAckTimeout when time ran out, and ErrAckMissing when some sockets did not acknowledge.
func BroadcastWithAck[R any](ctx context.Context, to Broadcaster, event string, args ...any) (Replies[R], error) {
	b := to.operator()
	if b.parent != nil {
		return Replies[R]{}, fmt.Errorf("broadcast with ack: %w", ErrParentNamespace)
	}
	p, err := b.nsp.packet(event, args)
	if err != nil {
		return Replies[R]{}, err
	}
	if b.nobody() {
		return Replies[R]{}, nil
	}
	ctx, cancel := b.nsp.server.ackContext(ctx)
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok {
		b.flags.Timeout = max(time.Until(deadline), time.Millisecond)
	}
	sink := new(replySink[R])
	summary, err := b.withAck(ctx, event, &p, sink)
	return sink.finish(ctx, b.nsp.server, summary, err)
}

// replySink gathers the acknowledgements of one broadcast. They are decoded at the end, because decoding may run code of
// the application, which has no place on the reading side of a connection.
type replySink[R any] struct {
	mu sync.Mutex
	// Guarded by mu.
	expected int
	answers  []answer
	failed   []string
}

type answer struct {
	sid   string
	value parser.Payload
}

func (r *replySink[R]) Expected(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expected += n
}

func (r *replySink[R]) Ack(_ adapter.NodeID, sid string, value parser.Payload) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = append(r.answers, answer{sid, value})
}

func (r *replySink[R]) Gone(_ adapter.NodeID, sid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, sid)
}

func (r *replySink[R]) finish(ctx context.Context, srv *Server, summary adapter.AckSummary, err error) (Replies[R], error) {
	r.mu.Lock()
	answers := r.answers
	replies := Replies[R]{Expected: r.expected, Failed: r.failed, Missing: summary.Missing, Unanswered: summary.Unanswered}
	r.mu.Unlock()
	for _, a := range answers {
		var v R
		if decodeValue(a.value, &v) != nil {
			replies.Failed = append(replies.Failed, a.sid)
			continue
		}
		replies.Values = append(replies.Values, v)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		err = srv.ackEnded(ctx)
	case err == nil && (len(replies.Values) < replies.Expected || summary.Unanswered > 0):
		err = ErrAckMissing
	}
	return replies, err
}
