// Package adapter is the contract between a server and its cluster.
//
// A [Builder] makes a server a node of a [Cluster], which makes an [Adapter] for each namespace. An Adapter does something on
// every node: broadcast, join, disconnect, fetch sockets. A [Local] is what an adapter may ask of its own node; the namespace
// implements it. [Memory] is the cluster of a server that is alone. [Join] makes the clusters of several nodes: a message broker
// only has to provide a [Broker], which carries messages between the nodes. Brokers live in their own packages and prove
// themselves with package adaptertest.
//
// An adapter knows packets and selections, never connections. One Adapter serves one namespace of one node.
//
// # How a cluster works
//
// Nodes know each other, see package membership: who they are, which namespaces they serve, and which of them are silent. Nodes
// of other implementations, and whatever else listens to the broker, are foreign: they are counted, by what the broker counts
// beyond the members, and have no names.
//
// A broadcast, a join or a disconnect is one message to all nodes; this node does its part at once and waits for nothing. When it
// is known which node the sockets are on ([Flags.Node]), the message goes to that node's inbox, and no other node hears it, unless
// the order demands it.
//
// A question is a message with an id that every node answers. It waits for the members that serve the namespace, by name, and
// for as many foreign nodes as there are. Package internal/question says when it is over. A question that is still open after 250
// ms, and from then on every 500 ms, asks the broker whether those it waits for still exist:
//
//   - a node that was killed does not exist any more: the question does not wait for it;
//   - what listens without being a node, such as a monitoring tool, is recognised, and later questions begin with a list of
//     the nodes;
//   - the question waits for a second for a node that may have come after it;
//   - no further question waits for a node that exists but was silent for a whole question of a second or more, until that node says
//     something. Results name it as missing. Foreign nodes are only counted in this, too.
//
// When the bus was cut off from the broker while a question was open, it ends with ErrClusterUnavailable. The next one waits a
// moment for the other nodes, which have to subscribe again too.
//
// For a broadcast with acknowledgements each node says how many sockets it has, and then what comes of each. It waits for
// them a little shorter than the node that asked, so that it can still name those that were silent.
//
// # Order
//
// What one node sends in one namespace is handled by another node in the order in which it was sent, whatever it is: a
// broadcast, a command (join, leave, disconnect), a server-side event, a question. "Handled" of a server-side event means that its
// handlers have returned; what was sent after it waits for them for 100 ms at most. Answers have no place in the order.
//
// Where messages to all nodes, to the members of a room and to one node take several ways (a bus that is [Parted]), the sender
// numbers them, and the receiver has a message wait for those before it, for 100 ms at most:
//
//	sent first             sent second            one way       several ways
//	to all nodes           to all nodes           in order      in order
//	to all nodes           to a room or a node    in order      in order
//	to a room or a node    to all nodes           in order      unordered
//	to one room            to the same room       in order      in order
//	to one node            to the same node       in order      in order
//	to a room              to another, or a node  in order      as they arrive
//
// The third line is unordered because a message to all would have to carry a number for each room and node; who needs that order
// sends both to all nodes or both to one. Joins and leaves go to all nodes there, also if it is known which node the sockets are
// on: what comes next is often for the room that was joined. A message that was lost costs those behind it 100 ms, once. [OrderStats] count both.
// With the adapters of this module:
//
//	one way       NATS; pub/sub; sharded pub/sub on one Redis, and on a Redis Cluster if a hash tag binds the channels together
//	several ways  sharded pub/sub on a Redis Cluster; streams, where everything that is to reach all nodes counts as "to all nodes"
//
// Emitters and nodes of other implementations do not number what they send: of theirs, what takes one way is in order.
//
// # Clients that come back
//
// A [Historian] keeps what was broadcast, see [History]. Over a broker that is the bus's [Log]: what is broadcast goes into it, and is delivered
// on all nodes at its place there, so that an offset of the log says of a client what it has got. A client that comes back to a node brings its
// last offset, and gets what stands behind it for its rooms:
//
//  1. The node waits until what it has itself delivered early, because the log was slow, is in the log.
//  2. It remembers the last broadcasts of the namespace, up to 16 MiB with their index: its own, those of others, and those for rooms in which
//     nobody here is. They are decoded and found by their rooms when somebody first asks, so that what nobody asks for costs no more than its
//     bytes. If the offset is one of them, or the place where the node stood before the first, they answer, and the log is not read.
//  3. Else the log is read, for all together that wait.
//
// There is no hole in what a node remembers: it forgets everything when the log has a break ([Log].Breaks), which is a loss of its own, or an entry by
// which another node says that something was delivered that is not in the log. Whose offset is older is answered by the log then, which has a gap.
//
// # Where do I change X
//
//   - contract of adapters: adapter.go; of clusters and brokers, joining one: cluster.go; messages and what a bus does: bus.go; a
//     server alone: memory.go
//   - what a message does to this node, and the methods that ask nothing: clustered.go
//   - how this node asks and waits: asking.go; questions that are open: open.go; when one is over: internal/question
//   - what is known of foreign nodes: foreign.go; who the members are: package membership
//   - order among messages, their numbers: order.go
//   - what clients have missed: history.go; over a broker clusterhistory.go; what was delivered before it was in the log: early.go; what a node
//     remembers of the log: recentlog.go; how that is found by rooms, also on a server alone: recentevents.go; reading the log: missedreads.go
//   - what is said to one node alone: Flags.Node, Only and Direction in adapter.go; Director, Redirector
//   - acknowledgements that this node waits for: acks.go; that it owes to others: answers.go
//
// # Goroutines
//
// A question runs on the goroutine of its call; answers are counted on the goroutine on which the bus calls receive. A namespace
// has one until its bus listens, which then tells the other nodes. Each broadcast whose acknowledgements are owed to
// another node has a timer. A sender whose messages wait for their turn has a goroutine while they do. Close ends all of them
// and awaits all but the last, which may be what closes the adapter.
//
// # Lock order
//
// The locks of questions, answers, ackAnswer, localAcks, foreign and order are leaves; openQuestion.mu is held while an AckSink is
// called, and joined.mu while the membership is told what is served. recentIndex.mu comes before recentEvents.mu, which is held while a [Log] is
// asked for Read, Breaks and Compare; those take locks of the bus that are held across no call of receive. No call of the local node is made with one of them held, and of the bus only Publish and Send, which do not
// block, under numbers.mu.
package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// ErrClosed is returned by every method of an Adapter after Close.
var ErrClosed = errors.New("adapter is closed")

