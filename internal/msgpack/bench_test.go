package msgpack

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/server/parser"
)

// benchPayloads are a chat message, the same with an attachment, and a table of 200 rows.
func benchPayloads() map[string]parser.Payload {
	row := `{"id":12345,"name":"Anna Müller","score":17.25,"active":true,"tags":["one","two"]}`
	return map[string]parser.Payload{
		"message": payload(`["message",{"room":"lobby","user":"anna","text":"Good morning, everybody!","at":1700000000123}]`),
		"binary":  payload(`["file",{"name":"a.png","data":{"_placeholder":true,"num":0}}]`, strings.Repeat("x", 1024)),
		"table":   payload("[" + strings.Repeat(row+",", 199) + row + "]"),
	}
}

func BenchmarkAppendPayload(b *testing.B) {
	for name, p := range benchPayloads() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(p.JSON)))
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				var err error
				if dst, err = AppendPayload(dst[:0], Notepack, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, p := range benchPayloads() {
		frame, err := AppendPayload(nil, Notepack, p)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(frame, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
