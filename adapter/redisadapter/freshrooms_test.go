package redisadapter

import (
	"fmt"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestFreshRooms has sockets of other nodes join a room to which something is sent at once, before anybody can have subscribed to it, by the
// node, by an emitter, and by a node that has only heard of it. All of it arrives, once.
func TestFreshRooms(t *testing.T) {
	const rounds = 12
	server := redistest.Single(t)
	for name, build := range map[string]func(prefix string) flavour{
		"dynamic": func(prefix string) flavour {
			return NewSharded(clientOf(t, server), &ShardedOptions{ChannelPrefix: prefix})
		},
		"dynamic-private": func(prefix string) flavour {
			return NewSharded(clientOf(t, server), &ShardedOptions{ChannelPrefix: prefix, SubscriptionMode: DynamicPrivate})
		},
		"exact": func(prefix string) flavour {
			return NewPubSub(clientOf(t, server), &PubSubOptions{Key: prefix, ExactChannels: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to, hearer := join(t, build(name), "/chat"), join(t, build(name), "/chat"), join(t, build(name), "/chat")
			to.connect(t, "s")
			hearer.connect(t, "h")
			want := 0
			for i := range rounds {
				room := fmt.Sprint("node ", i)
				if err := from.adapter.SocketsJoin(adapter.Selection{Rooms: []string{"s", "h"}}, adapter.Flags{}, []string{room}); err != nil {
					t.Fatal(err)
				}
				send(t, from, room, room)
				want++
			}
			for i := range rounds {
				room := fmt.Sprint("heard ", i)
				if err := from.adapter.SocketsJoin(adapter.Selection{Rooms: []string{"s", "h"}}, adapter.Flags{}, []string{room}); err != nil {
					t.Fatal(err)
				}
				redistest.Eventually(t, "the other node hears of the room", func() bool { return hearer.HasRoom(room) })
				send(t, hearer, room, room)
				want++
			}
			if name != "exact" {
				mode := SubscriptionMode(name)
				e := NewShardedEmitter(clientOf(t, server), &ShardedEmitterOptions{name, mode}).Of("chat")
				for i := range rounds {
					room := fmt.Sprint("emitter ", i)
					if err := e.To("s", "h").SocketsJoin(within(t), room); err != nil {
						t.Fatal(err)
					}
					if err := e.To(room).Emit(within(t), room); err != nil {
						t.Fatal(err)
					}
					want++
				}
			}
			send(t, from, "end")
			to.hears(t, want+1)
			times := make(map[string]int)
			for _, packet := range to.got() {
				times[packet]++
			}
			if len(times) != want+1 || len(to.got()) != want+1 {
				t.Errorf("%d packets arrived, %d different ones, want %d: %v", len(to.got()), len(times), want+1, times)
			}
		})
	}
}
