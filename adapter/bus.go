package adapter

import (
	"context"

	"github.com/sockeye-io/sockeye/server/parser"
)

// Kind says what a Message asks for or answers.
type Kind uint8

// The kinds of messages between nodes. Those marked with an answer are questions when Message.Request is set.
const (
	_               Kind = iota
	KindBroadcast        // deliver Packet to the selected sockets; as a question: KindCount, then KindAck and KindGone
	KindJoin             // make the selected sockets join Rooms
	KindLeave            // make them leave Rooms
	KindDisconnect       // disconnect them, with Close their whole connection
	KindFetch            // describe the selected sockets, or what Want says of them: KindSockets
	KindServerSide       // hand Payload to the handlers of server-side events; as a question: KindServerReply
	KindListRooms        // list the rooms: KindRooms
	KindSockets          // Sockets, SocketIDs or Count answers KindFetch, as Want says; Node and former versions always send Sockets
	KindServerReply      // Payload answers KindServerSide
	KindRooms            // Rooms answers KindListRooms
	KindCount            // Count sockets have received the packet; comes before the KindAck and KindGone of its sender
	KindAck              // Payload is the first argument of the acknowledgement of SocketID ("" if not told)
	KindGone             // SocketIDs went away or did not acknowledge in time; Node neither sends nor understands it
)

// Want is what a question for sockets wants to know of them, as it is written on the wire. Node does not know it and tells all.
type Want string

// What a question may want to know.
const (
	WantAll   Want = ""      // their descriptions
	WantIDs   Want = "ids"   // their ids
	WantCount Want = "count" // how many there are
)

// Message is what the nodes of a cluster say to each other, in one namespace. Which fields count depends on Kind. A
// message is read-only once it is handed over.
type Message struct {
	Kind  Kind
	Close bool
	// From is the node that sent it; "" when the wire form does not say. A Bus fills it in.
	From NodeID
	// Request pairs questions and answers; "" is a message that wants no answer.
	Request   string
	Selection Selection
	Flags     Flags
	Want      Want
	Packet    *parser.Packet
	Rooms     []string
	Payload   parser.Payload
	Sockets   []SocketDetails
	Count     int
	SocketID  string
	SocketIDs []string
	// Seq numbers the messages of a sender that every node of the namespace hears, After is the last such number before a message
	// that not every node hears, Directed numbers what a sender sends to one node alone. 0 is none; see Parted.
	Seq, After, Directed uint64
	// Offset is the place in the bus's log of a message that is handed to receive; "" if it is not in it. It is not sent.
	Offset string `json:"-"`
	// Unopened is the rest of a broadcast in the bus's log of which only From, Seq and Offset are handed to receive, because this node has
	// sent it or nobody here is to get it; nil if there is nothing to know. It is not sent.
	Unopened *Unopened `json:"-"`
	// Sent is called at most once and from any goroutine if Publish or Send returns nil: when the broker has answered, or when
	// it is known that it will not. It does not block. nil if nobody wants to know.
	Sent func(Receipt) `json:"-"`

	numbered func(seq uint64) // told of Seq before the message is published, and of 0 if it was not; nil if nobody wants to know
}

// Unopened is a broadcast that has not been decoded.
type Unopened struct {
	Size int // in bytes, about
	// Open decodes it, and returns nil or an error if it is none. It is called at most once, from any goroutine.
	Open func() (*Message, error)
}

// isAnswer reports whether a message answers a question.
func (k Kind) isAnswer() bool { return k >= KindSockets }

// Receipt is what the broker says of a message.
type Receipt struct {
	// Err says why the broker may not have got the message; nil if it has.
	Err error
	// Receivers is the number of listeners to which the broker has handed it, this node and what is no node included; -1 if
	// the broker does not say.
	Receivers int
	// Offset is the message's place in the broker's log; "" if it keeps none.
	Offset string
	// Past says that the message was sent, but is not in the log and never will be.
	Past bool
}

