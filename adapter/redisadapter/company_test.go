package redisadapter

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestBothForms: a room that is a whole number is written for Node.js nodes, too, as soon as something listens that is no Sockeye node, and
// only then. Emitters, which do not know, do so always.
func TestBothForms(t *testing.T) {
	server := redistest.Single(t)
	rdb := clientOf(t, server).(*redis.Client)
	next := func(sub *redis.PubSub) func() string {
		if _, err := sub.Receive(within(t)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sub.Close() })
		return func() string {
			m, err := sub.ReceiveMessage(within(t))
			if err != nil {
				t.Fatal(err)
			}
			return m.Payload
		}
	}
	for _, tt := range []struct {
		name    string
		build   func() flavour
		emitter *Emitter
		watch   func() func() string // returns what returns what was sent to the room last
		foreign func() *redis.PubSub // what listens where nodes do
		both    string
	}{
		{"pubsub", func() flavour { return NewPubSub(clientOf(t, server), nil) }, NewPubSubEmitter(rdb, nil),
			func() func() string { return next(rdb.Subscribe(within(t), "socket.io#/chat#43#")) },
			func() *redis.PubSub { return rdb.Subscribe(within(t), "socket.io-request#/chat#") }, "\xa5rooms\x92\xa243\x2b"},
		{"sharded", func() flavour { return NewSharded(clientOf(t, server), &ShardedOptions{ChannelPrefix: "sharded"}) },
			NewShardedEmitter(rdb, &ShardedEmitterOptions{ChannelPrefix: "sharded"}),
			func() func() string { return next(rdb.SSubscribe(within(t), "sharded#/chat#43#")) },
			func() *redis.PubSub { return rdb.SSubscribe(within(t), "sharded#/chat#") }, `"rooms":["43",43]`},
		{"streams", func() flavour { return NewStreams(clientOf(t, server), &StreamsOptions{ChannelPrefix: "streams"}) }, NewStreamsEmitter(rdb, nil),
			func() func() string {
				return func() string {
					var last string
					redistest.Eventually(t, "an entry is there", func() bool {
						entries, err := rdb.XRevRangeN(within(t), "socket.io", "+", "-", 1).Result()
						if err != nil || len(entries) == 0 {
							return false
						}
						last = entries[0].Values["data"].(string)
						return rdb.XDel(within(t), "socket.io", entries[0].ID).Err() == nil
					})
					return last
				}
			},
			func() *redis.PubSub { return rdb.Subscribe(within(t), "streams#/chat#") }, `"rooms":["43",43]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from, to := join(t, tt.build(), "/chat"), join(t, tt.build(), "/chat")
			known(t, serverOf(t, from.builder), serverOf(t, to.builder).Self().ID, "/chat")
			to.connect(t, "s", "43")
			sent := tt.watch()
			redistest.Eventually(t, "one form among Sockeye nodes", func() bool {
				send(t, from, "e", "43")
				return !strings.Contains(sent(), tt.both)
			})
			stranger := tt.foreign()
			defer stranger.Close()
			redistest.Eventually(t, "both forms beside others", func() bool {
				send(t, from, "e", "43")
				return strings.Contains(sent(), tt.both)
			})
			if err := tt.emitter.Of("chat").To("43").Emit(within(t), "last"); err != nil {
				t.Fatal(err)
			}
			if got := sent(); !strings.Contains(got, tt.both) {
				t.Errorf("an emitter has written %q", got)
			}
			redistest.Eventually(t, "the last one arrives", func() bool {
				got := to.got()
				return len(got) > 0 && got[len(got)-1] == `2/chat,["last"]`
			})
		})
	}
}