// ErrTooLarge says that the broker does not take a message because of its size, which trying again does not change.
var ErrTooLarge = errors.New("message is too large for the broker")

// ErrClusterUnavailable says that the other nodes could not be reached. What could be done on this node has been done.
var ErrClusterUnavailable = errors.New("cluster is unavailable")

// ErrQueueFull says that a message for the other nodes was refused, because too many wait for a broker that is away or slow. It
// is an ErrClusterUnavailable, too.
var ErrQueueFull = fmt.Errorf("%w: the queue of messages for the other nodes is full", ErrClusterUnavailable)

// ErrNodeUnreachable says that a node that alone is meant is no member that serves the namespace, or is not heard at the moment.
var ErrNodeUnreachable = errors.New("node cannot be reached")

// Selection says which sockets of a namespace are meant: those in at least one of Rooms (every connected socket when
// Rooms is empty) that are in none of Except, each once. A socket's id names its own room, so an id can stand in both.
// Sockets that have not finished connecting are never selected. An adapter must not change or keep the slices.
type Selection struct {
	Rooms  []string
	Except []string
}

// Flags modify one operation. The zero value is the normal case.
type Flags struct {
	// Volatile packets are dropped for each recipient that is not writable at that moment.
	Volatile bool
	// NoCompress sends the packet uncompressed.
	NoCompress bool
	// Local limits the operation to this node.
	Local bool
	// Only limits the operation to Node: it fails with ErrNodeUnreachable if that is no live member that serves the namespace.
	Only bool
	// Foreign limits a broadcast to the nodes that do not know this mark: those of other implementations and former versions.
	Foreign bool
	// Node is the node that the selected sockets are on, as SocketDetails tells it; "" if that is not known. If it can be
	// reached by itself, and unless the order demands more, no other node hears of the operation.
	Node NodeID
	// Direction belongs to a broadcast; nil without any.
	Direction *Direction
	// Timeout is how long other nodes are told to wait; 0 leaves it to the context and to the adapter.
	Timeout time.Duration
	// Offset is where a history has the packet that Local.Deliver gets, "" if it has not. It is not sent.
	Offset string `json:"-"`
	// Place tells the offset of a packet that Local.Deliver gets without one, because the history does not have it yet; nil if it will not
	// have it. It is not sent.
	Place *Place `json:"-"`
}