// Bus moves messages between the nodes of a cluster for one namespace of one node. A Cluster makes an Adapter of it.
// All methods may be called concurrently.
type Bus interface {
	// Start begins to hand what other nodes say to receive: one call at a time, each sender's messages in the order in
	// which they were sent, never a message of this node. receive does not block, and its messages may be kept. Start is
	// called once, before every other method, and does not block; receive runs on goroutines of the Bus.
	Start(receive func(m *Message)) error

	// Listening returns nil when messages are heard and this node is counted, which takes a moment after Start and as long as
	// the broker is away; the error of ctx when that ends first.
	Listening(ctx context.Context) error

	// Publish sends a message or a question to all other nodes and never blocks. Messages published by one goroutine
	// arrive in order. It returns ErrClusterUnavailable, or ErrQueueFull, when the message will not be sent; one that waits for a broker
	// that is away is sent later, or its receipt has an error. Volatile messages and questions do not wait. It neither changes nor keeps
	// m and the slices in it, which belong to the application; it may keep Sent.
	Publish(m *Message) error

	// Send sends a message or a question to one node that serves the namespace, into its inbox, where nobody else hears it. It
	// is like Publish in all else. What is published and what is sent arrives in order unless the bus is Parted.
	Send(to NodeID, m *Message) error

	// Respond sends an answer to the node that asked question, whose Packet may be nil by then. It never blocks, nor does
	// it call receive; an answer that cannot be sent is lost.
	Respond(question, answer *Message)

	// Count returns the number of nodes as the broker counts them, this one included. It may be too high while something
	// that is no node listens too. It returns ErrClusterUnavailable without delay while the broker is known not to answer, and
	// errors.ErrUnsupported if the broker does not count: the members are all there is then.
	Count(ctx context.Context) (int, error)

	// Nodes names the nodes that listen at this moment, this one included, by the names that Message.From has. It may cost
	// the broker more than Count, and fails like it.
	Nodes(ctx context.Context) ([]NodeID, error)

	// Close stops receiving and forgets what was not sent. No call of receive begins once it has returned. It does not wait
	// for one that is running, because the end of a namespace's last socket may close the adapter from there. It is called
	// once.
	Close() error
}

// RoomExpecter is implemented by the Local that a Broker makes a Bus for. A Bus that drops messages for rooms that nobody on this
// node is in asks it, and not HasRoom.
type RoomExpecter interface {
	// ExpectsRoom is HasRoom, but also true while messages that were handed on wait for their turn, or handlers of a server-side
	// event run: both may bring somebody into the room before it is the next message's turn.
	ExpectsRoom(room string) bool
}

// MemberCounter is implemented by the Local that a Broker makes a Bus for.
type MemberCounter interface {
	// Members counts the other nodes of this kind that serve the namespace, as far as they are known, silent ones included.
	Members() int
}

// LossCounter is implemented by a Bus that knows when messages for this node may have been lost, because it was cut off
// from the broker. A question that was open then ends with ErrClusterUnavailable within half a second, instead of waiting
// for answers that may never come.
type LossCounter interface {
	// Losses counts how often that has happened. It may be called concurrently and does not block.
	Losses() uint64
}

// Sequencer is implemented by a Bus that has a log of what is published, in one order for all nodes.
type Sequencer interface {
	// InOrder has receive also get what this node publishes, and what is in the log with its Offset and in the log's order. It is called
	// at most once, before the first Publish. Message.Seq tells the node's own messages apart, of which nothing else need be there.
	InOrder()
}

// Recorder is a Sequencer whose log can be read again.
type Recorder interface {
	Sequencer
	// Record returns the log, and the storage of sessions beside it. It is called at most once, before InOrder and before the first
	// Publish. The error says why nothing can be recorded, errors.ErrUnsupported among others.
	Record(opts HistoryOptions) (Log, SessionStore, error)
}

// LogBreaker is implemented by a Log that can be told that it is not complete.
type LogBreaker interface {
	Log
	// Break has After return ErrHistoryGap for every offset up to the end that the log has now, on all nodes: something was delivered that
	// is not, or may not be, in it. It does not block; until the log has taken it, After does so for every offset on this node.
	Break()
}

// ExclusiveLog is a LogBreaker that nodes of other implementations do not write to. While there are some nobody goes on.
type ExclusiveLog interface {
	LogBreaker
	Exclusive()
}

// Log is what a Recorder has. All methods may be called concurrently.
type Log interface {
	// Read returns the offset of the last message with which receive has been called, or of a later one that is not for it; "" while
	// the place from which the node reads is not known. It does not block.
	Read() string

	// Ready returns when what was handed to receive, and what After reads, can be what clients go on with: not while the broker is away,
	// or has been a moment ago. It returns ErrHistoryGap while the log is known not to be complete, see LogBreaker.
	Ready(ctx context.Context) error

	// Breaks changes whenever ErrHistoryGap is what becomes of offsets before, at once if this node has noticed, and when it comes to where
	// another node has put that into the log: before receive is called with what comes behind.
	Breaks() uint64

	// After calls each with the broadcasts of the namespace after an offset, the oldest first, until it returns false, and returns the
	// offset of the last message that it has looked at. It returns ErrHistoryGap if some are not there any more, and what Ready does.
	After(ctx context.Context, offset string, each func(m *Message) bool) (end string, err error)

	// Compare tells which of two offsets comes first, like strings.Compare. What is no offset comes before all.
	Compare(a, b string) int
}

// Parted is implemented by a Bus whose messages to all nodes, to the members of a room and to one node can overtake each other.
// Their order is then kept by numbers, see the package's documentation.
type Parted interface {
	// Parted reports whether they can with the broker in use. It is constant.
	Parted() bool
	// ToAll reports whether Publish brings a message to every node of the namespace.
	ToAll(m *Message) bool
}
