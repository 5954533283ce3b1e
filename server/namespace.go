package server

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rooms"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Namespace is a channel with its own handlers, rooms and middlewares over the clients' shared connections. All methods
// may be called from any goroutine; those that emit never block.
type Namespace struct {
	registry

	// Static after construction.
	server *Server
	name   string
	parent *ParentNamespace // nil unless the namespace is dynamic
	counts *namespaceCounts // the parent's, if there is one
	index  *rooms.Index[member]

	// resume finds what a client that connects can go on with, nil if it starts anew. Set by once; nil while nothing is kept.
	resume func(ctx context.Context, c *client, auth []byte) *restoration

	once    sync.Once
	adapter adapter.Adapter // set by once; see cluster

	recovery *recovery // set by once; nil unless clients can go on

	ackIDs     atomic.Int64
	refs       atomic.Int64 // sockets and attempts; raised with server.mu held
	connecting atomic.Int64
	limit      atomic.Int32 // handler concurrency, 0 = the server's
	order      fanoutOrder
	serverSide serverSideQueue
	ownTempos  tempos // of events that sockets handle themselves
}

// selector serves all namespaces with pooled memory.
type selector = rooms.Selector[member]

func newNamespace(srv *Server, name string, parent *ParentNamespace) *Namespace {
	n := &Namespace{server: srv, name: name, parent: parent, index: rooms.New[member](), counts: new(namespaceCounts)}
	if parent != nil {
		n.counts = &parent.counts
		n.registry.table.Store(parent.registry.hooks())
	}
	return n
}

// open builds the adapter, outside of any lock because it is the application's choice. A namespace whose adapter cannot
// be built serves this node alone.
func (n *Namespace) open() {
	n.once.Do(func() {
		a, err := n.server.cluster.New(local{n})
		if err != nil {
			if held, ok := n.server.alone.Pass("", failureInterval); ok { // clients open dynamic namespaces
				n.server.opts.Logger.Error("adapter failed, the namespace serves this node only", "namespace", n.name, "error", err, "notLogged", held)
			}
			a = adapter.NewMemory(local{n})
		}
		n.adapter = a
		if n.server.opts.Recovery != nil {
			n.startRecovery(a)
		}
		if o, ok := a.(adapter.RoomObserver); ok {
			n.index.Observe(o)
		}
		if n.server.closing.Load() {
			n.closeAdapter()
		}
	})
}

// startRecovery makes the namespace one in which clients can go on.
func (n *Namespace) startRecovery(a adapter.Adapter) {
	if n.recovery = newRecovery(n, a); n.recovery != nil {
		n.resume = n.recovery.resume
	}
}

// cluster returns the adapter. It waits for the goroutine that is building it, if there is one.
func (n *Namespace) cluster() adapter.Adapter {
	n.open()
	return n.adapter
}

func (n *Namespace) closeAdapter() {
	if n.recovery != nil {
		n.recovery.close()
	}
	if err := n.adapter.Close(); err != nil {
		if held, ok := n.server.alone.Pass("close", failureInterval); ok {
			n.server.opts.Logger.Warn("adapter did not close", "namespace", n.name, "error", err, "notLogged", held)
		}
	}
	n.serverSide.close()
}

// release gives back a reference; the last one removes an empty dynamic namespace if that is wanted.
func (n *Namespace) release() {
	if n.refs.Add(-1) == 0 && n.parent != nil && n.server.opts.CleanupEmptyChildNamespaces && n.server.discard(n) {
		n.server.spawn(n.closeAdapter) // it may wait for what has released the namespace
	}
}

// Name returns the namespace's name, with its leading slash.
func (n *Namespace) Name() string { return n.name }

// Parent returns the parent of a dynamic namespace, nil of any other.
func (n *Namespace) Parent() *ParentNamespace { return n.parent }

// Server returns the server that the namespace is of.
func (n *Namespace) Server() *Server { return n.server }

// SetHandlerConcurrency says how many events of one socket may be handled at the same time, see
// Options.HandlerConcurrency. It takes effect for sockets that become busy afterwards. Values below 1 restore the default.
func (n *Namespace) SetHandlerConcurrency(limit int) { n.limit.Store(int32(min(max(limit, 0), 1<<20))) }

func (n *Namespace) concurrency() int {
	if c := n.limit.Load(); c > 0 {
		return int(c)
	}
	return n.server.opts.HandlerConcurrency
}

// nextAckID returns the next acknowledgement id: from one counter per namespace, starting at 0, as in the reference.
func (n *Namespace) nextAckID() int64 { return n.ackIDs.Add(1) - 1 }

