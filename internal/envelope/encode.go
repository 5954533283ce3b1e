package envelope

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
	"github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/server/parser"
)

// messageType numbers the messages of Node's ClusterAdapter.
type messageType int

const (
	typeInitialHeartbeat messageType = 1 // as typeHeartbeat and typeClose only from implementations with heartbeats; ignored
	typeHeartbeat        messageType = 2
	typeBroadcast        messageType = 3
	typeJoin             messageType = 4
	typeLeave            messageType = 5
	typeDisconnect       messageType = 6
	typeFetch            messageType = 7
	typeSockets          messageType = 8
	typeServerSide       messageType = 9
	typeServerReply      messageType = 10
	typeCount            messageType = 11
	typeAck              messageType = 12
	typeClose            messageType = 13

	// typeGone is ours alone. Node ignores types that it does not know.
	typeGone messageType = 113
)

// Emitter is the uid of all emitters, which are no nodes.
const Emitter adapter.NodeID = "emitter"

// roomsMark ends the request ids of our questions for the rooms. To Node, whose ClusterAdapter has no such question, they
// are questions for the sockets, whose answer has the rooms in it.
const roomsMark = "r"

// The shapes below have their fields in the order in which Node writes them. Those marked as ours are ignored by Node.
type (
	envelope struct {
		Type messageType    `json:"type"`
		Data any            `json:"data"`
		UID  adapter.NodeID `json:"uid"`
		NSP  string         `json:"nsp"`
	}
	packetData struct {
		Type parser.Type    `json:"type"`
		Data parser.Payload `json:"data"`
	}
	optsData struct {
		Rooms  any       `json:"rooms"` // as Except a list of names
		Except any       `json:"except"`
		Flags  flagsData `json:"flags"`
	}
	flagsData struct {
		Volatile bool  `json:"volatile,omitempty"`
		Compress *bool `json:"compress,omitempty"`
		Timeout  int64 `json:"timeout,omitempty"` // in milliseconds
		// Ours, as in adapter.Flags and adapter.Direction.
		Foreign bool             `json:"foreign,omitempty"`
		Holders []adapter.NodeID `json:"holders,omitempty"`
	}
	broadcastData struct {
		Packet  packetData `json:"packet"`
		Request requestID  `json:"requestId,omitzero"`
		Opts    optsData   `json:"opts"`
	}
	membershipData struct {
		Opts  optsData `json:"opts"`
		Rooms any      `json:"rooms"` // a list of names
	}
	disconnectData struct {
		Opts  optsData `json:"opts"`
		Close bool     `json:"close"`
	}
	fetchData struct {
		Opts    optsData  `json:"opts"`
		Request requestID `json:"requestId,omitzero"`
		Only    string    `json:"only,omitempty"` // ours: "rooms" asks for them alone, else an adapter.Want
	}
	socketsData struct {
		Request requestID               `json:"requestId,omitzero"`
		Sockets []adapter.SocketDetails `json:"sockets"`
		Rooms   []string                `json:"rooms,omitempty"`       // ours: the answer to a question for the rooms
		SIDs    []string                `json:"sids,omitempty"`        // ours: to one for ids
		Count   int                     `json:"clientCount,omitempty"` // ours: to one for a number
	}
	serverSideData struct {
		Request requestID      `json:"requestId,omitzero"`
		Packet  parser.Payload `json:"packet"`
	}
	valueData struct {
		Request requestID      `json:"requestId,omitzero"`
		Packet  parser.Payload `json:"packet,omitzero"`
		SID     string         `json:"sid,omitempty"` // ours: whose acknowledgement it is
	}
	countData struct {
		Request requestID `json:"requestId,omitzero"`
		Count   int       `json:"clientCount"`
	}
	goneData struct {
		Request requestID `json:"requestId,omitzero"`
		SIDs    []string  `json:"sids"`
	}
)

// dataOf returns the type and the data of a message. Requests of answers are those of their questions.
func (c *Codec) dataOf(m *adapter.Message) (messageType, any, error) {
	switch m.Kind {
	case adapter.KindBroadcast:
		packet := packetData{Type: parser.Event, Data: m.Packet.Payload}
		return typeBroadcast, broadcastData{packet, requestID(m.Request), c.optsOf(m)}, nil
	case adapter.KindJoin:
		return typeJoin, membershipData{c.optsOf(m), c.names(m.Rooms)}, nil
	case adapter.KindLeave:
		return typeLeave, membershipData{c.optsOf(m), c.names(m.Rooms)}, nil
	case adapter.KindDisconnect:
		return typeDisconnect, disconnectData{c.optsOf(m), m.Close}, nil
	case adapter.KindFetch:
		return typeFetch, fetchData{c.optsOf(m), requestID(m.Request), string(m.Want)}, nil
	case adapter.KindListRooms:
		return typeFetch, fetchData{c.optsOf(m), requestID(m.Request + roomsMark), "rooms"}, nil
	case adapter.KindSockets:
		return typeSockets, socketsData{Request: requestID(m.Request), Sockets: socketsOf(m), SIDs: m.SocketIDs, Count: m.Count}, nil
	case adapter.KindRooms:
		return typeSockets, socketsData{Request: requestID(m.Request), Sockets: []adapter.SocketDetails{}, Rooms: m.Rooms}, nil
	case adapter.KindServerSide:
		return typeServerSide, serverSideData{requestID(m.Request), m.Payload}, nil
	case adapter.KindServerReply:
		return typeServerReply, valueData{Request: requestID(m.Request), Packet: defined(m.Payload)}, nil
	case adapter.KindCount:
		return typeCount, countData{requestID(m.Request), m.Count}, nil
	case adapter.KindAck:
		return typeAck, valueData{requestID(m.Request), defined(m.Payload), m.SocketID}, nil
	case adapter.KindGone:
		return typeGone, goneData{requestID(m.Request), orEmpty(m.SocketIDs)}, nil
	}
	return 0, nil, fmt.Errorf("no wire form for messages of kind %d", m.Kind)
}

