package classic

import (
	"bytes"
	"encoding/json"
	"math"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
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

// value is a value of JSON as it stands in a frame, nil for undefined.
type value = json.RawMessage

// payload makes a value that stands in a frame with attachments one of its own. It checks that it has a depth that everything after it
// can bear.
func payload(v value, attachments [][]byte) (p parser.Payload, err error) {
	if len(v) > 0 {
		err = parser.Payload{JSON: v, Attachments: attachments}.Unmarshal(&p)
	}
	return p, err
}

// text reads a text; what is none is "".
func text(v value) string {
	if len(v) == 0 || v[0] != '"' {
		return ""
	}
	var s string
	_ = json.Unmarshal(v, &s)
	return s
}

// integer reads a whole number and holds it to 32 bits; what is none is -1.
func integer(v value) int {
	var f float64
	if len(v) == 0 || json.Unmarshal(v, &f) != nil || f != math.Trunc(f) || f < 0 {
		return -1
	}
	return int(min(f, math.MaxInt32))
}

// isObject tells an object from what JavaScript finds nothing in.
func isObject(v value) bool { return len(v) > 0 && v[0] == '{' }

type jsonOptions struct {
	Rooms, Except, Flags value
	Numbers
}

type jsonFlags struct {
	Volatile, Compress, Timeout, Foreign, Holders value
}

// options reads the opts of a message. Nothing is in a list, and what JavaScript takes for false counts as if it were not there.
func (o *Options) options(v value) (has bool, err error) {
	switch {
	case !lenient.Truth(string(v)):
		return false, nil
	case v[0] == '[':
		return true, nil
	case v[0] != '{':
		return true, errNoOptions
	}
	var from jsonOptions
	if err := json.Unmarshal(v, &from); err != nil {
		return true, err
	}
	o.Numbers, o.Flags = from.Numbers, from.flags()
	if o.Rooms, err = lenient.Rooms(string(from.Rooms)); err != nil {
		return true, inField("rooms", err)
	}
	o.Except, err = lenient.Rooms(string(from.Except))
	return true, inField("except", err)
}

// flags reads the flags that mean something to a node that receives them. Those of an odd kind are none.
func (o *jsonOptions) flags() (f adapter.Flags) {
	var from jsonFlags
	if !isObject(o.Flags) || json.Unmarshal(o.Flags, &from) != nil {
		return f
	}
	f.Volatile, f.NoCompress, f.Foreign = lenient.Truth(string(from.Volatile)), string(from.Compress) == "false", string(from.Foreign) == "true"
	if holders, err := lenient.Names(string(from.Holders)); err == nil && len(holders) > 0 {
		f.Direction = &adapter.Direction{Holders: adapter.NodeIDs(holders)}
	}
	var ms float64
	if json.Unmarshal(from.Timeout, &ms) == nil {
		f.Timeout = timeoutOf(int64(math.Min(math.Max(ms, 0), maxTimeoutMillis)))
	}
	return f
}

// packet reads the packet of a broadcast.
func (p *Packet) packet(v value, attachments [][]byte) (err error) {
	var from struct{ Type, Data, NSP value }
	if !isObject(v) {
		return errNoObject
	}
	if err := json.Unmarshal(v, &from); err != nil {
		return err
	}
	p.Type, p.ID = parser.Type(min(max(integer(from.Type), 0), 0xff)), parser.NoID
	if p.Namespace = text(from.NSP); p.Namespace == "" {
		p.Namespace = string(from.NSP) // which is no namespace, or nothing
	}
	p.Data, err = payload(from.Data, attachments)
	return inField("data", err)
}

// isJSON tells whether a request or an answer is in JSON, in the way of Node.
func isJSON(body []byte) bool { return len(body) > 0 && body[0] == '{' }

// jsonRequest begins the requests in JSON of all nodes, and no answer. Node puts the uid first in the former and has none in
// the latter; emitters leave it out, and old nodes do, none of which speak to one node alone.
const jsonRequest = `{"uid":`

// decodeJSONRequest reads a request. A key of another case is taken too, as encoding/json does. The sender is known even beside an
// error, if it can be.
func decodeJSONRequest(body []byte, attachments [][]byte) (f RequestFrame, err error) {
	var v struct {
		UID, RequestID, Type, Opts, Rooms, SID, Room, Close, SIDs, Only, Packet, Data value
	}
	f.Type = -1
	if err := unmarshalJSON(body, &v); err != nil {
		return f, err
	}
	f = RequestFrame{
		UID: text(v.UID), Type: integer(v.Type), Rooms: parser.Payload{JSON: v.Rooms}, SID: text(v.SID),
		Close: lenient.Truth(string(v.Close)), SIDs: string(v.SIDs) == "true", Only: adapter.Want(text(v.Only)),
	}
	f.RequestID, f.OddID = requestID(v.RequestID)
	if f.Room, _, err = lenient.Name(string(v.Room)); err != nil {
		return f, inField("room", err)
	}
	if f.HasOptions, err = f.Options.options(v.Opts); err != nil {
		return f, inField("opts", err)
	}
	if f.Type == typeBroadcast {
		return f, inField("packet", f.Packet.packet(v.Packet, attachments))
	}
	f.Data, err = payload(v.Data, attachments)
	return f, inField("data", err)
}

// requestID reads the id of a question, which may be anything. One that is no text stays as it is, "" when there is none.
func requestID(v value) (id string, odd bool) {
	if len(v) == 0 || v[0] != '"' {
		return string(v), true
	}
	return text(v), false
}

// decodeJSONAnswer reads an answer.
func decodeJSONAnswer(body []byte, attachments [][]byte) (f AnswerFrame, err error) {
	var v struct {
		Type, RequestID, UID, Sockets, Rooms, Data, Packet, ClientCount, SID, SIDs value
		Numbers
	}
	if err := unmarshalJSON(body, &v); err != nil {
		return f, err
	}
	f = AnswerFrame{Type: integer(v.Type), RequestID: text(v.RequestID), UID: text(v.UID), SID: text(v.SID), Numbers: v.Numbers}
	f.Count = integer(v.ClientCount)
	f.HasCount = f.Count >= 0
	name, data := "data", v.Data
	if f.Type == typeAck {
		name, data = "packet", v.Packet
	}
	if f.Value, err = payload(data, attachments); err != nil {
		return f, inField(name, err)
	}
	if f.SIDs, err = lenient.Names(string(v.SIDs)); err != nil {
		return f, inField("sids", err)
	}
	if f.Rooms, err = lenient.Names(string(v.Rooms)); err != nil {
		return f, inField("rooms", err)
	}
	f.HasRooms = f.Rooms != nil
	return f, inField("sockets", f.sockets(v.Sockets))
}

// sockets reads the descriptions of sockets.
func (f *AnswerFrame) sockets(v value) error {
	if len(v) == 0 || string(v) == "null" {
		return nil
	}
	var list []struct {
		ID                     string
		Handshake, Rooms, Data value
	}
	if err := json.Unmarshal(v, &list); err != nil {
		return err
	}
	f.HasSockets = true
	f.Sockets = make([]adapter.SocketDetails, len(list))
	for i, s := range list {
		rooms, err := lenient.Names(string(s.Rooms))
		if err != nil {
			return inField("rooms", err)
		}
		f.Sockets[i] = adapter.SocketDetails{ID: s.ID, Handshake: s.Handshake, Rooms: rooms, Data: s.Data}
	}
	return nil
}
