package envelope

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
)

func broadcast(room string, bytes int) *adapter.Message {
	return &adapter.Message{Kind: adapter.KindBroadcast, Selection: adapter.Selection{Rooms: []string{room}},
		Packet: event(text(`["message","` + strings.Repeat("x", bytes) + `"]`))}
}

func BenchmarkSharded(b *testing.B) {
	m := broadcast("a", 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := away.Sharded(m); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is the cost of a broadcast for a room that somebody here is in, and for one that is foreign.
func BenchmarkOpen(b *testing.B) {
	for name, room := range map[string]string{"known": "a", "foreign": "x"} {
		b.Run(name, func(b *testing.B) {
			body, err := away.Sharded(broadcast(room, 64))
			if err != nil {
				b.Fatal(err)
			}
			text := string(body)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := here.Open(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