// packet makes an event packet: a value, which need not leave the sender's stack.
func (n *Namespace) packet(event string, args []any) (parser.Packet, error) {
	payload, err := eventPayload(event, args)
	if err != nil {
		return parser.Packet{}, err
	}
	return parser.Packet{Type: parser.Event, Namespace: n.name, ID: parser.NoID, Payload: payload}, nil
}

func eventPayload(event string, args []any) (parser.Payload, error) {
	payload, err := adapter.EventPayload(event, spread(args)...)
	return payload, failed("emit", err)
}

func (n *Namespace) operator() BroadcastOperator { return BroadcastOperator{nsp: n} }

// Emit sends an event to all its sockets. See BroadcastOperator.Emit.
func (n *Namespace) Emit(event string, args ...any) error { return n.operator().Emit(event, args...) }

// To selects the sockets that are in at least one of the rooms.
func (n *Namespace) To(rooms ...string) BroadcastOperator { return n.operator().To(rooms...) }

// In is To.
func (n *Namespace) In(rooms ...string) BroadcastOperator { return n.operator().To(rooms...) }

// Except leaves out the sockets that are in at least one of the rooms.
func (n *Namespace) Except(rooms ...string) BroadcastOperator { return n.operator().Except(rooms...) }

// Local limits the operation to this node.
func (n *Namespace) Local() BroadcastOperator { return n.operator().Local() }

// Volatile lets each socket that is not ready for more miss the packet.
func (n *Namespace) Volatile() BroadcastOperator { return n.operator().Volatile() }

// Compress says whether the packet may be compressed; the default is that it may.
func (n *Namespace) Compress(on bool) BroadcastOperator { return n.operator().Compress(on) }

// WithContext says in which context events are emitted, for Hooks.Begin.
func (n *Namespace) WithContext(ctx context.Context) BroadcastOperator {
	return n.operator().WithContext(ctx)
}

// FetchSockets describes all its sockets. See BroadcastOperator.FetchSockets.
func (n *Namespace) FetchSockets(ctx context.Context) (Result[*RemoteSocket], error) {
	return n.operator().FetchSockets(ctx)
}

// IDs names all its sockets, in no order. See BroadcastOperator.IDs.
func (n *Namespace) IDs(ctx context.Context) (Result[string], error) { return n.operator().IDs(ctx) }

// Count counts all its sockets. See BroadcastOperator.Count.
func (n *Namespace) Count(ctx context.Context) (Count, error) { return n.operator().Count(ctx) }

// LocalIDs names all its sockets on this node, in no order.
func (n *Namespace) LocalIDs() []string { return n.operator().LocalIDs() }

// LocalCount counts all its sockets on this node.
func (n *Namespace) LocalCount() int { return n.operator().LocalCount() }

// SocketsJoin makes all its sockets join rooms.
func (n *Namespace) SocketsJoin(rooms ...string) error { return n.operator().SocketsJoin(rooms...) }

// SocketsLeave makes all its sockets leave rooms.
func (n *Namespace) SocketsLeave(rooms ...string) error { return n.operator().SocketsLeave(rooms...) }

// DisconnectSockets disconnects all its sockets from the namespace; their connections stay open.
func (n *Namespace) DisconnectSockets() error { return n.operator().DisconnectSockets() }

// DisconnectClients disconnects the clients of all its sockets from all namespaces and closes their connections.
func (n *Namespace) DisconnectClients() error { return n.operator().DisconnectClients() }

// Sockets returns the connected sockets of this node.
func (n *Namespace) Sockets() []*Socket {
	var all []*Socket
	n.server.selector.Select(n.index, nil, nil, func(members []member) {
		all = make([]*Socket, len(members))
		for i, m := range members {
			all[i] = m.Socket
		}
	})
	return all
}

// Socket finds a connected socket of this node by its id.
func (n *Namespace) Socket(id string) (*Socket, bool) {
	m, ok := n.index.Lookup(id)
	return m.Socket, ok
}

// Rooms lists the rooms of the whole cluster. Every socket's id is one.
func (n *Namespace) Rooms(ctx context.Context) (Result[string], error) {
	ctx, end := n.server.begin(ctx, n.asking("list rooms"))
	result, err := n.cluster().Rooms(ctx)
	end(err)
	return result, failed("list rooms", err)
}

// LocalRooms lists the rooms that sockets of this node are in, in no order. Every socket's id is one.
func (n *Namespace) LocalRooms() []string { return n.index.AllRooms() }

// ServerCount returns the number of nodes that serve the namespace.
func (n *Namespace) ServerCount(ctx context.Context) (int, error) {
	ctx, end := n.server.begin(ctx, n.asking("count servers"))
	count, err := n.cluster().ServerCount(ctx)
	end(err)
	return count, failed("count servers", err)
}
