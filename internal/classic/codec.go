package classic

import (
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
)

// The types of requests and answers.
const (
	typeSockets    = 0 // asked by old nodes only
	typeAllRooms   = 1
	typeJoin       = 2
	typeLeave      = 3
	typeDisconnect = 4
	typeFetch      = 5
	typeServerSide = 6
	typeBroadcast  = 7
	typeCount      = 8
	typeAck        = 9
	typeGone       = 100
)

// Emitter is the uid of all emitters. They are no nodes.
const Emitter = "emitter"

// Codec reads and writes the messages of one node in one namespace. It is read-only.
type Codec struct {
	namespace string
	uid       string
	encoding  Encoding
	both      bool // see ForNode

	broadcasts string // what the channels of all broadcasts begin with
	requests   string
	responses  string

	// By what messages of this node are recognised unread: those in JSON begin with ownJSON, or are answers and end with
	// ownAnswer. asked is what the ids of its questions begin with.
	marks              Marks
	ownJSON, ownAnswer string
	asked              string
}

// New returns the codec of the node uid, or of emitters. A uid is of letters, digits, - and _, and of any length.
func New(key, namespace, uid string, e Encoding) *Codec {
	return &Codec{
		namespace:  namespace,
		uid:        uid,
		encoding:   e,
		broadcasts: key + "#" + namespace + "#",
		requests:   key + "-request#" + namespace + "#",
		responses:  key + "-response#" + namespace + "#",
		marks:      e.Marks(uid),
		ownJSON:    jsonRequest + `"` + uid + `"`,
		ownAnswer:  `"uid":"` + uid + `"}`,
		asked:      uid + ".",
	}
}

// ForNode returns a codec that writes for Node.js nodes, too, to which 43 and "43" are two rooms: rooms that are whole numbers have both
// forms.
func (c *Codec) ForNode() *Codec {
	other := *c
	other.both = true
	return &other
}

// UID returns the node's uid.
func (c *Codec) UID() string { return c.uid }

// Broadcasts is the channel of broadcasts to all or to several rooms, and what the channels of rooms begin with.
func (c *Codec) Broadcasts() string { return c.broadcasts }

// RoomChannel is the channel of broadcasts to one room.
func (c *Codec) RoomChannel(room string) string { return c.broadcasts + room + "#" }

// Room is the room that a channel of broadcasts names, "" if none: what stands between the prefix and the last character,
// which Node does not look at. ok is false for channels of other namespaces.
func (c *Codec) Room(channel string) (room string, ok bool) {
	room, ok = strings.CutPrefix(channel, c.broadcasts)
	if ok && room != "" {
		room = room[:len(room)-1]
	}
	return room, ok
}

// Requests is the channel of questions and commands. Its subscribers are counted as nodes.
func (c *Codec) Requests() string { return c.requests }

// Responses is the channel of answers that all nodes hear, and what the private ones begin with.
func (c *Codec) Responses() string { return c.responses }

// Private is the channel that one node alone hears: answers, and what is said to it alone.
func (c *Codec) Private(uid string) string { return c.responses + uid + "#" }

// Node is the node whose private channel it is. ok is false if it is none of this namespace.
func (c *Codec) Node(channel string) (uid string, ok bool) {
	uid, ok = strings.CutPrefix(channel, c.responses)
	if !ok {
		return "", false
	}
	uid, ok = strings.CutSuffix(uid, "#")
	// A # within is the private channel of a namespace whose name begins with this one and a #.
	return uid, ok && uid != "" && !strings.Contains(uid, "#")
}

// OwnBroadcast, OwnRequest and OwnAnswer recognise unread what this node has published.
func (c *Codec) OwnBroadcast(body string) bool {
	return c.marks != (Marks{}) && strings.HasPrefix(body, c.marks.Broadcast)
}

// OwnRequest is described with OwnBroadcast.
func (c *Codec) OwnRequest(body string) bool {
	return strings.HasPrefix(body, c.ownJSON) || c.marks != (Marks{}) && strings.HasPrefix(body, c.marks.Question)
}

// OwnAnswer is described with OwnBroadcast.
func (c *Codec) OwnAnswer(body string) bool {
	return strings.HasSuffix(body, c.ownAnswer) || c.marks != (Marks{}) && strings.HasSuffix(body, c.marks.Ack)
}

// MayAnswer tells whether an answer can be one to this node.
func (c *Codec) MayAnswer(body string) bool {
	return strings.Contains(body, c.asked) || c.marks == (Marks{}) && !strings.HasPrefix(body, "{")
}

// requestID is the id of a question on the wire, questionOf the reverse. It names the node that asks. The dot, which is in no
// uid, keeps the questions of two nodes apart of which one has a uid that the other's begins with.
func (c *Codec) requestID(request string) string { return c.asked + request }

func (c *Codec) questionOf(requestID string) (request string, ok bool) {
	return strings.CutPrefix(requestID, c.asked)
}

// Ours reports whether a question that has been decoded was asked by one of our nodes, which hears answers on its private channel
// whatever its options are. Node's ids have no dot.
func Ours(question *adapter.Message) bool {
	_, id, _ := askerOf(question.Request)
	rest, ok := strings.CutPrefix(id, string(question.From))
	return ok && question.From != "" && strings.HasPrefix(rest, ".")
}

// nodeID is the node with that uid.
func nodeID(uid string) adapter.NodeID {
	if uid == Emitter {
		return ""
	}
	return adapter.NodeID(uid)
}

// asker is what the node that asked understands. It is the first byte of a question's Request once it has been decoded; the
// rest is the id on the wire.
type asker byte

const (
	anyNode  asker = 'n'
	sockeye  asker = 's' // understands what Sockeye adds
	wantsIDs asker = 'i' // type 0: of the sockets wants the ids only
)

func (a asker) request(id string) string { return string(rune(a)) + id }

// oddID is what the first byte has less when the id is no text but JSON, or "" when there is none.
const oddID = 'a' - 'A'

func (a asker) question(id string, odd bool) string {
	if odd {
		a -= oddID
	}
	return a.request(id)
}

func askerOf(request string) (a asker, id string, odd bool) {
	if request == "" {
		return anyNode, "", true
	}
	if a = asker(request[0]); a < 'a' {
		return a + oddID, request[1:], true
	}
	return a, request[1:], false
}
