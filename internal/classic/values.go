package classic

import (
	"github.com/sockeye-io/sockeye/internal/lenient"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Parser is what npm's option parser is: it writes and reads values. Its methods are pure functions and may be called concurrently.
type Parser interface {
	// Encode writes a value.
	Encode(v parser.Payload) ([]byte, error)
	// Decode reads one.
	Decode(body []byte) (parser.Payload, error)
	// Name is what people call it.
	Name() string
}

// Values is the encoding of a parser of which nothing else is known. Its frames have no marks: this node reads its own, too.
type Values struct{ Parser }

// The shapes below have their fields in the order in which Node writes them.
type (
	packetValue struct {
		Type parser.Type    `json:"type"`
		Data parser.Payload `json:"data"`
		NSP  string         `json:"nsp"`
	}
	flagsValue struct {
		Volatile bool     `json:"volatile,omitempty"`
		Compress *bool    `json:"compress,omitempty"`
		Timeout  int64    `json:"timeout,omitempty"` // in milliseconds
		Foreign  bool     `json:"foreign,omitempty"`
		Holders  []string `json:"holders,omitempty"`
	}
	optionsValue struct {
		Rooms  any        `json:"rooms"` // as Except a list of names
		Except any        `json:"except"`
		Flags  flagsValue `json:"flags"`
		Numbers
	}
	emitterOptionsValue struct {
		Rooms  any        `json:"rooms"` // as Except a list of names
		Flags  flagsValue `json:"flags"`
		Except any        `json:"except"`
		Numbers
	}
	questionValue struct {
		UID       string      `json:"uid"`
		RequestID string      `json:"requestId"`
		Type      int         `json:"type"`
		Packet    packetValue `json:"packet"`
		Opts      any         `json:"opts"`
		SIDs      bool        `json:"sids"`
	}
	ackValue struct {
		Type      int            `json:"type"`
		RequestID any            `json:"requestId,omitempty"`
		Packet    parser.Payload `json:"packet,omitzero"`
		SID       string         `json:"sid,omitempty"`
		Numbers
		UID string `json:"uid"`
	}
)

func packetValueOf(p *Packet) packetValue { return packetValue{p.Type, p.Data, p.Namespace} }

func optionsValueOf(uid string, o *Options) any {
	rooms, except := any(o.Rooms), any(o.Except)
	if o.BothForms {
		rooms, except = lenient.BothForms(o.Rooms), lenient.BothForms(o.Except)
	}
	f := flagsValue{Volatile: o.Flags.Volatile, Timeout: millis(o.Flags.Timeout), Foreign: o.Flags.Foreign, Holders: holdersOf(&o.Flags)}
	if o.Flags.NoCompress {
		f.Compress = new(bool)
	}
	if uid == Emitter { // whose order is another one
		return emitterOptionsValue{rooms, f, except, o.Numbers}
	}
	return optionsValue{rooms, except, f, o.Numbers}
}

func (e Values) encode(v any) ([]byte, error) {
	p, err := parser.Marshal(v)
	if err != nil {
		return nil, err
	}
	return e.Encode(p)
}

// EncodeBroadcast implements Encoding.
func (e Values) EncodeBroadcast(f BroadcastFrame) ([]byte, error) {
	return e.encode([]any{f.UID, packetValueOf(&f.Packet), optionsValueOf(f.UID, &f.Options)})
}

// EncodeQuestion implements Encoding.
func (e Values) EncodeQuestion(f RequestFrame) ([]byte, error) {
	return e.encode(questionValue{f.UID, f.RequestID, f.Type, packetValueOf(&f.Packet), optionsValueOf(f.UID, &f.Options), f.SIDs})
}

// EncodeAck implements Encoding.
func (e Values) EncodeAck(f AnswerFrame) ([]byte, error) {
	a := ackValue{Type: f.Type, RequestID: idOf(f.RequestID, f.OddID), SID: f.SID, Numbers: f.Numbers, UID: f.UID}
	if len(f.Value.JSON) > 0 {
		a.Packet = f.Value
	}
	return e.encode(a)
}

// decode reads a value of a size that is read.
func (e Values) decode(body []byte) (p parser.Payload, err error) {
	if len(body) > maxJSON {
		return p, frameError("too long")
	}
	return e.Decode(body)
}

// DecodeBroadcast implements Encoding.
func (e Values) DecodeBroadcast(body []byte) (f BroadcastFrame, err error) {
	p, err := e.decode(body)
	if err != nil {
		return f, err
	}
	var parts []value
	if err := unmarshalJSON(p.JSON, &parts); err != nil {
		return f, err
	}
	if len(parts) < 3 {
		return f, frameError("broadcast is too short")
	}
	f.UID = text(parts[0])
	if err := f.Packet.packet(parts[1], p.Attachments); err != nil {
		return f, inField("packet", err)
	}
	_, err = f.Options.options(parts[2])
	return f, inField("opts", err)
}

// DecodeRequest implements Encoding.
func (e Values) DecodeRequest(body []byte) (f RequestFrame, err error) {
	p, err := e.decode(body)
	if err != nil {
		return RequestFrame{Type: -1, OddID: true}, err
	}
	return decodeJSONRequest(p.JSON, p.Attachments)
}

// DecodeAnswer implements Encoding.
func (e Values) DecodeAnswer(body []byte) (f AnswerFrame, err error) {
	p, err := e.decode(body)
	if err != nil {
		return AnswerFrame{Type: -1}, err
	}
	return decodeJSONAnswer(p.JSON, p.Attachments)
}

// Marks implements Encoding: there are none.
func (Values) Marks(string) Marks { return Marks{} }

// Shape implements Encoding. It has to read the frame.
func (e Values) Shape(body string) Shape {
	p, err := e.decode([]byte(body))
	if err != nil || len(p.JSON) == 0 {
		return ShapeAnswer
	}
	if p.JSON[0] == '[' {
		return ShapeBroadcast
	}
	var frame struct{ Type value }
	if unmarshalJSON(p.JSON, &frame) == nil && integer(frame.Type) == typeBroadcast {
		return ShapeRequest
	}
	return ShapeAnswer
}

// JSON is the encoding of JSON.stringify and JSON.parse, which is what npm's users give for parser most often. Binary is an object
// afterwards, as in Node.
type JSON struct{ Values }

// NewJSON returns it.
func NewJSON() JSON { return JSON{Values{jsonParser{}}} }

const nameJSON = "json"

// jsonParser is the Parser that JSON is made of.
type jsonParser struct{}

func (jsonParser) Name() string { return nameJSON }

func (jsonParser) Encode(v parser.Payload) ([]byte, error) {
	p, err := v.Inline()
	return p.JSON, err
}

func (jsonParser) Decode(body []byte) (parser.Payload, error) { return parser.Payload{JSON: body}, nil }

// Marks implements Encoding.
func (JSON) Marks(uid string) Marks {
	return Marks{Broadcast: `["` + uid + `",`, Question: jsonRequest + `"` + uid + `",`, Ack: `"uid":"` + uid + `"}`}
}

// Shape implements Encoding: the codec itself tells the shapes of what is no broadcast.
func (JSON) Shape(body string) Shape {
	if body != "" && body[0] == '[' {
		return ShapeBroadcast
	}
	return ShapeAnswer
}
