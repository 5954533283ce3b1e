package classic

import (
	"fmt"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/server/parser"
)

// command is a question or a command in JSON, with the keys in the order in which Node writes them.
type command struct {
	UID       string          `json:"uid,omitempty"`
	RequestID string          `json:"requestId,omitempty"`
	Type      int             `json:"type"`
	Opts      *selection      `json:"opts,omitempty"`
	Rooms     []string        `json:"rooms,omitzero"`
	Close     *bool           `json:"close,omitempty"`
	Data      *parser.Payload `json:"data,omitempty"`
}

type selection struct {
	Rooms  []string `json:"rooms"`
	Except []string `json:"except"`
}

// answer is an answer in JSON. The answers to fetchSockets and allRooms have no type.
type answer struct {
	Type        int             `json:"type,omitempty"`
	RequestID   string          `json:"requestId"`
	Sockets     any             `json:"sockets,omitempty"`
	Rooms       []string        `json:"rooms,omitzero"`
	Data        *parser.Payload `json:"data,omitempty"`
	ClientCount *int            `json:"clientCount,omitempty"`
	SIDs        []string        `json:"sids,omitempty"`
	UID         string          `json:"uid,omitempty"`
}

// Encode writes a message or a question and chooses its channel. Emitters ask nothing.
func (c *Codec) Encode(m *adapter.Message) (channel string, body []byte, err error) {
	switch m.Kind {
	case adapter.KindBroadcast:
		rooms := unique(m.Selection.Rooms)
		if m.Request != "" {
			body, err = c.question(m, rooms)
			return c.requests, body, err
		}
		channel = c.broadcasts
		if len(rooms) == 1 {
			channel = c.RoomChannel(rooms[0])
		}
		body, err = c.broadcastBody(m, rooms)
		return channel, body, err
	case adapter.KindJoin, adapter.KindLeave, adapter.KindDisconnect, adapter.KindFetch, adapter.KindListRooms,
		adapter.KindServerSide:
		body, err = encodeJSON(c.command(m))
		return c.requests, body, err
	}
	return "", nil, fmt.Errorf("classic adapter: message of kind %d cannot be published", m.Kind)
}

func (c *Codec) command(m *adapter.Message) *command {
	out := &command{UID: c.uid}
	if m.Request != "" {
		out.RequestID = c.requestID(m.Request)
	}
	sel := &selection{Rooms: unique(m.Selection.Rooms), Except: unique(m.Selection.Except)}
	switch m.Kind {
	case adapter.KindJoin:
		out.Type, out.Opts, out.Rooms = typeJoin, sel, unique(m.Rooms)
	case adapter.KindLeave:
		out.Type, out.Opts, out.Rooms = typeLeave, sel, unique(m.Rooms)
	case adapter.KindDisconnect:
		out.Type, out.Opts, out.Close = typeDisconnect, sel, &m.Close
	case adapter.KindFetch:
		out.Type, out.Opts = typeFetch, sel
	case adapter.KindListRooms:
		out.Type = typeAllRooms
	case adapter.KindServerSide:
		out.Type, out.Data = typeServerSide, &m.Payload
	}
	if c.uid == Emitter && m.Kind != adapter.KindServerSide {
		out.UID = ""
	}
	return out
}

// EncodeAnswer writes an answer to a question that has been decoded. It returns nil when the node that asked would not
// understand it.
func (c *Codec) EncodeAnswer(question, m *adapter.Message) ([]byte, error) {
	to, requestID := askerOf(question.Request)
	a := &answer{RequestID: requestID, UID: c.uid}
	switch m.Kind {
	case adapter.KindSockets:
		a.Sockets = socketList(m.Sockets)
		if to == wantsIDs {
			a.Sockets = socketIDs(m.Sockets)
		}
	case adapter.KindRooms:
		if a.Rooms = m.Rooms; a.Rooms == nil {
			a.Rooms = []string{}
		}
	case adapter.KindServerReply:
		a.Type = typeServerSide
		if len(m.Payload.JSON) > 0 {
			a.Data = &m.Payload
		}
	case adapter.KindCount:
		a.Type, a.ClientCount = typeCount, &m.Count
	case adapter.KindAck:
		return c.ack(to, requestID, m)
	case adapter.KindGone:
		if to != sockeye {
			return nil, nil
		}
		a.Type, a.SIDs = typeGone, m.SocketIDs
	default:
		return nil, fmt.Errorf("classic adapter: message of kind %d is no answer", m.Kind)
	}
	return encodeJSON(a)
}

// Confirm writes the answer to a command about one socket.
func Confirm(q *Request) ([]byte, error) { return encodeJSON(&answer{RequestID: q.requestID}) }

// encodeJSON writes v as JSON.stringify does, with binary data as it writes Buffers.
func encodeJSON(v any) ([]byte, error) {
	p, err := parser.Marshal(v)
	if err == nil {
		p, err = p.Inline()
	}
	return p.JSON, err
}

// socketList returns the descriptions of sockets as Node has them, with no part null.
func socketList(sockets []adapter.SocketDetails) []adapter.SocketDetails {
	list := make([]adapter.SocketDetails, len(sockets))
	for i, s := range sockets {
		if s.Rooms == nil {
			s.Rooms = []string{}
		}
		if s.Handshake == nil {
			s.Handshake = []byte("{}")
		}
		if s.Data == nil {
			s.Data = []byte("{}")
		}
		list[i] = s
	}
	return list
}

