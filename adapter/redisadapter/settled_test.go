package redisadapter

import (
	"slices"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// busy is a node whose handlers of server-side events do not return.
type busy struct{ *witness }

func (busy) OnServerSideEmit(parser.Payload, func(parser.Payload)) <-chan struct{} {
	return make(chan struct{})
}

// TestRoomToBe has a join wait behind a server-side event: what is sent to the room after it must not be dropped because nobody is
// there yet.
func TestRoomToBe(t *testing.T) {
	server := redistest.Single(t)
	for name, tt := range map[string]struct {
		build func(rdb redis.UniversalClient) flavour
		rooms []string
	}{
		"pubsub, one room":  {func(rdb redis.UniversalClient) flavour { return NewPubSub(rdb, nil) }, []string{"new"}},
		"pubsub, two rooms": {func(rdb redis.UniversalClient) flavour { return NewPubSub(rdb, nil) }, []string{"new", "other"}},
		"sharded, static": {func(rdb redis.UniversalClient) flavour {
			return NewSharded(rdb, &ShardedOptions{SubscriptionMode: Static})
		}, []string{"new"}},
		"sharded, two rooms": {func(rdb redis.UniversalClient) flavour { return NewSharded(rdb, nil) }, []string{"new", "other"}},
		"streams":            {func(rdb redis.UniversalClient) flavour { return NewStreams(rdb, nil) }, []string{"new"}},
	} {
		t.Run(name, func(t *testing.T) {
			from, b := join(t, tt.build(clientOf(t, server)), "/chat"), tt.build(clientOf(t, server))
			to := busy{newWitness("/chat")}
			a := adapterOf(t, b, to)
			if o, ok := a.(adapter.RoomObserver); ok {
				to.Observe(o)
			}
			to.Connect("s")
			if err := b.Ready(within(t)); err != nil {
				t.Fatal(err)
			}
			payload, err := parser.MarshalEvent("event")
			if err != nil {
				t.Fatal(err)
			}
			if err := from.adapter.ServerSideEmit(payload); err != nil {
				t.Fatal(err)
			}
			if err := from.adapter.SocketsJoin(adapter.Selection{Rooms: []string{"s"}}, adapter.Flags{}, []string{"new"}); err != nil {
				t.Fatal(err)
			}
			send(t, from, "to the room", tt.rooms...)
			send(t, from, "end")
			want := []string{`2/chat,["to the room"]`, `2/chat,["end"]`}
			redistest.Eventually(t, "the end arrives", func() bool { return slices.Contains(to.got(), want[1]) })
			if got := to.got(); !slices.Equal(got, want) {
				t.Errorf("delivered %q, want %q", got, want)
			}
		})
	}
}

// TestJoinOfOne has a socket of a known node join a room to which something is sent at once, where what goes to one node and what
// goes to all take different ways.
func TestJoinOfOne(t *testing.T) {
	server := redistest.Single(t)
	build := func() flavour { return NewStreams(clientOf(t, server), nil) }
	from, to := join(t, build(), "/chat"), join(t, build(), "/chat")
	to.connect(t, "s")
	node := serverOf(t, to.builder).Self().ID
	known(t, serverOf(t, from.builder), node, "/chat")
	const rounds = 100
	for i := range rounds {
		room := strconv.Itoa(i)
		err := from.adapter.SocketsJoin(adapter.Selection{Rooms: []string{"s"}}, adapter.Flags{Node: node}, []string{room})
		if err != nil {
			t.Fatal(err)
		}
		send(t, from, "to the room", room)
		if _, err := from.adapter.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{}); err != nil { // one at a time
			t.Fatal(err)
		}
	}
	send(t, from, "end")
	redistest.Eventually(t, "the end arrives", func() bool { return slices.Contains(to.got(), `2/chat,["end"]`) })
	if n := len(to.got()); n != rounds+1 {
		t.Errorf("%d messages of %d have arrived", n, rounds+1)
	}
}
