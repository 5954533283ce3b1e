package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// What is said to some nodes alone: packages like users, which know where sockets are, stand on it.

// Nodes limits the operation to nodes of the cluster, this one among them if it is named. Each gets a message of its own, that no
// other node hears; without any, nobody is selected. A node that is no live member that serves the namespace is an
// ErrNodeUnreachable, in a *NodeError; the others do their part.
func (b BroadcastOperator) Nodes(ids ...NodeID) BroadcastOperator {
	b.directed, b.nodes = true, slices.Clip(ids)
	return b
}

// Holders belongs to Emit: it tells the nodes that get the message for whom it is meant. Their OnDirected functions are called; without
// Nodes, those of all other nodes.
func (b BroadcastOperator) Holders(ids ...NodeID) BroadcastOperator {
	b.holders = slices.Clip(ids)
	return b
}

// Receipt belongs to Nodes and Emit: f is told, once for each other node to which the message was given, what the broker says of
// it. It is called on any goroutine and must not block.
func (b BroadcastOperator) Receipt(f func(to NodeID, r Receipt)) BroadcastOperator {
	b.receipt = f
	return b
}

// Foreign belongs to Emit: only nodes that do not know this mark deliver the event, which are those of Node.js and of former
// versions. Neither this node nor its equals do.
func (b BroadcastOperator) Foreign() BroadcastOperator {
	b.flags.Foreign = true
	return b
}

// Receipt is what the broker says of a message, see adapter.Receipt.
type Receipt = adapter.Receipt

// NodeError is what went wrong with one of several nodes.
type NodeError struct {
	Node NodeID
	Err  error
}

// Error names the node.
func (e *NodeError) Error() string { return fmt.Sprintf("node %s: %v", e.Node, e.Err) }

// Unwrap returns the error of the node.
func (e *NodeError) Unwrap() error { return e.Err }

// eachNode runs an operation for each node that is meant, or once if no nodes are named, and joins the errors.
func (b BroadcastOperator) eachNode(a adapter.Adapter, f func(flags adapter.Flags) error) error {
	if !b.directed {
		flags := b.flags
		if len(b.holders) > 0 {
			flags.Direction = &adapter.Direction{Holders: b.holders}
		}
		return f(flags)
	}
	var errs []error
	for _, id := range b.nodes {
		flags, err := b.flagsFor(a, id)
		if err == nil {
			err = f(flags)
		}
		if err != nil {
			errs = append(errs, &NodeError{id, err})
		}
	}
	return errors.Join(errs...)
}

// flagsFor are the flags of what is sent to one node.
func (b BroadcastOperator) flagsFor(a adapter.Adapter, id NodeID) (adapter.Flags, error) {
	flags := b.flags
	if id == b.server().cluster.Self().ID {
		flags.Local = true
		return flags, nil
	}
	if _, ok := a.(adapter.Director); !ok {
		return flags, ErrNodeUnreachable
	}
	flags.Node, flags.Only = id, true
	if len(b.holders) > 0 || b.receipt != nil {
		flags.Direction = &adapter.Direction{Holders: b.holders}
		if b.receipt != nil {
			flags.Direction.Receipt = func(r Receipt) { b.receipt(id, r) }
		}
	}
	return flags, nil
}

func (b BroadcastOperator) server() *Server {
	if b.parent != nil {
		return b.parent.server
	}
	return b.nsp.server
}

// askNodes puts a question to all nodes that are meant, at the same time. A node that cannot be reached is missing.
func askNodes[T any](
	ctx context.Context, b BroadcastOperator, what string, ask func(ctx context.Context, a adapter.Adapter, flags adapter.Flags) (Result[T], error),
) (result Result[T], err error) {
	ctx, end := b.nsp.server.begin(ctx, b.nsp.asking(what))
	defer func() { end(err) }()
	a := b.nsp.cluster()
	if !b.directed {
		return ask(ctx, a, b.flags)
	}
	results, errs := make([]Result[T], len(b.nodes)), make([]error, len(b.nodes))
	var wg sync.WaitGroup
	for i, id := range b.nodes {
		one := func() {
			flags, err := b.flagsFor(a, id)
			if err == nil {
				results[i], err = ask(ctx, a, flags)
			}
			if errors.Is(err, ErrNodeUnreachable) {
				results[i], err = Result[T]{Missing: []NodeID{id}, Unanswered: 1}, nil
			}
			errs[i] = err
		}
		if i == len(b.nodes)-1 {
			one() // on this goroutine
		} else {
			wg.Go(one)
		}
	}
	wg.Wait()
	for _, r := range results {
		result.Values = append(result.Values, r.Values...)
		result.Missing = append(result.Missing, r.Missing...)
		result.Unanswered += r.Unanswered
	}
	return result, errors.Join(errs...)
}

