// Package envelope is the wire form of the messages between nodes that descend from ClusterAdapter of npm socket.io-adapter
// 2.5: the sharded adapter of @socket.io/redis-adapter 8.3 and @socket.io/redis-streams-adapter 0.3. It is made of pure
// functions over bytes.
//
// A message is an envelope {type, data, uid, nsp}: JSON or MessagePack, or an entry of a stream. What Node writes for the
// same message is written byte for byte, members in the same order. Beyond that there are members and one type that Node
// ignores, for what Node does not tell: the socket of an acknowledgement, the sockets that will not acknowledge, a question
// for the rooms.
package envelope

import "github.com/sockeye-io/sockeye/adapter"

// Codec encodes and decodes the messages of a node in one namespace. It is static and may be used concurrently.
//
// Open and OpenEntry return no message, and no error, when there is nothing to be done about a frame: when it is the node's
// own, of another namespace, of a type that is unknown or a heartbeat, or for rooms that nobody here is in. The latter is
// found out before the packet is looked at.
type Codec struct {
	// UID is this node, or Emitter.
	UID       adapter.NodeID
	Namespace string
	// HasRoom tells whether somebody on this node is in a room. It is needed for decoding only.
	HasRoom func(room string) bool
}
