// Package envelope is the wire form of the messages between nodes that descend from ClusterAdapter of npm socket.io-adapter
// 2.5: the sharded adapter of @socket.io/redis-adapter 8.3 and @socket.io/redis-streams-adapter 0.3. It is made of pure
// functions over bytes.
//
// A message is an envelope {type, data, uid, nsp}: JSON or MessagePack, or an entry of a stream. What Node writes for the
// same message is written byte for byte, members in the same order. Beyond that there are members and one type that Node
// ignores, for what Node does not tell: the socket of an acknowledgement, the sockets that will not acknowledge, a question
// for the rooms, for ids or for a number, and where a message stands among those of its sender: seq, after and directed, the last members of the data.
// A message has the same form on the channel of all nodes and on that of one.
package envelope

import (
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Codec encodes and decodes the messages of a node in one namespace. It is static and may be used concurrently.
//
// Open and OpenEntry return no message, and no error, when there is nothing to be done about a frame: when it is the node's
// own, of another namespace, of a type that is unknown or a heartbeat, or for rooms that nobody here is in. The latter is
// found out before the packet is looked at. Only when such a message has a Seq or is Directed, so that others may be waiting
// for it, they return one of no Kind, that has nothing but its sender and its numbers.
type Codec struct {
	uid       adapter.NodeID
	namespace string
	hasRoom   func(room string) bool
	both      bool      // see ForNode
	endings   [2]string // of one's own frames, in JSON and in MessagePack
}

// New returns the codec of a node, or of Emitter. hasRoom tells whether somebody on this node is in a room; it may be nil
// where nothing is decoded.
func New(uid adapter.NodeID, namespace string, hasRoom func(room string) bool) (*Codec, error) {
	c := &Codec{uid: uid, namespace: namespace, hasRoom: hasRoom}
	end, err := parser.Marshal(struct {
		UID adapter.NodeID `json:"uid"`
		NSP string         `json:"nsp"`
	}{uid, namespace})
	if err != nil {
		return nil, err
	}
	c.endings[0] = "," + string(end.JSON[1:])
	packed, err := msgpack.AppendPayload(nil, msgpack.Notepack, end)
	if err != nil {
		return nil, err
	}
	c.endings[1] = string(packed[1:])
	return c, nil
}

// ForNode returns a codec that writes for Node.js nodes, too, to which 43 and "43" are two rooms: rooms that are whole numbers have both
// forms.
func (c *Codec) ForNode() *Codec {
	other := *c
	other.both = true
	return &other
}

// Own tells cheaply whether a frame is one's own.
func (c *Codec) Own(body string) bool {
	return strings.HasSuffix(body, c.endings[0]) || strings.HasSuffix(body, c.endings[1])
}
