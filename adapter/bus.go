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
	KindFetch            // describe the selected sockets: KindSockets
	KindServerSide       // hand Payload to the handlers of server-side events; as a question: KindServerReply
	KindListRooms        // list the rooms: KindRooms
	KindSockets          // Sockets answers KindFetch
	KindServerReply      // Payload answers KindServerSide
	KindRooms            // Rooms answers KindListRooms
	KindCount            // Count sockets have received the packet; SocketIDs names them if the sender could
	KindAck              // Payload is the first argument of the acknowledgement of SocketID ("" if not told)
	KindGone             // SocketID went away or did not acknowledge in time; Node neither sends nor understands it
)

// Message is what the nodes of a cluster say to each other, in one namespace. Which fields count depends on Kind. A
// message is read-only once it is handed over.
type Message struct {
	Kind Kind
	// From is the node that sent it; "" when the wire form does not say. A Bus fills it in.
	From NodeID
	// Request pairs questions and answers; "" is a message that wants no answer.
	Request   string
	Selection Selection
	Flags     Flags
	Packet    *parser.Packet
	Rooms     []string
	Close     bool
	Payload   parser.Payload
	Sockets   []SocketDetails
	Count     int
	SocketID  string
	SocketIDs []string
}

// Bus moves messages between the nodes of a cluster for one namespace of one node. NewClustered makes an Adapter of it.
// All methods may be called concurrently.
type Bus interface {
	// Start begins to hand what other nodes say to receive: one call at a time, each sender's messages in the order in
	// which they were sent, never a message of this node. receive does not block. Start is called once, before every
	// other method, and does not block.
	Start(receive func(m *Message)) error

	// Publish sends a message or a question to all other nodes and never blocks. Messages published by one goroutine
	// arrive in order. It returns ErrClusterUnavailable when the message cannot have been sent.
	Publish(m *Message) error

	// Respond sends an answer to the node that asked question. It never blocks; an answer that cannot be sent is lost.
	Respond(question, answer *Message)

	// Count returns the number of nodes as the broker counts them, this one included. It may be too high while something
	// that is no node listens too. It returns ErrClusterUnavailable without delay while the broker is known not to answer.
	Count(ctx context.Context) (int, error)

	// Nodes names the nodes that listen at this moment, this one included. It may cost the broker more than Count.
	Nodes(ctx context.Context) ([]NodeID, error)

	// ID returns this node's name in this namespace.
	ID() NodeID

	// Close stops receiving and forgets what was not sent. receive is not called any more once it has returned.
	Close() error
}
