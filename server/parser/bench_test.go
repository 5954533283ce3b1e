package parser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

type chatMessage struct {
	To      string `json:"to"`
	Message string `json:"message"`
	Seq     int    `json:"seq"`
}

var (
	chatText  = []byte(`27["send",{"to":"bob","message":"hello there","seq":12}]`)
	chatValue = chatMessage{To: "bob", Message: "hello there", Seq: 12}
	sinkBytes []byte
)

func BenchmarkDecodeEvent(b *testing.B) {
	for _, size := range []int{16, 1 << 10, 1 << 20} {
		text := []byte(`2["send","` + strings.Repeat("x", size) + `"]`)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var d jsonDecoder
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Text(nil, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeAndUnmarshal(b *testing.B) {
	var d jsonDecoder
	b.ReportAllocs()
	for b.Loop() {
		p, err := d.Text(nil, chatText)
		if err != nil {
			b.Fatal(err)
		}
		_, args, err := p.Event()
		if err != nil {
			b.Fatal(err)
		}
		var m chatMessage
		if err := args.Unmarshal(0, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeAttachment(b *testing.B) {
	text, data := []byte(`51-["file",{"name":"a.bin","data":{"_placeholder":true,"num":0}}]`), bytes.Repeat([]byte{7}, 1024)
	var d jsonDecoder
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Text(nil, text); err != nil {
			b.Fatal(err)
		}
		p, err := d.Binary(nil, data)
		if err != nil {
			b.Fatal(err)
		}
		_, args, err := p.Event()
		if err != nil {
			b.Fatal(err)
		}
		var file struct {
			Name string `json:"name"`
			Data []byte `json:"data"`
		}
		if err := args.Unmarshal(0, &file); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeEvent(b *testing.B) {
	raw := json.RawMessage(`{"to":"bob","message":"hello there","seq":12}`)
	for name, value := range map[string]any{
		"string": "hello there",
		"struct": &chatValue,
		"raw":    raw,
		"map":    map[string]any{"to": "bob", "message": "hello there", "seq": 12},
		"binary": []byte("hello there"),
		"relay":  Payload{JSON: raw},
		"long":   strings.Repeat("hello there ", 1000),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				payload, err := MarshalEvent("send", value)
				if err != nil {
					b.Fatal(err)
				}
				p := Packet{Type: Event, ID: 7, Payload: payload}
				sinkBytes = p.AppendText(sinkBytes[:0])
			}
		})
	}
}

// The time for a byte must not depend on the depth.
func BenchmarkUnmarshalNestedAttachment(b *testing.B) {
	for _, depth := range []int{1, 1000, 4000} {
		text := strings.Repeat("[", depth) + slot0 + strings.Repeat(",0", 100_000) + strings.Repeat("]", depth)
		p := Payload{JSON: json.RawMessage(text), Attachments: [][]byte{{1}}}
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				var v any
				if err := p.Unmarshal(&v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
