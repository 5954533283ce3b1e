package redisadapter

import (
	"strings"
	"unicode/utf16"

	"github.com/sockeye-io/sockeye/adapter"
)

// shardedChannels are the channels of a namespace.
type shardedChannels struct {
	namespace string
	mode      SubscriptionMode
	main      string // for everything but answers and, in a dynamic mode, broadcasts to one room
}

func channelsOf(prefix, namespace string, mode SubscriptionMode) shardedChannels {
	return shardedChannels{namespace, mode, prefix + "#" + namespace + "#"}
}

// response is the channel for what only one node is to hear. Channels of rooms have the same form.
func (c shardedChannels) response(to adapter.NodeID) string { return c.main + string(to) + "#" }

func (c shardedChannels) room(room string) string { return c.main + room + "#" }

// of chooses the channel that the nodes concerned have subscribed to. A question goes to all nodes, because all have to
// answer.
func (c shardedChannels) of(m *adapter.Message) string {
	if c.mode == Static || m.Kind != adapter.KindBroadcast || m.Request != "" || len(m.Selection.Rooms) != 1 {
		return c.main
	}
	room := m.Selection.Rooms[0]
	if c.mode == Dynamic && (looksLikeID(room) || strings.HasPrefix(room, c.namespace+"#")) {
		return c.main
	}
	return c.room(room)
}

// has tells whether somebody may publish on a room's own channel. Node subscribes to rooms that are no ids of its sockets.
// That leaves out the ids that Node publishes on their own channels because they do not look like ids; and a public room
// that looks like one has no messages on its channel.
func (c shardedChannels) has(room string) bool {
	return c.mode == DynamicPrivate || c.mode == Dynamic && !looksLikeID(room)
}

// looksLikeID is how Node tells socket ids from the names of public rooms when it publishes. The ids of sockets of protocol
// version 2 are longer outside of "/": they begin with the namespace's name and "#".
func looksLikeID(room string) bool {
	if len(room) < 20 || len(room) > 60 { // 20 units of UTF-16 are at most 60 bytes
		return false
	}
	return len(utf16.Encode([]rune(room))) == 20
}