// Place is where a history has something, once that is known. All methods may be called concurrently; the zero value is a place that is
// not known.
type Place struct{ offset atomic.Pointer[string] }

// Offset returns the offset, "" while it is not known.
func (p *Place) Offset() string {
	if p != nil {
		if offset := p.offset.Load(); offset != nil {
			return *offset
		}
	}
	return ""
}

// Set makes the offset known.
func (p *Place) Set(offset string) { p.offset.Store(&offset) }

// Direction is what a broadcast says beside the packet.
type Direction struct {
	// Holders are the nodes whose sockets are meant, as far as the sender knows; a node that gets it hands it to its Redirector.
	// Empty: it has none.
	Holders []NodeID
	// Receipt belongs to a broadcast to one node: it is told what the broker says, as Message.Sent; nil if nobody wants to know. It is not sent.
	Receipt func(Receipt) `json:"-"`
}

// Result is the outcome of a question to the whole cluster: what arrived, and who did not answer.
type Result[T any] struct {
	// Values holds the answers that arrived, in no particular order.
	Values []T
	// Missing names the nodes that did not answer, as far as they are known by name.
	Missing []NodeID
	// Unanswered counts all nodes that did not answer, named or not. Beside ErrClusterUnavailable it is 1 at least: whether there are
	// others is not known then.
	Unanswered int
}

// Complete reports whether every node answered.
func (r *Result[T]) Complete() bool { return r.Unanswered == 0 }

// SocketDetails describes a socket to other nodes, in the shape that Node's fetchSockets uses on the wire.
type SocketDetails struct {
	ID        string          `json:"id"`
	Handshake json.RawMessage `json:"handshake"`
	Rooms     []string        `json:"rooms"`
	Data      json.RawMessage `json:"data"`
	// Node is the node that the socket is on; "" when that cannot be named.
	Node NodeID `json:"-"`
}

// AckSink receives the acknowledgements of one broadcast. Calls may come from several goroutines at once, but none
// comes after BroadcastWithAck has returned. Implementations must not block.
type AckSink interface {
	// Expected adds n to the number of sockets that received the packet. It is called once per node that reported.
	Expected(n int)
	// Ack brings the first argument of a socket's acknowledgement. The socket id is "" when the node does not tell it.
	Ack(node NodeID, sid string, value parser.Payload)
	// Gone says that a socket disconnected before it acknowledged, or did not acknowledge until ctx was done.
	Gone(node NodeID, sid string)
}

// AckSummary tells which nodes did not take part in a broadcast with acknowledgements to the end: they never reported
// how many sockets they have, or fewer sockets answered than they had reported.
type AckSummary struct {
	Missing    []NodeID
	Unanswered int
}

// Adapter acts on all nodes of the cluster for one namespace. All methods may be called concurrently, and none is
// called while the caller holds a lock. After Close every method returns ErrClosed and does nothing.
//
// Packets published by one goroutine reach each socket in the order of the calls, on every node.
type Adapter interface {
	// Broadcast delivers a packet to the selected sockets of every node. It never blocks; this node's sockets have been
	// served when it returns, also when it returns ErrClusterUnavailable.
	Broadcast(p *parser.Packet, sel Selection, flags Flags) error

	// BroadcastWithAck delivers a packet and feeds acks until every selected socket has acknowledged or gone, or until
	// ctx is done, in which case it returns the context's error. The packet's ID is chosen by each node.
	BroadcastWithAck(ctx context.Context, p *parser.Packet, sel Selection, flags Flags, acks AckSink) (AckSummary, error)

	// FetchSockets describes the selected sockets. Partial results come with a nil error unless ctx was done; the
	// Result says who is missing.
	FetchSockets(ctx context.Context, sel Selection, flags Flags) (Result[SocketDetails], error)

	// SocketsJoin makes the selected sockets join rooms, SocketsLeave makes them leave. On this node it takes effect
	// before the call returns unless the adapter's documentation says otherwise.
	SocketsJoin(sel Selection, flags Flags, rooms []string) error
	SocketsLeave(sel Selection, flags Flags, rooms []string) error

	// DisconnectSockets disconnects the selected sockets from the namespace, or with closeConn their whole connection.
	DisconnectSockets(sel Selection, flags Flags, closeConn bool) error

	// ServerSideEmit sends ["event", ...args] to the other nodes, never to this one.
	ServerSideEmit(args parser.Payload) error

	// ServerSideEmitWithAck does the same and gathers one answer from each other node.
	ServerSideEmitWithAck(ctx context.Context, args parser.Payload) (Result[parser.Payload], error)

	// Rooms lists the rooms of all nodes without duplicates, own rooms of sockets included.
	Rooms(ctx context.Context) (Result[string], error)

	// ServerCount returns the number of nodes that serve this namespace, this one included.
	ServerCount(ctx context.Context) (int, error)

	// Close leaves the cluster and ends pending calls with ErrClosed. It is idempotent. Sockets of this node are not
	// touched.
	Close() error
}

