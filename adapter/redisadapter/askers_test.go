package redisadapter

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/envelope"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestAskersAreAnswered: who asks gets an answer with the id that it has asked with, also when the question is refused.
func TestAskersAreAnswered(t *testing.T) {
	const channel = "socket.io#/chat#"
	server := redistest.Single(t)
	rdb := clientOf(t, server).(*redis.Client)
	for _, tt := range []struct {
		name   string
		node   flavour
		listen func(channel string) *redis.PubSub
		verb   string
	}{
		{"sharded", NewSharded(rdb, nil), func(c string) *redis.PubSub { return rdb.SSubscribe(within(t), c) }, "SPUBLISH"},
		{"streams", NewStreams(rdb, nil), func(c string) *redis.PubSub { return rdb.Subscribe(within(t), c) }, "PUBLISH"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			join(t, tt.node, "/chat").connect(t, "s")
			asker, err := envelope.New("asker", "/chat", nil)
			if err != nil {
				t.Fatal(err)
			}
			answers := tt.listen(channel + "asker#")
			defer answers.Close()
			if _, err := answers.Receive(within(t)); err != nil {
				t.Fatal(err)
			}
			for _, q := range []struct {
				kind, data, id string
				want           adapter.Message
			}{
				{"7", `{"opts":{},"requestId":7}`, "7", adapter.Message{Kind: adapter.KindSockets, Sockets: make([]adapter.SocketDetails, 1)}},
				{"7", `{"opts":{"rooms":5},"requestId":{"a":1}}`, `{"a":1}`, adapter.Message{Kind: adapter.KindSockets}},
				{"3", `{"packet":{"type":2,"data":["e"]},"opts":{"rooms":["nobody"]},"requestId":null}`, "null", adapter.Message{Kind: adapter.KindCount}},
				{"3", `{"packet":{"type":2,"data":{}},"opts":{},"requestId":"q"}`, "q", adapter.Message{Kind: adapter.KindCount}},
			} {
				server.Do(tt.verb, channel, `{"type":`+q.kind+`,"data":`+q.data+`,"uid":"asker","nsp":"/chat"}`)
				got, err := answers.ReceiveMessage(within(t))
				if err != nil {
					t.Fatalf("%s: %v", q.data, err)
				}
				m, err := asker.Open(got.Payload)
				if err != nil || m.Kind != q.want.Kind || len(m.Sockets) != len(q.want.Sockets) || !strings.HasSuffix(m.Request, q.id) {
					t.Errorf("%s: answered %+v, error %v", q.data, m, err)
				}
			}
		})
	}
}
