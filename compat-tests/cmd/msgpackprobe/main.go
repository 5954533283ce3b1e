// Command msgpackprobe lets a test compare internal/msgpack with the npm packages. See package
// probe.
package main

import (
	"github.com/sockeye-io/sockeye/compat-tests/probe"
	"github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/server/parser"
)

// request asks either for the frames of a payload or for the payload of a frame. Bytes are base64 in the JSON.
type request struct {
	Text        []byte   `json:"text"`
	Attachments [][]byte `json:"attachments"`
	Frame       []byte   `json:"frame"`
}

// answer to a payload has the frame in both dialects; to a frame its payload.
type answer struct {
	Notepack    []byte   `json:"notepack,omitempty"`
	MessagePack []byte   `json:"messagepack,omitempty"`
	Text        []byte   `json:"text,omitempty"`
	Attachments [][]byte `json:"attachments,omitempty"`
}

func main() { probe.Main((*request).answer) }

func (r *request) answer() (answer, error) {
	if r.Frame != nil {
		p, err := msgpack.Decode(r.Frame, nil)
		return answer{Text: p.JSON, Attachments: p.Attachments}, err
	}
	p := parser.Payload{JSON: r.Text, Attachments: r.Attachments}
	notepack, err := msgpack.AppendPayload(nil, msgpack.Notepack, p)
	if err != nil {
		return answer{}, err
	}
	messagePack, err := msgpack.AppendPayload(nil, msgpack.MessagePack, p)
	return answer{Notepack: notepack, MessagePack: messagePack}, err
}
