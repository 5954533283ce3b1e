package classic

import (
	"crypto/rand"
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/msgpack"
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

	broadcasts string // what the channels of all broadcasts begin with
	requests   string
	responses  string

	// How messages of this node begin and answers of this node end, to recognise them unread.
	ownBroadcast, ownJSON, ownMsgpack string
	ownAnswer, ownAck                 string
}

// New returns the codec of the node uid, or of emitters.
func New(key, namespace, uid string) *Codec {
	c := &Codec{
		namespace:  namespace,
		uid:        uid,
		broadcasts: key + "#" + namespace + "#",
		requests:   key + "-request#" + namespace + "#",
		responses:  key + "-response#" + namespace + "#",
		ownJSON:    `{"uid":"` + uid + `"`,
		ownAnswer:  `"uid":"` + uid + `"}`,
	}
	c.ownBroadcast = string(msgpack.AppendString(msgpack.AppendArray(nil, 3), uid))
	c.ownMsgpack = string(msgpack.AppendString(msgpack.AppendString(msgpack.AppendMap(nil, questionEntries), "uid"), uid))
	c.ownAck = string(msgpack.AppendString(msgpack.AppendString(nil, "uid"), uid))
	return c
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

// Private is the channel of answers that one node alone hears.
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
func (c *Codec) OwnBroadcast(body string) bool { return strings.HasPrefix(body, c.ownBroadcast) }

// OwnRequest is described with OwnBroadcast.
func (c *Codec) OwnRequest(body string) bool {
	return strings.HasPrefix(body, c.ownJSON) || strings.HasPrefix(body, c.ownMsgpack)
}

// OwnAnswer is described with OwnBroadcast.
func (c *Codec) OwnAnswer(body string) bool {
	return strings.HasSuffix(body, c.ownAnswer) || strings.HasSuffix(body, c.ownAck)
}

// MayAnswer tells whether an answer can be one to this node: the ids of its questions begin with its uid.
func (c *Codec) MayAnswer(body string) bool { return strings.Contains(body, c.uid) }

// requestID is the id of a question on the wire, questionOf the reverse.
func (c *Codec) requestID(request string) string { return c.uid + request }

func (c *Codec) questionOf(requestID string) (request string, ok bool) {
	return strings.CutPrefix(requestID, c.uid)
}

// nodeID is the node with that uid.
func nodeID(uid string) adapter.NodeID {
	if uid == Emitter {
		return ""
	}
	return adapter.NodeID(uid)
}

// uidLen is the length of a uid.
const uidLen = 6

// NewUID makes a uid as npm uid2 does, from 64 characters and crypto/rand.
func NewUID() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	id := make([]byte, uidLen)
	rand.Read(id) // never fails
	for i, b := range id {
		id[i] = alphabet[b%64]
	}
	return string(id)
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

func askerOf(request string) (a asker, id string) {
	if request == "" {
		return anyNode, ""
	}
	return asker(request[0]), request[1:]
}

// unique returns the strings each once, in the order in which they first came, and never nil: Node's sets.
func unique(list []string) []string {
	if len(list) <= fewRooms {
		return uniqueFew(list)
	}
	seen := make(map[string]struct{}, len(list))
	out := make([]string, 0, len(list))
	for _, s := range list {
		if _, ok := seen[s]; !ok {
			seen[s] = struct{}{}
			out = append(out, s)
		}
	}
	return out
}

// fewRooms is the number of rooms up to which they are compared one by one.
const fewRooms = 16

func uniqueFew(list []string) []string {
	for i, s := range list {
		if !slices.Contains(list[:i], s) {
			continue
		}
		out := slices.Clone(list[:i])
		for _, s := range list[i+1:] {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		return out
	}
	if list == nil {
		return []string{}
	}
	return list
}
