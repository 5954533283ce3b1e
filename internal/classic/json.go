package classic

import (
	"bytes"
	"encoding/json"
	"math"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// maxJSON is the longest JSON frame that is decoded, in bytes: as long as those in MessagePack.
const maxJSON = 64 << 20

// unmarshalJSON is json.Unmarshal for a frame that may not be valid UTF-8, with U+FFFD for what is not.
func unmarshalJSON(body []byte, v any) error {
	if len(body) > maxJSON {
		return frameError("too long")
	}
	if !utf8.Valid(body) {
		body = bytes.ToValidUTF8(body, []byte("\ufffd"))
	}
	return json.Unmarshal(body, v)
}

// rawPayload is a payload that is valid JSON of a depth that everything after it can bear.
type rawPayload struct{ parser.Payload }

func (p *rawPayload) UnmarshalJSON(text []byte) error {
	return parser.Payload{JSON: bytes.Clone(text)}.Unmarshal(&p.Payload)
}

// roomName is the name of a room, which may be a number.
type roomName string

func (n *roomName) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	if text[0] == '"' {
		return json.Unmarshal(text, (*string)(n))
	}
	var f float64
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	spelled, err := parser.Marshal(f)
	*n = roomName(spelled.JSON)
	return err
}

func roomNames(list []roomName) []string {
	if list == nil {
		return nil
	}
	names := make([]string, len(list))
	for i, n := range list {
		names[i] = string(n)
	}
	return names
}

type jsonOptions struct {
	Rooms  []roomName `json:"rooms"`
	Except []roomName `json:"except"`
	Flags  struct {
		Volatile json.RawMessage `json:"volatile"`
		Compress json.RawMessage `json:"compress"`
		Timeout  json.RawMessage `json:"timeout"`
	} `json:"flags"`
}

func (o *jsonOptions) set(m *adapter.Message) {
	m.Selection = adapter.Selection{Rooms: roomNames(o.Rooms), Except: roomNames(o.Except)}
	m.Flags.Volatile = string(o.Flags.Volatile) == "true"
	m.Flags.NoCompress = string(o.Flags.Compress) == "false"
	var ms float64
	if json.Unmarshal(o.Flags.Timeout, &ms) == nil {
		m.Flags.Timeout = timeoutOf(int64(math.Min(math.Max(ms, 0), maxTimeoutMillis)))
	}
}

type jsonPacket struct {
	Type      int        `json:"type"`
	Namespace *string    `json:"nsp"`
	Data      rawPayload `json:"data"`
}

// readJSON reads a request. A key of another case is taken too, as encoding/json does.
func (q *Request) readJSON(body []byte) error {
	var v struct {
		UID       string       `json:"uid"`
		RequestID string       `json:"requestId"`
		Type      *int         `json:"type"`
		Opts      *jsonOptions `json:"opts"`
		Rooms     []roomName   `json:"rooms"`
		SID       string       `json:"sid"`
		Room      roomName     `json:"room"`
		Close     bool         `json:"close"`
		SIDs      bool         `json:"sids"`
		Packet    jsonPacket   `json:"packet"`
		Data      rawPayload   `json:"data"`
	}
	if err := unmarshalJSON(body, &v); err != nil {
		return err
	}
	q.uid, q.requestID, q.sid, q.room = v.UID, v.RequestID, v.SID, string(v.Room)
	q.rooms, q.close, q.sids, q.data = roomNames(v.Rooms), v.Close, v.SIDs, v.Data.Payload
	if v.Type != nil {
		q.kind = *v.Type
	}
	if v.Opts != nil {
		q.hasOpts = true
		v.Opts.set(&q.Message)
	}
	q.packet = packet{kind: parser.Type(min(max(v.Packet.Type, 0), 0xff)), id: parser.NoID, data: v.Packet.Data.Payload}
	return nil
}

// readJSON reads an answer.
func (a *reply) readJSON(body []byte) error {
	var v struct {
		Type        *int        `json:"type"`
		RequestID   string      `json:"requestId"`
		UID         string      `json:"uid"`
		Sockets     *[]socket   `json:"sockets"`
		Rooms       *[]roomName `json:"rooms"`
		Data        rawPayload  `json:"data"`
		Packet      rawPayload  `json:"packet"`
		ClientCount *int        `json:"clientCount"`
		SIDs        []string    `json:"sids"`
	}
	if err := unmarshalJSON(body, &v); err != nil {
		return err
	}
	a.requestID, a.uid, a.sids, a.value = v.RequestID, v.UID, v.SIDs, v.Data.Payload
	if v.Type != nil {
		a.kind = *v.Type
	}
	if a.kind == typeAck {
		a.value = v.Packet.Payload
	}
	if v.ClientCount != nil {
		a.count, a.hasCount = *v.ClientCount, true
	}
	if v.Rooms != nil {
		a.rooms, a.hasRooms = roomNames(*v.Rooms), true
	}
	if v.Sockets != nil {
		a.hasSockets = true
		a.sockets = make([]adapter.SocketDetails, len(*v.Sockets))
		for i, s := range *v.Sockets {
			a.sockets[i] = adapter.SocketDetails{ID: s.ID, Handshake: s.Handshake, Rooms: roomNames(s.Rooms), Data: s.Data}
		}
	}
	return nil
}

// socket is a socket's description as it comes.
type socket struct {
	ID        string          `json:"id"`
	Handshake json.RawMessage `json:"handshake"`
	Rooms     []roomName      `json:"rooms"`
	Data      json.RawMessage `json:"data"`
}
