package classic

import (
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Encoding writes and reads what Node's adapter leaves to its option parser: broadcasts, broadcasts that ask for
// acknowledgements, and acknowledgements. Everything else that is written is JSON, whatever the encoding. All nodes and
// emitters of a cluster have the same. Its methods are pure functions and may be called concurrently.
//
// Two things must hold for its frames, so that they can be judged unread:
//
//   - uids and the ids of questions, which begin with one, stand in them as they are, byte for byte, unless there are no marks;
//   - what begins with { is a request or an answer in JSON, which the codec reads itself. Node does the same.
type Encoding interface {
	// EncodeBroadcast writes the array [uid, packet, opts].
	EncodeBroadcast(f BroadcastFrame) ([]byte, error)
	DecodeBroadcast(body []byte) (BroadcastFrame, error)

	// EncodeQuestion writes the map {uid, requestId, type, packet, opts, sids} of a broadcast that asks for
	// acknowledgements, with the uid first.
	EncodeQuestion(f RequestFrame) ([]byte, error)
	// DecodeRequest reads a request of any type: old nodes encode more of them. What it makes of values of odd kinds is told
	// by package lenient.
	DecodeRequest(body []byte) (RequestFrame, error)

	// EncodeAck writes the map {type, requestId, packet, sid, seq, after, directed, uid} of an acknowledgement, with the uid
	// last, and without those that are empty. A Value without JSON is undefined and is left out too.
	EncodeAck(f AnswerFrame) ([]byte, error)
	// DecodeAnswer reads an answer of any type.
	DecodeAnswer(body []byte) (AnswerFrame, error)

	// Marks returns by what the frames of a node are recognised unread, nothing if they cannot be.
	Marks(uid string) Marks
	// Shape tells by the first 16 bytes of a frame what it is, or by the whole frame if there are no marks. One that nobody writes may be
	// taken for anything.
	Shape(body string) Shape
	// Name is what people call it.
	Name() string
}

// Marks are what all frames of one node, and of no other, begin or end with. None is empty, or all are.
type Marks struct {
	Broadcast string // a broadcast begins with it
	Question  string // a broadcast that asks for acknowledgements begins with it
	Ack       string // an acknowledgement ends with it
}

// Shape is what a frame is, whatever channel it comes on.
type Shape uint8

// The shapes of frames.
const (
	ShapeAnswer    Shape = iota // DecodeAnswer reads it
	ShapeRequest                // DecodeRequest reads it
	ShapeBroadcast              // DecodeBroadcast reads it
)

// BroadcastFrame is a broadcast on the wire.
type BroadcastFrame struct {
	UID     string
	Packet  Packet
	Options Options
}

// RequestFrame is a question or a command on the wire. One that is read says who has sent it even beside an error, if that is known.
type RequestFrame struct {
	UID        string
	RequestID  string
	OddID      bool // RequestID is the JSON of an id that is no text, "" of none
	Type       int  // -1 when there is none
	HasOptions bool
	Options    Options
	Rooms      parser.Payload // what they are depends on the type
	SID, Room  string         // in commands of old nodes
	Close      bool
	SIDs       bool // the node that asks is one of ours
	Only       adapter.Want
	Packet     Packet
	Data       parser.Payload
}

// AnswerFrame is an answer on the wire.
type AnswerFrame struct {
	Type       int // -1 when there is none
	RequestID  string
	OddID      bool // as in RequestFrame; only written
	UID        string
	Sockets    []adapter.SocketDetails
	HasSockets bool
	Rooms      []string
	HasRooms   bool
	Value      parser.Payload // data or packet
	Count      int
	HasCount   bool
	SID        string
	SIDs       []string
	Numbers
}

// Packet is the packet of a broadcast on the wire. One that is written is an event without an id.
type Packet struct {
	Type      parser.Type
	Namespace string // "" when there is none
	ID        int64  // parser.NoID when there is none
	Data      parser.Payload
}

// Options are the opts of a broadcast or a request: which sockets are meant, how, and where the message stands among those of
// its sender. Flags that are not set and numbers that are 0 must be absent: Node tells undefined from false.
type Options struct {
	Rooms, Except []string
	BothForms     bool // what is a whole number is written as a text and as a number, see lenient.BothForms; not read
	Flags         adapter.Flags
	Numbers
}

// Numbers are those of an adapter.Message. Node ignores them.
type Numbers struct {
	Seq      uint64 `json:"seq,omitempty"`
	After    uint64 `json:"after,omitempty"`
	Directed uint64 `json:"directed,omitempty"`
}

func numbersOf(m *adapter.Message) Numbers { return Numbers{m.Seq, m.After, m.Directed} }

// maxNumber is the highest number that every encoding can carry: JavaScript's Number.MAX_SAFE_INTEGER.
const maxNumber = 1<<53 - 1

// set checks the numbers and fills them in.
func (n *Numbers) set(m *adapter.Message) error {
	if max(n.Seq, n.After, n.Directed) > maxNumber {
		return frameError("number of a message is too high")
	}
	m.Seq, m.After, m.Directed = n.Seq, n.After, n.Directed
	return nil
}
