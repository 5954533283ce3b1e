package servertest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

func readAll(stream []byte) (messages []Packet, controls int, err error) {
	r := bufio.NewReader(bytes.NewReader(stream))
	for {
		op, message, err := readMessage(r, func(websocket.Opcode, []byte) error {
			controls++
			return nil
		})
		if err != nil {
			return messages, controls, err
		}
		messages = append(messages, Packet{Data: string(message), Binary: op == websocket.OpBinary})
	}
}

func TestReadMessage(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	huge := binary.BigEndian.AppendUint64([]byte{0x82, 127}, 1<<62)
	tests := []struct {
		name     string
		stream   string
		messages []Packet
		controls int
		err      error
	}{
		{"nothing", "", nil, 0, io.EOF},
		{"text, binary", "\x81\x02hi\x82\x01\xff", []Packet{{Data: "hi"}, {Data: "\xff", Binary: true}}, 0, io.EOF},
		{"empty text", "\x81\x00", []Packet{{}}, 0, io.EOF},
		{"16-bit length", string(websocket.AppendFrame(nil, websocket.OpText, false, []byte(long[:300]))), []Packet{{Data: long[:300]}}, 0, io.EOF},
		{"64-bit length", string(websocket.AppendFrame(nil, websocket.OpText, false, []byte(long))), []Packet{{Data: long}}, 0, io.EOF},
		{"fragments around a ping", "\x01\x01a\x89\x01p\x00\x01b\x80\x01c", []Packet{{Data: "abc"}}, 1, io.EOF},
		{"cut in the header", "\x81", nil, 0, io.ErrUnexpectedEOF},
		{"cut in the length", "\x81\x7e\x01", nil, 0, io.ErrUnexpectedEOF},
		{"cut in the payload", "\x81\x05hi", nil, 0, io.ErrUnexpectedEOF},
		{"masked", "\x81\x82\x00\x00\x00\x00hi", nil, 0, errFrame},
		{"reserved bit", "\xc1\x02hi", nil, 0, errFrame},
		{"unknown opcode", "\x83\x00", nil, 0, errFrame},
		{"fragmented ping", "\x09\x00", nil, 0, errFrame},
		{"long ping", "\x89\x7e\x01\x00", nil, 0, errFrame},
		{"continuation of nothing", "\x80\x01c", nil, 0, errFrame},
		{"text within a message", "\x01\x01a\x81\x01b", nil, 0, errFrame},
		{"too long", string(huge), nil, 0, errFrame},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			messages, controls, err := readAll([]byte(tt.stream))
			if !slices.Equal(messages, tt.messages) || controls != tt.controls || !errors.Is(err, tt.err) {
				t.Errorf("%v, %d control frames, %v", messages, controls, err)
			}
		})
	}
}

// FuzzReadMessage checks that no bytes from a server make the client panic or take more than came, and that what the
// server's own functions write is read back.
func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("\x81\x02hi\x89\x00"), "text", []byte("binary"))
	f.Add([]byte("\x01\x01a\x80\x01b\x88\x02\x03\xe8"), "", []byte{})
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01z"), strings.Repeat("é", 200), bytes.Repeat([]byte{1}, 70_000))
	f.Fuzz(func(t *testing.T, stream []byte, text string, data []byte) {
		messages, _, err := readAll(stream)
		total := 0
		for _, m := range messages {
			total += len(m.Data)
		}
		if err == nil || total > len(stream) {
			t.Fatalf("%d bytes out of %d, %v", total, len(stream), err)
		}
		frames := websocket.AppendFrame(nil, websocket.OpText, false, []byte(text))
		frames = websocket.AppendFrame(frames, websocket.OpBinary, false, data)
		want := []Packet{{Data: text}, {Data: string(data), Binary: true}}
		if got, _, err := readAll(frames); err != io.EOF || !slices.Equal(got, want) {
			t.Fatalf("%v, %v, want %v", got, err, want)
		}
	})
}

func TestDecodePayload(t *testing.T) {
	tests := []struct {
		body string
		want []Packet
		ok   bool
	}{
		{"4a", []Packet{{Data: "4a"}}, true},
		{"2\x1e4a\x1eb/+8=\x1eb", []Packet{{Data: "2"}, {Data: "4a"}, {Data: "\xff\xef", Binary: true}, {Binary: true}}, true},
		{"", nil, false},
		{"4a\x1e", nil, false},
		{"b*", nil, false},
	}
	for _, tt := range tests {
		got, err := decodePayload(tt.body)
		if (err == nil) != tt.ok || !slices.Equal(got, tt.want) {
			t.Errorf("%q: %v, %v", tt.body, got, err)
		}
	}
}

// FuzzDecodePayload checks that what can be decoded is the same after encoding and decoding it again.
func FuzzDecodePayload(f *testing.F) {
	f.Add("4a\x1e2\x1ebAQID")
	f.Add("b")
	f.Add("")
	f.Fuzz(func(t *testing.T, body string) {
		packets, err := decodePayload(body)
		if err != nil {
			return
		}
		again, err := decodePayload(encodePayload(packets))
		if err != nil || !slices.Equal(again, packets) {
			t.Fatalf("%v, %v, want %v", again, err, packets)
		}
	})
}

func TestPacketString(t *testing.T) {
	tests := map[Packet]string{
		{Data: `40{"a":1}`}:                    `"40{\"a\":1}"`,
		{Data: "\x01\xff", Binary: true}:       "binary 01ff",
		{Data: "4" + strings.Repeat("x", 300)}: `"4` + strings.Repeat("x", 199) + `"... (301 bytes)`,
	}
	for p, want := range tests {
		if got := p.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
