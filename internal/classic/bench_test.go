package classic

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
)

// benchMessages are the messages whose cost counts: one for each broadcast, question, acknowledgement.
func benchMessages(b *testing.B) map[string]*adapter.Message {
	packet := event(b, "/chat", "message", strings.Repeat("x", 64))
	return map[string]*adapter.Message{
		"broadcast": {Kind: adapter.KindBroadcast, Packet: packet, Selection: adapter.Selection{Rooms: []string{"room"}}},
		"question":  {Kind: adapter.KindBroadcast, Packet: packet, Selection: adapter.Selection{Rooms: []string{"room"}}, Request: "1"},
		"fetch":     {Kind: adapter.KindFetch, Selection: adapter.Selection{Rooms: []string{"room"}}, Request: "1"},
	}
}

func BenchmarkEncode(b *testing.B) {
	ours := codec(ourUID)
	for name, m := range benchMessages(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := ours.Encode(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	ours, theirs := codec(ourUID), codec(theirUID)
	for name, m := range benchMessages(b) {
		b.Run(name, func(b *testing.B) {
			_, body, err := theirs.Encode(m)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if name == "broadcast" {
					_, err = ours.DecodeBroadcast(body)
				} else {
					_, err = ours.DecodeRequest(body)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAck is the cost of an acknowledgement: writing it, and reading it on the node that asked.
func BenchmarkAck(b *testing.B) {
	ours, theirs := codec(ourUID), codec(theirUID)
	question := &adapter.Message{Request: sockeye.request(ours.requestID("1"))}
	ack := &adapter.Message{Kind: adapter.KindAck, Payload: event(b, "/chat", "ok").Payload, SocketID: "AAAAAAAAAAAAAAAAAAAA"}
	body, err := theirs.EncodeAnswer(question, ack)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := theirs.EncodeAnswer(question, ack); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ours.DecodeAnswer(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkUnread is the cost of what is dropped unread: a message that is one's own or not, an answer to another node.
func BenchmarkUnread(b *testing.B) {
	ours, theirs := codec(ourUID), codec(theirUID)
	_, frame, err := theirs.Encode(benchMessages(b)["broadcast"])
	if err != nil {
		b.Fatal(err)
	}
	answer, err := theirs.EncodeAnswer(&adapter.Message{Request: "n" + codec("uvwxy0").requestID("1")}, &adapter.Message{Kind: adapter.KindCount})
	if err != nil {
		b.Fatal(err)
	}
	body, reply := string(frame), string(answer)
	b.ReportAllocs()
	for b.Loop() {
		if ours.OwnBroadcast(body) || ours.OwnRequest(body) || ours.OwnAnswer(reply) || ours.MayAnswer(reply) {
			b.Fatal("taken")
		}
	}
}
