package classic

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
	"github.com/sockeye-io/sockeye/server/parser"
)

// command is a question or a command in JSON, with the keys in the order in which Node writes them. Its opts are a *selection
// or a *numbered.
type command[opts any] struct {
	UID       string          `json:"uid,omitempty"`
	RequestID string          `json:"requestId,omitempty"`
	Type      int             `json:"type"`
	Opts      opts            `json:"opts,omitempty"`
	Rooms     any             `json:"rooms,omitzero"` // a list of names
	Close     *bool           `json:"close,omitempty"`
	Data      *parser.Payload `json:"data,omitempty"`
	Only      adapter.Want    `json:"only,omitempty"` // ours
}

type selection struct {
	Rooms  any `json:"rooms"` // as Except a list of names
	Except any `json:"except"`
}

// numbered is a selection, or none, with the numbers of a message.
type numbered struct {
	*selection
	Numbers
}

// answer is an answer in JSON. The answers to fetchSockets and allRooms have no type.
type answer struct {
	Type        int             `json:"type,omitempty"`
	RequestID   any             `json:"requestId,omitempty"`
	Sockets     any             `json:"sockets,omitempty"`
	Rooms       []string        `json:"rooms,omitzero"`
	Data        *parser.Payload `json:"data,omitempty"`
	ClientCount *int            `json:"clientCount,omitempty"`
	SIDs        []string        `json:"sids,omitempty"`
	Numbers
	UID string `json:"uid,omitempty"`
}

// Encode writes a message or a question and chooses its channel. Emitters ask nothing.
func (c *Codec) Encode(m *adapter.Message) (channel string, body []byte, err error) {
	switch m.Kind {
	case adapter.KindBroadcast:
		if m.Request != "" {
			body, err = c.question(m)
			return c.requests, body, err
		}
		return c.broadcast(m)
	case adapter.KindJoin, adapter.KindLeave, adapter.KindDisconnect, adapter.KindFetch, adapter.KindListRooms,
		adapter.KindServerSide:
		body, err = c.command(m)
		return c.requests, body, err
	}
	return "", nil, fmt.Errorf("classic adapter: message of kind %d cannot be published", m.Kind)
}

func (c *Codec) broadcast(m *adapter.Message) (channel string, body []byte, err error) {
	f := BroadcastFrame{UID: c.uid, Packet: c.packet(m), Options: c.optionsOf(m)}
	channel = c.broadcasts
	if rooms := f.Options.Rooms; len(rooms) == 1 {
		channel = c.RoomChannel(rooms[0])
	}
	body, err = c.encoding.EncodeBroadcast(f)
	return channel, body, err
}

// question writes a broadcast that asks for acknowledgements.
func (c *Codec) question(m *adapter.Message) ([]byte, error) {
	return c.encoding.EncodeQuestion(RequestFrame{
		UID: c.uid, RequestID: c.requestID(m.Request), Type: typeBroadcast, Packet: c.packet(m),
		HasOptions: true, Options: c.optionsOf(m), SIDs: true,
	})
}

func (c *Codec) packet(m *adapter.Message) Packet {
	return Packet{Type: parser.Event, Namespace: c.namespace, ID: parser.NoID, Data: m.Packet.Payload}
}

func (c *Codec) optionsOf(m *adapter.Message) Options {
	return Options{lenient.Distinct(m.Selection.Rooms), lenient.Distinct(m.Selection.Except), c.both, m.Flags, numbersOf(m)}
}

// names returns a list of names as it is written in JSON.
func (c *Codec) names(list []string) any {
	list = lenient.Distinct(list)
	if c.both {
		return lenient.BothForms(list)
	}
	return list
}

func (c *Codec) command(m *adapter.Message) ([]byte, error) {
	var sel *selection
	if m.Kind != adapter.KindListRooms && m.Kind != adapter.KindServerSide {
		sel = &selection{c.names(m.Selection.Rooms), c.names(m.Selection.Except)}
	}
	if n := numbersOf(m); n != (Numbers{}) {
		return encodeJSON(newCommand(c, m, &numbered{sel, n}))
	}
	return encodeJSON(newCommand(c, m, sel))
}

func newCommand[opts any](c *Codec, m *adapter.Message, o opts) *command[opts] {
	out := &command[opts]{UID: c.uid, Opts: o}
	if m.Request != "" {
		out.RequestID = c.requestID(m.Request)
	}
	switch m.Kind {
	case adapter.KindJoin:
		out.Type, out.Rooms = typeJoin, c.names(m.Rooms)
	case adapter.KindLeave:
		out.Type, out.Rooms = typeLeave, c.names(m.Rooms)
	case adapter.KindDisconnect:
		out.Type, out.Close = typeDisconnect, &m.Close
	case adapter.KindFetch:
		out.Type, out.Only = typeFetch, m.Want
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
	to, requestID, odd := askerOf(question.Request)
	a := &answer{RequestID: idOf(requestID, odd), Numbers: numbersOf(m), UID: c.uid}
	switch m.Kind {
	case adapter.KindSockets:
		a.setSockets(to, m)
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
		return c.ack(question, m)
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

// setSockets fills in what the node that asked wants to know of sockets.
func (a *answer) setSockets(to asker, m *adapter.Message) {
	if to == wantsIDs {
		a.Sockets = socketIDs(m.Sockets)
		return
	}
	a.Sockets, a.SIDs = socketList(m.Sockets), m.SocketIDs
	if m.Count > 0 {
		a.ClientCount = &m.Count
	}
}

// Confirm writes the answer to a command about one socket.
func Confirm(q *Request) ([]byte, error) {
	return encodeJSON(&answer{RequestID: idOf(q.requestID, q.oddID)})
}

// idOf is the id of a question as it is written in the answer in JSON, nil if it has none.
func idOf(id string, odd bool) any {
	switch {
	case !odd:
		return id
	case id == "":
		return nil
	}
	return json.RawMessage(id)
}

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

// millis is d in milliseconds, rounded up: 0 would mean no time at all.
func millis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// ack writes an acknowledgement. Without a first argument, which is undefined in Node, there is no packet.
func (c *Codec) ack(question, m *adapter.Message) ([]byte, error) {
	to, requestID, odd := askerOf(question.Request)
	f := AnswerFrame{Type: typeAck, RequestID: requestID, OddID: odd, UID: c.uid, Value: m.Payload, Numbers: numbersOf(m)}
	if to == sockeye {
		f.SID = m.SocketID
	}
	return c.encoding.EncodeAck(f)
}