// RoomObserver is implemented by adapters that want to know which rooms exist on this node. Calls come one at a time, in
// the order of the changes, without any lock held; they must not block.
type RoomObserver interface {
	RoomCreated(room string) // the first local socket joined
	RoomDeleted(room string) // the last local socket left
}

// JoinWaiter is implemented by adapters in which a join takes effect in the cluster later than on this node.
// WaitJoined returns when broadcasts from other nodes to the rooms arrive here, or ErrClusterUnavailable when ctx ends
// first, and without delay while the cluster is known to be unavailable; the join stays in any case, and takes effect in the
// cluster as soon as it can.
type JoinWaiter interface {
	WaitJoined(ctx context.Context, rooms []string) error
}

// Lister is implemented by adapters that name and count sockets without having them described, for which FetchSockets is asked
// otherwise. Results are as partial as those of FetchSockets.
type Lister interface {
	// SocketIDs names the selected sockets.
	SocketIDs(ctx context.Context, sel Selection, flags Flags) (Result[string], error)

	// CountSockets says how many sockets are selected: a number for each node that has answered.
	CountSockets(ctx context.Context, sel Selection, flags Flags) (Result[int], error)
}

// Director is implemented by adapters that reach a node by itself: their methods respect Flags.Only, Foreign and Direction.
type Director interface {
	// ServerSideEmitTo sends ["event", ...args] to one other node, which alone hears it.
	ServerSideEmitTo(node NodeID, args parser.Payload) error

	// ServerSideEmitWithAckTo does the same and waits for the answer; the result has it, or says that it is missing.
	ServerSideEmitWithAckTo(ctx context.Context, node NodeID, args parser.Payload) (Result[parser.Payload], error)
}

// Redirector is implemented by a Local that looks at broadcasts that say for whom they are meant. Redirect is called with each of
// another node that has a Direction, after it was delivered. It must not block, and may keep m.
type Redirector interface {
	Redirect(m *Message)
}

// Local is what an adapter may ask of this node: the sockets of one namespace. All methods may be called concurrently.
// None blocks on a client.
type Local interface {
	// Name returns the namespace's name, such as "/" or "/chat".
	Name() string

	// Deliver sends a packet to the selected local sockets and ignores flags.Local. It never blocks. Packets delivered by
	// one goroutine keep their order, and two broadcasts to one room arrive in the same order at all its sockets.
	Deliver(p *parser.Packet, sel Selection, flags Flags)

	// DeliverWithAck is Deliver with an acknowledgement from each socket. For each of the count sockets either onAck
	// or onGone is called once, possibly before DeliverWithAck returns and possibly concurrently; they must not block.
	// cancel ends the wait, after which no further call starts, and returns the ids of the sockets that have neither
	// answered nor gone.
	DeliverWithAck(p *parser.Packet, sel Selection, flags Flags, onAck func(sid string, value parser.Payload),
		onGone func(sid string)) (count int, cancel func() (silent []string))

	// HasRoom reports whether some local socket is in the room or owns it.
	HasRoom(room string) bool

	// FetchSockets describes the selected local sockets.
	FetchSockets(sel Selection) []SocketDetails

	// SocketIDs names the selected local sockets, CountSockets counts them.
	SocketIDs(sel Selection) []string
	CountSockets(sel Selection) int

	// Rooms lists the local rooms, own rooms included.
	Rooms() []string

	// SocketsJoin, SocketsLeave and DisconnectSockets act on the selected local sockets.
	SocketsJoin(sel Selection, rooms []string)
	SocketsLeave(sel Selection, rooms []string)
	DisconnectSockets(sel Selection, closeConn bool)

	// OnServerSideEmit hands ["event", ...args] from another node to the handlers of this one, in order, without
	// waiting for them. reply is nil when no answer is wanted; otherwise it is called at most once, from another
	// goroutine. handled is closed when the handlers have returned; nil if there is nothing to wait for.
	OnServerSideEmit(args parser.Payload, reply func(parser.Payload)) (handled <-chan struct{})
}