func socketIDs(sockets []adapter.SocketDetails) []string {
	ids := make([]string, len(sockets))
	for i, s := range sockets {
		ids[i] = s.ID
	}
	return ids
}

// envelope is what a message holds besides its payload, to guess the length of the whole.
const envelope = 128

// broadcastBody writes [uid, packet, opts].
func (c *Codec) broadcastBody(m *adapter.Message, rooms []string) ([]byte, error) {
	size := envelope + len(m.Packet.JSON)
	for _, a := range m.Packet.Attachments {
		size += len(a)
	}
	dst := msgpack.AppendArray(make([]byte, 0, size), 3)
	dst = msgpack.AppendString(dst, c.uid)
	dst, err := c.appendPacket(dst, m.Packet)
	if err != nil {
		return nil, err
	}
	return c.appendOptions(dst, rooms, &m.Selection, &m.Flags), nil
}

// appendPacket writes a packet in the key order of the reference, which sets the namespace last.
func (c *Codec) appendPacket(dst []byte, p *parser.Packet) ([]byte, error) {
	dst = msgpack.AppendMap(dst, 3)
	dst = msgpack.AppendString(dst, "type")
	dst = msgpack.AppendInt(dst, int64(parser.Event))
	dst = msgpack.AppendString(dst, "data")
	dst, err := msgpack.AppendPayload(dst, msgpack.Notepack, p.Payload)
	if err != nil {
		return nil, err
	}
	dst = msgpack.AppendString(dst, "nsp")
	return msgpack.AppendString(dst, c.namespace), nil
}

func (c *Codec) appendOptions(dst []byte, rooms []string, sel *adapter.Selection, flags *adapter.Flags) []byte {
	dst = msgpack.AppendMap(dst, 3)
	dst = msgpack.AppendString(dst, "rooms")
	dst = msgpack.AppendStrings(dst, rooms)
	if c.uid == Emitter { // whose order is another one
		dst = appendFlags(msgpack.AppendString(dst, "flags"), flags)
	}
	dst = msgpack.AppendString(dst, "except")
	dst = msgpack.AppendStrings(dst, unique(sel.Except))
	if c.uid != Emitter {
		dst = appendFlags(msgpack.AppendString(dst, "flags"), flags)
	}
	return dst
}

// appendFlags writes the flags that are set. One that is not must be absent: Node tells undefined from false.
func appendFlags(dst []byte, f *adapter.Flags) []byte {
	n := 0
	for _, set := range []bool{f.Volatile, f.NoCompress, f.Timeout > 0} {
		if set {
			n++
		}
	}
	dst = msgpack.AppendMap(dst, n)
	if f.Volatile {
		dst = msgpack.AppendBool(msgpack.AppendString(dst, "volatile"), true)
	}
	if f.NoCompress {
		dst = msgpack.AppendBool(msgpack.AppendString(dst, "compress"), false)
	}
	if f.Timeout > 0 {
		dst = msgpack.AppendInt(msgpack.AppendString(dst, "timeout"), millis(f.Timeout))
	}
	return dst
}

// millis is d in milliseconds, rounded up: 0 would mean no time at all.
func millis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// questionEntries is the number of entries of a broadcast that asks for acknowledgements.
const questionEntries = 6

// question writes a broadcast that asks for acknowledgements.
func (c *Codec) question(m *adapter.Message, rooms []string) ([]byte, error) {
	dst := msgpack.AppendMap(nil, questionEntries)
	dst = msgpack.AppendString(dst, "uid")
	dst = msgpack.AppendString(dst, c.uid)
	dst = msgpack.AppendString(dst, "requestId")
	dst = msgpack.AppendString(dst, c.requestID(m.Request))
	dst = msgpack.AppendString(dst, "type")
	dst = msgpack.AppendInt(dst, typeBroadcast)
	dst = msgpack.AppendString(dst, "packet")
	dst, err := c.appendPacket(dst, m.Packet)
	if err != nil {
		return nil, err
	}
	dst = msgpack.AppendString(dst, "opts")
	dst = c.appendOptions(dst, rooms, &m.Selection, &m.Flags)
	dst = msgpack.AppendString(dst, "sids")
	return msgpack.AppendBool(dst, true), nil
}

// ack writes an acknowledgement. Without a first argument, which is undefined in Node, there is no packet.
func (c *Codec) ack(to asker, requestID string, m *adapter.Message) ([]byte, error) {
	hasValue, hasSID := len(m.Payload.JSON) > 0, to == sockeye && m.SocketID != ""
	n := 3
	for _, has := range []bool{hasValue, hasSID} {
		if has {
			n++
		}
	}
	dst := msgpack.AppendMap(nil, n)
	dst = msgpack.AppendString(dst, "type")
	dst = msgpack.AppendInt(dst, typeAck)
	dst = msgpack.AppendString(dst, "requestId")
	dst = msgpack.AppendString(dst, requestID)
	if hasValue {
		var err error
		dst, err = msgpack.AppendPayload(msgpack.AppendString(dst, "packet"), msgpack.Notepack, m.Payload)
		if err != nil {
			return nil, err
		}
	}
	if hasSID {
		dst = msgpack.AppendString(msgpack.AppendString(dst, "sid"), m.SocketID)
	}
	return msgpack.AppendString(msgpack.AppendString(dst, "uid"), c.uid), nil
}
