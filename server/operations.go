package server

import (
	"context"
	"errors"
)

// OperationKind says in a word what an Operation is.
type OperationKind string

// Kinds of operations.
const (
	OperationConnect OperationKind = "connect" // a CONNECT packet, until it is answered
	OperationEvent   OperationKind = "event"   // an event of a client, until its last callback has returned
	OperationEmit    OperationKind = "emit"    // a call of Emit, which waits for nothing; its context is that of WithContext, or the background's
	OperationAsk     OperationKind = "ask"     // a call that waits for answers, of clients or of other nodes
)

// Operation is something that a server does, see Hooks.Begin.
type Operation struct {
	Kind OperationKind
	// Namespace is its name, for the children of a parent that of the parent.
	Namespace string
	// Socket is the id of the one that a client's event comes from, or that an emit or a question goes to; "" if it is not one, or not
	// one yet.
	Socket string
	// Event is its name, which clients choose. Of what is no event it says what is asked: "fetch sockets", "count sockets", "list
	// sockets", "list rooms", "count servers". "" for a connect.
	Event string
	// Cluster says that other nodes may be told or asked.
	Cluster bool
}

// errNoNamespace is what an attempt to join a namespace that there is not ends with.
var errNoNamespace = errors.New("invalid namespace")

// nothingEnds is the end of an operation that nobody is told of.
func nothingEnds(error) {}

// orBackground is the context of an emit.
func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// watched reports whether somebody is told of operations.
func (srv *Server) watched() bool { return len(srv.hooks.begin) > 0 }

// begin tells of an operation. The end is to be called once. It allocates nothing unless somebody watches.
func (srv *Server) begin(ctx context.Context, op Operation) (in context.Context, end func(error)) {
	if !srv.watched() {
		return ctx, nothingEnds
	}
	return srv.tellBegin(ctx, op)
}

func (srv *Server) tellBegin(ctx context.Context, op Operation) (in context.Context, end func(error)) {
	var ends []func(error)
	for _, f := range srv.hooks.begin {
		_ = srv.protect("Begin", op.Namespace, op.Socket, func() error {
			next, end := f(ctx, op)
			if next != nil {
				ctx = next
			}
			if end != nil {
				ends = append(ends, end)
			}
			return nil
		})
	}
	return ctx, func(err error) {
		for i := len(ends) - 1; i >= 0; i-- {
			_ = srv.protect("Begin", op.Namespace, op.Socket, func() error {
				ends[i](err)
				return nil
			})
		}
	}
}

// asking is an operation of a namespace that asks other nodes.
func (n *Namespace) asking(event string) Operation {
	return Operation{Kind: OperationAsk, Namespace: n.name, Event: event, Cluster: true}
}

// emitting is the operation of an operator.
func (b BroadcastOperator) emitting(event string) Operation {
	op := Operation{Kind: OperationEmit, Event: event, Cluster: !b.flags.Local}
	if b.parent != nil {
		op.Namespace = b.parent.name
	} else {
		op.Namespace = b.nsp.name
	}
	return op
}