// Directed is an event that another node has sent with Holders, to this one alone or to all. This node's sockets have been served. It
// may be kept, and its methods may be called from any goroutine.
type Directed struct {
	nsp     *Namespace
	message *adapter.Message
}

// From names the node that has sent the event, or sent it on.
func (d *Directed) From() NodeID { return d.message.From }

// Rooms returns the rooms that were selected.
func (d *Directed) Rooms() []string { return d.message.Selection.Rooms }

// Holders returns the nodes that get the event as far as the sender knows.
func (d *Directed) Holders() []NodeID { return d.message.Flags.Direction.Holders }

// Replayed reports whether clients that come back get the event too, see Options.Recovery. Such an event was sent to all nodes.
func (d *Directed) Replayed() bool {
	return d.nsp.recovery != nil && adapter.Kept(d.message.Packet, d.message.Flags)
}

// Forward sends the event on to other nodes, with holders as what is said there of who gets it. Errors are as for
// BroadcastOperator.Nodes.
func (d *Directed) Forward(holders []NodeID, to ...NodeID) error {
	b := d.nsp.operator().Nodes(to...).Holders(holders...)
	b.flags.Volatile, b.flags.NoCompress = d.message.Flags.Volatile, d.message.Flags.NoCompress
	a := d.nsp.cluster()
	return failed("forward", b.eachNode(a, func(flags adapter.Flags) error {
		return a.Broadcast(d.message.Packet, d.message.Selection, flags)
	}))
}

// OnDirected registers a function that is told of events that other nodes have sent with Holders. It runs on
// the goroutine that reads what other nodes say, and must not block. The returned function removes it.
func (n *Namespace) OnDirected(f func(d *Directed)) (remove func()) { return n.onDirected(f) }

// Redirect implements adapter.Redirector.
func (l local) Redirect(m *adapter.Message) {
	list := l.nsp.hooks().directed
	if len(list) == 0 {
		return
	}
	d := &Directed{l.nsp, m}
	each(list, func(f *slot[func(*Directed)]) {
		_ = l.nsp.server.protect("OnDirected", l.nsp.name, "", func() error {
			f.value(d)
			return nil
		})
	})
}

// OnRoomsChange registers a function that is told when a socket has joined or left rooms, other than by disconnecting. It runs on
// the goroutine that has changed them, possibly after a later change was told, and must not block. The returned function
// removes it.
func (n *Namespace) OnRoomsChange(f func(s *Socket, rooms []string)) (remove func()) {
	return n.onRoomsChange(f)
}

// roomsChanged tells the OnRoomsChange functions.
func (s *Socket) roomsChanged(names []string) {
	if r := s.nsp.recovery; r != nil {
		r.changed(s)
	}
	each(s.nsp.hooks().rooms, func(f *slot[roomsFunc]) {
		_ = s.nsp.server.protect("OnRoomsChange", s.nsp.name, s.id, func() error {
			f.value(s, names)
			return nil
		})
	})
}

// withAck puts a broadcast that asks for acknowledgements to all nodes that are meant, at the same time.
func (b BroadcastOperator) withAck(ctx context.Context, event string, p *parser.Packet, sink adapter.AckSink) (adapter.AckSummary, error) {
	result, err := askNodes(ctx, b, event, func(ctx context.Context, a adapter.Adapter, flags adapter.Flags) (Result[struct{}], error) {
		flags.Direction = nil
		summary, err := a.BroadcastWithAck(ctx, p, b.selection(), flags, sink)
		return Result[struct{}]{Missing: summary.Missing, Unanswered: summary.Unanswered}, err
	})
	return adapter.AckSummary{Missing: result.Missing, Unanswered: result.Unanswered}, err
}
