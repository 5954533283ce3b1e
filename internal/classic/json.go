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
		return parser.Payload{JSON: text}.Unmarshal((*string)(n))
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
		Foreign  json.RawMessage `json:"foreign"`
		Holders  []roomName      `json:"holders"`
	} `json:"flags"`
	Numbers
}

func (o *jsonOptions) options() Options {
	f := adapter.Flags{
		Volatile: string(o.Flags.Volatile) == "true", NoCompress: string(o.Flags.Compress) == "false", Foreign: string(o.Flags.Foreign) == "true",
	}
	if holders := roomNames(o.Flags.Holders); len(holders) > 0 {
		f.Direction = &adapter.Direction{Holders: adapter.NodeIDs(holders)}
	}
	var ms float64
	if json.Unmarshal(o.Flags.Timeout, &ms) == nil {
		f.Timeout = timeoutOf(int64(math.Min(math.Max(ms, 0), maxTimeoutMillis)))
	}
	return Options{roomNames(o.Rooms), roomNames(o.Except), f, o.Numbers}
}

type jsonPacket struct {
	Type      int        `json:"type"`
	Namespace *string    `json:"nsp"`
	Data      rawPayload `json:"data"`
}

// isJSON tells whether a request or an answer is in JSON, in the way of Node.
func isJSON(body []byte) bool { return len(body) > 0 && body[0] == '{' }

// jsonRequest begins the requests in JSON of all nodes, and no answer. Node puts the uid first in the former and has none in
// the latter; emitters leave it out, and old nodes do, none of which speak to one node alone.
const jsonRequest = `{"uid":`

// decodeJSONRequest reads a request. A key of another case is taken too, as encoding/json does.
func decodeJSONRequest(body []byte) (f RequestFrame, err error) {
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
		Only      adapter.Want `json:"only"`
		Packet    jsonPacket   `json:"packet"`
		Data      rawPayload   `json:"data"`
	}
	if err := unmarshalJSON(body, &v); err != nil {
		return f, err
	}
	f = RequestFrame{
		UID: v.UID, RequestID: v.RequestID, Type: -1, Rooms: roomNames(v.Rooms), SID: v.SID, Room: string(v.Room),
		Close: v.Close, SIDs: v.SIDs, Only: v.Only, Data: v.Data.Payload,
		Packet: Packet{Type: parser.Type(min(max(v.Packet.Type, 0), 0xff)), ID: parser.NoID, Data: v.Packet.Data.Payload},
	}
	if v.Type != nil {
		f.Type = *v.Type
	}
	if v.Opts != nil {
		f.HasOptions, f.Options = true, v.Opts.options()
	}
	return f, nil
}

// decodeJSONAnswer reads an answer.
func decodeJSONAnswer(body []byte) (f AnswerFrame, err error) {
	var v struct {
		Type        *int        `json:"type"`
		RequestID   string      `json:"requestId"`
		UID         string      `json:"uid"`
		Sockets     *[]socket   `json:"sockets"`
		Rooms       *[]roomName `json:"rooms"`
		Data        rawPayload  `json:"data"`
		Packet      rawPayload  `json:"packet"`
		ClientCount *int        `json:"clientCount"`
		SID         string      `json:"sid"`
		SIDs        []string    `json:"sids"`
		Numbers
	}
	if err := unmarshalJSON(body, &v); err != nil {
		return f, err
	}
	f = AnswerFrame{
		Type: -1, RequestID: v.RequestID, UID: v.UID, Value: v.Data.Payload, SID: v.SID, SIDs: v.SIDs, Numbers: v.Numbers,
	}
	if v.Type != nil {
		f.Type = *v.Type
	}
	if f.Type == typeAck {
		f.Value = v.Packet.Payload
	}
	if v.ClientCount != nil {
		f.Count, f.HasCount = *v.ClientCount, true
	}
	if v.Rooms != nil {
		f.Rooms, f.HasRooms = roomNames(*v.Rooms), true
	}
	if v.Sockets != nil {
		f.HasSockets = true
		f.Sockets = make([]adapter.SocketDetails, len(*v.Sockets))
		for i, s := range *v.Sockets {
			f.Sockets[i] = adapter.SocketDetails{ID: s.ID, Handshake: s.Handshake, Rooms: roomNames(s.Rooms), Data: s.Data}
		}
	}
	return f, nil
}

// socket is a socket's description as it comes.
type socket struct {
	ID        string          `json:"id"`
	Handshake json.RawMessage `json:"handshake"`
	Rooms     []roomName      `json:"rooms"`
	Data      json.RawMessage `json:"data"`
}
