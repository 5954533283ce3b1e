// Command msgpackprobe lets a test compare internal/msgpack with the npm packages. It reads one JSON request a line on
// its standard input and writes one JSON answer a line on its standard output.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

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
	Error       string   `json:"error,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "msgpackprobe:", err)
		os.Exit(1)
	}
}

func run() error {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for in.Scan() {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			return err
		}
		a, err := r.answer()
		if err != nil {
			a = answer{Error: err.Error()}
		}
		if err := encoder.Encode(a); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	return out.Flush()
}

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