func (c *Codec) optsOf(m *adapter.Message) optsData {
	o := optsData{Rooms: c.names(m.Selection.Rooms), Except: c.names(m.Selection.Except)}
	// Rounded up: who says later than told that a socket stayed silent is known to have waited.
	o.Flags.Volatile, o.Flags.Timeout = m.Flags.Volatile, (m.Flags.Timeout + time.Millisecond - 1).Milliseconds()
	if m.Flags.NoCompress {
		o.Flags.Compress = new(bool)
	}
	if o.Flags.Foreign = m.Flags.Foreign; m.Flags.Direction != nil {
		o.Flags.Holders = m.Flags.Direction.Holders
	}
	return o
}

// names returns a list of names as it is written.
func (c *Codec) names(list []string) any {
	if c.both {
		return lenient.BothForms(orEmpty(list))
	}
	return orEmpty(list)
}

func socketsOf(m *adapter.Message) []adapter.SocketDetails {
	list := slices.Clone(orEmpty(m.Sockets))
	for i := range list {
		list[i].Rooms = orEmpty(list[i].Rooms)
	}
	return list
}

// orEmpty keeps Node from seeing null, or nothing, in the place of an array.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// defined makes undefined the zero Payload, which is left out.
func defined(p parser.Payload) parser.Payload {
	if p.JSON == nil {
		return parser.Payload{}
	}
	return p
}

// withNull makes undefined values null, which is what @msgpack/msgpack writes for them. JSON and notepack leave them out.
func withNull(data any) any {
	if v, ok := data.(valueData); ok && v.Packet.JSON == nil {
		v.Packet.JSON = []byte("null")
		return v
	}
	return data
}

// numbers are those of an adapter.Message.
type numbers struct{ seq, after, directed uint64 }

// marshal writes a value, with the numbers of a message as the last members of its data. The data is an object with members,
// which ends where the ending begins.
func marshal(v any, ending string, m *adapter.Message) (parser.Payload, error) {
	p, err := parser.Marshal(v)
	if err != nil || m.Seq|m.After|m.Directed == 0 {
		return p, err
	}
	members := appendNumber(nil, "seq", m.Seq)
	members = appendNumber(members, "after", m.After)
	members = appendNumber(members, "directed", m.Directed)
	p.JSON = slices.Insert(p.JSON, len(p.JSON)-len(ending)-1, members...)
	return p, nil
}

// appendNumber appends a member that follows another one, unless it is 0.
func appendNumber(dst []byte, key string, n uint64) []byte {
	if n == 0 {
		return dst
	}
	dst = append(append(append(dst, `,"`...), key...), `":`...)
	return strconv.AppendUint(dst, n, 10)
}

// Sharded returns the body of a message as the sharded adapter writes it: JSON, or MessagePack if there is binary.
func (c *Codec) Sharded(m *adapter.Message) ([]byte, error) {
	t, data, err := c.dataOf(m)
	if err != nil {
		return nil, err
	}
	p, err := marshal(envelope{t, data, c.uid, c.namespace}, c.endings[0], m)
	if err == nil && len(p.Attachments) > 0 {
		p.JSON, err = msgpack.AppendPayload(nil, msgpack.Notepack, p)
	}
	if err != nil {
		return nil, fmt.Errorf("encode message of type %d: %w", t, err)
	}
	return p.JSON, nil
}

// Packed returns the body of a message as the streams adapter publishes it: always MessagePack.
func (c *Codec) Packed(m *adapter.Message) ([]byte, error) {
	t, data, err := c.dataOf(m)
	if err != nil {
		return nil, err
	}
	p, err := marshal(envelope{t, withNull(data), c.uid, c.namespace}, c.endings[0], m)
	if err == nil {
		p.JSON, err = msgpack.AppendPayload(nil, msgpack.MessagePack, p)
	}
	if err != nil {
		return nil, fmt.Errorf("encode message of type %d: %w", t, err)
	}
	return p.JSON, nil
}

// Entry is a message in a stream: the fields uid, nsp, type and data, in this order. Data is JSON, or MessagePack in base64
// if there is binary.
type Entry struct {
	UID, Namespace, Type, Data string
}

// Entry returns a message as the streams adapter writes it to the stream. With plaintext it is JSON in any case, with
// binary as Node's Buffer has it in JSON (option onlyPlaintext of Node).
func (c *Codec) Entry(m *adapter.Message, plaintext bool) (Entry, error) {
	t, data, err := c.dataOf(m)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{UID: string(c.uid), Namespace: c.namespace, Type: strconv.Itoa(int(t))}
	p, err := marshal(data, "", m)
	switch {
	case err != nil || len(p.Attachments) == 0:
	case plaintext:
		p, err = p.Inline()
	default:
		var packed []byte
		packed, err = msgpack.AppendPayload(nil, msgpack.MessagePack, p)
		p.JSON = base64.StdEncoding.AppendEncode(nil, packed)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("encode message of type %d: %w", t, err)
	}
	e.Data = string(p.JSON)
	return e, nil
}

// Ephemeral tells whether the streams adapter publishes a message instead of writing it to the stream.
func Ephemeral(m *adapter.Message) bool {
	switch m.Kind {
	case adapter.KindBroadcast:
		return m.Request != ""
	case adapter.KindJoin, adapter.KindLeave, adapter.KindDisconnect:
		return false
	}
	return true
}
