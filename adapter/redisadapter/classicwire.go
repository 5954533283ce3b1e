package redisadapter

import (
	"crypto/rand"
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye/internal/msgpack"
)

// The wire form of the classic adapter, @socket.io/redis-adapter 8.3.0. With the prefix K and the namespace N:
//
//	K#N# and K#N#<room>#     broadcasts, msgpack [uid, packet, opts]; the second when there is exactly one room
//	K-request#N#             questions and commands, a map with a type, in JSON or (type 7) msgpack
//	K-response#N#            answers, read by all nodes
//	K-response#N#<uid>#      answers, read by the node that asked
//
// Every node subscribes to all of them. Node ignores keys that it does not know; what Sockeye adds is
//
//	sids  in type 7: true, the node that asks is one of ours; in type 8: the ids of the sockets counted
//	sid   in type 9: the socket that acknowledged
//	uid   in every answer: who answers; always the last key
//	type  100: the sockets named by sids will not acknowledge any more. Only for a node that is one of ours.
const (
	classicSockets    = 0 // asked by old nodes only
	classicAllRooms   = 1
	classicJoin       = 2
	classicLeave      = 3
	classicDisconnect = 4
	classicFetch      = 5
	classicServerSide = 6
	classicBroadcast  = 7
	classicCount      = 8
	classicAck        = 9
	classicGone       = 100
)

// emitterUID is what emitters write in place of a node's uid.
const emitterUID = "emitter"

// classicWire knows the channels of one namespace and how its messages look. It is read-only.
type classicWire struct {
	namespace string
	uid       string

	broadcast string // what the channels of all broadcasts begin with
	request   string
	response  string
	private   string // answers for this node alone

	// How messages of this node begin and answers of this node end, to recognise them unread.
	ownBroadcast, ownJSON, ownMsgpack string
	ownAnswer, ownAck                 string
}

func newClassicWire(key, namespace, uid string) *classicWire {
	w := &classicWire{
		namespace: namespace,
		uid:       uid,
		broadcast: key + "#" + namespace + "#",
		request:   key + "-request#" + namespace + "#",
		response:  key + "-response#" + namespace + "#",
		ownJSON:   `{"uid":"` + uid + `"`,
		ownAnswer: `"uid":"` + uid + `"}`,
	}
	w.private = w.privateOf(uid)
	w.ownBroadcast = string(msgpack.AppendString(msgpack.AppendArray(nil, 3), uid))
	w.ownMsgpack = string(msgpack.AppendString(msgpack.AppendString(msgpack.AppendMap(nil, questionEntries), "uid"), uid))
	w.ownAck = string(msgpack.AppendString(msgpack.AppendString(nil, "uid"), uid))
	return w
}

// privateOf is the channel of the answers for one node alone.
func (w *classicWire) privateOf(uid string) string { return w.response + uid + "#" }

// nodeOf is the reverse of privateOf.
func (w *classicWire) nodeOf(channel string) (uid string, ok bool) {
	uid, ok = strings.CutPrefix(channel, w.response)
	if !ok {
		return "", false
	}
	uid, ok = strings.CutSuffix(uid, "#")
	// A # within is the private channel of a namespace whose name begins with this one and a #.
	return uid, ok && uid != "" && !strings.Contains(uid, "#")
}

// room is the room that a channel of a broadcast names, "" if none: what stands between the prefix and the last character,
// which Node does not look at.
func (w *classicWire) room(channel string) (room string, ok bool) {
	room, ok = strings.CutPrefix(channel, w.broadcast)
	if room != "" {
		room = room[:len(room)-1]
	}
	return room, ok
}

// isOwnRequest and isOwnAnswer recognise what this node has sent and Redis brings back to it, as all who listen.
func (w *classicWire) isOwnRequest(body string) bool {
	return strings.HasPrefix(body, w.ownJSON) || strings.HasPrefix(body, w.ownMsgpack)
}

func (w *classicWire) isOwnAnswer(body string) bool {
	return strings.HasSuffix(body, w.ownAnswer) || strings.HasSuffix(body, w.ownAck)
}

// mayAnswer tells whether an answer can be one to this node: the ids of its questions begin with its uid.
func (w *classicWire) mayAnswer(body string) bool { return strings.Contains(body, w.uid) }

// requestID is the id of a question on the wire, questionOf the reverse.
func (w *classicWire) requestID(request string) string { return w.uid + request }

func (w *classicWire) questionOf(requestID string) (request string, ok bool) {
	return strings.CutPrefix(requestID, w.uid)
}

// uidLen is the length of a uid in the classic adapter.
const uidLen = 6

// newUID makes an id as npm uid2 does, from 64 characters and crypto/rand.
func newUID() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	id := make([]byte, uidLen)
	rand.Read(id) // never fails
	for i, b := range id {
		id[i] = alphabet[b%64]
	}
	return string(id)
}

// asker is what the node that asked understands. It is the first byte of a question's Request as this node hands it on;
// the rest is the id on the wire.
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

// escapeGlob makes a pattern that matches s alone.
func escapeGlob(s string) string {
	if !strings.ContainsAny(s, `*?[]\`) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(`*?[]\`, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
