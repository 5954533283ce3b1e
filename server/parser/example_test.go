package parser_test

import (
	"encoding/json"
	"fmt"

	"github.com/sockeye-io/sockeye/server/parser"
)

// objects is the encoding that Socket.IO's documentation has as an example of a custom parser: each packet is a text, the
// JSON of an object, and binary data stands in it as JSON.stringify writes it.
type objects struct{}

type object struct {
	Type parser.Type     `json:"type"`
	Nsp  string          `json:"nsp"`
	ID   *int64          `json:"id,omitempty"`
	Data json.RawMessage `json:"data,omitempty"`
}

func (objects) Append(dst []byte, p parser.Packet) ([]byte, parser.Form, error) {
	data, err := p.Inline()
	if err != nil {
		return nil, 0, err
	}
	out := object{Type: p.Type, Nsp: p.Namespace, Data: data.JSON}
	if p.ID >= 0 {
		out.ID = &p.ID
	}
	text, err := json.Marshal(out)
	return append(dst, text...), parser.TextAlone, err
}

func (objects) Recognizes(first []byte, binary bool) bool {
	return !binary && len(first) > 0 && first[0] == '{'
}

func (objects) NewDecoder() parser.Decoder { return objectDecoder{} }

type objectDecoder struct{}

func (objectDecoder) Text(_ *parser.Limits, data []byte) (*parser.Packet, error) {
	var in object
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, err
	}
	p := parser.NewPacket()
	p.Type, p.Namespace, p.ID, p.JSON = in.Type, in.Nsp, parser.NoID, in.Data
	if in.ID != nil {
		p.ID = *in.ID
	}
	return p, nil
}

func (objectDecoder) Binary(*parser.Limits, []byte) (*parser.Packet, error) {
	return nil, parser.ErrUnexpectedBinary
}

func (objectDecoder) Incomplete() (string, int64) { return "", 0 }

// A server speaks the encoding beside JSON with &server.Options{Codecs: []parser.Codec{parser.JSON{}, objects{}}}.
func ExampleCodec() {
	payload, err := parser.MarshalEvent("file", "a.bin", []byte{1, 2})
	if err != nil {
		panic(err)
	}
	p := parser.Packet{Type: parser.Event, Namespace: "/", ID: 7, Payload: payload}
	for _, codec := range []parser.Codec{parser.JSON{}, objects{}} {
		text, _, err := codec.Append(nil, p)
		fmt.Printf("%s %v\n", text, err)
	}
	lim := parser.Limits{}.WithDefaults()
	in, err := objects{}.NewDecoder().Text(&lim, []byte(`{"type":2,"nsp":"/","data":["hello",1.50]}`))
	if err != nil {
		panic(err)
	}
	fmt.Println(in.Type, in.Namespace, string(in.JSON), in.Check(&lim))
	// Output:
	// 51-7["file","a.bin",{"_placeholder":true,"num":0}] <nil>
	// {"type":2,"nsp":"/","id":7,"data":["file","a.bin",{"type":"Buffer","data":[1,2]}]} <nil>
	// EVENT / ["hello",1.50] <nil>
}
