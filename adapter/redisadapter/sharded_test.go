package redisadapter

import (
	"context"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

var modes = []SubscriptionMode{Static, Dynamic, DynamicPrivate}

func sharded(mode SubscriptionMode) func(prefix string) func(rdb redis.UniversalClient) adapter.Builder {
	return func(prefix string) func(rdb redis.UniversalClient) adapter.Builder {
		return func(rdb redis.UniversalClient) adapter.Builder {
			return NewSharded(rdb, &ShardedOptions{ChannelPrefix: prefix, SubscriptionMode: mode})
		}
	}
}

func TestSharded(t *testing.T) {
	server := redistest.Single(t)
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			adaptertest.Run(t, 3, everyNode(func() redis.UniversalClient { return server.Client() }, sharded(mode)))
		})
	}
}

// TestShardedCluster: with a hash tag all channels are on one master and everything keeps its order.
func TestShardedCluster(t *testing.T) {
	servers := redistest.Cluster(t)
	client := func() redis.UniversalClient { return servers.Client() }
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			var exceptions []adaptertest.Exception
			if mode != Static {
				exceptions = append(exceptions, adaptertest.OrderPerSelection)
			}
			adaptertest.Run(t, 3, everyNode(client, sharded(mode)), exceptions...)
		})
	}
	t.Run("hash tag", func(t *testing.T) {
		adaptertest.Run(t, 3, everyNode(client, func(prefix string) func(rdb redis.UniversalClient) adapter.Builder {
			return sharded(Dynamic)("{" + prefix + "}")
		}))
	})
}

const (
	idLike = "AAAAAAAAAAAAAAAAAAAA"
	oldID  = "/chat#BBBBBBBBBBBBBBBBBBBB" // of a socket of protocol version 2
)

// TestShardedChannels: a message must be published where the nodes concerned listen, those of npm included: in dynamic
// mode they subscribe to rooms that are no ids, and publish on the channels of rooms that are not 20 units long.
func TestShardedChannels(t *testing.T) {
	const main = "p#/chat#"
	to := func(rooms ...string) *adapter.Message {
		return &adapter.Message{Kind: adapter.KindBroadcast, Selection: adapter.Selection{Rooms: rooms}}
	}
	question := to("room")
	question.Request = "q"
	for _, tt := range []struct {
		m                   *adapter.Message
		dynamic, dynPrivate string // "" is the main channel
	}{
		{to(), "", ""},
		{to("a", "b"), "", ""},
		{question, "", ""},
		{&adapter.Message{Kind: adapter.KindJoin, Selection: adapter.Selection{Rooms: []string{"room"}}}, "", ""},
		{to("room"), "room", "room"},
		{to(""), "", ""}, // the room without a name, whose channel has one of its own
		{to(idLike), "", idLike},
		{to(idLike + "A"), idLike + "A", idLike + "A"},
		{to("☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃"), "", "☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃"}, // 20 units, 60 bytes
		{to("😀😀😀😀😀😀😀😀😀😀"), "", "😀😀😀😀😀😀😀😀😀😀"},                     // 20 units, 40 bytes
		{to("😀😀😀😀😀"), "😀😀😀😀😀", "😀😀😀😀😀"},                          // 10 units, 20 bytes
		{to(oldID), "", oldID},
	} {
		for mode, room := range map[SubscriptionMode]string{Static: "", Dynamic: tt.dynamic, DynamicPrivate: tt.dynPrivate} {
			want := main
			if room != "" || mode != Static && slices.Equal(tt.m.Selection.Rooms, []string{""}) {
				want = main + room + "#"
			}
			if got := channelsOf("p", "/chat", mode).of(tt.m); got != want {
				t.Errorf("%s, rooms %q: channel %q, want %q", mode, tt.m.Selection.Rooms, got, want)
			}
		}
	}
	for room, want := range map[string][3]bool{
		"room": {false, true, true}, idLike: {false, false, true}, oldID: {false, true, true},
	} {
		for i, mode := range modes {
			if got := channelsOf("p", "/chat", mode).has(room); got != want[i] {
				t.Errorf("%s: room %q has a channel: %v", mode, room, got)
			}
		}
	}
}

// TestShardedInterest: what is for rooms that nobody is in does not even arrive in the dynamic modes.
func TestShardedInterest(t *testing.T) {
	server := redistest.Single(t)
	for mode, received := range map[SubscriptionMode]uint64{Static: 4, Dynamic: 3, DynamicPrivate: 2} {
		t.Run(string(mode), func(t *testing.T) {
			build := func() *Sharded {
				return NewSharded(clientOf(t, server), &ShardedOptions{ChannelPrefix: "p" + string(mode), SubscriptionMode: mode})
			}
			from, to := join(t, build(), "/chat"), join(t, build(), "/chat")
			to.connect(t, "s", "here")
			before := to.builder.Stats()
			send(t, from, "foreign", "elsewhere")
			send(t, from, "foreign", idLike)
			send(t, from, "here", "here")
			send(t, from, "all")
			if got, want := to.hears(t, 2), []string{`2/chat,["here"]`, `2/chat,["all"]`}; !slices.Equal(got, want) {
				t.Errorf("delivered %q, want %q", got, want)
			}
			after := to.builder.Stats()
			if got := after.Received - before.Received; got != received {
				t.Errorf("received %d messages, want %d", got, received)
			}
			if got := after.Foreign - before.Foreign; got != received-2 {
				t.Errorf("%d messages were foreign, want %d", got, received-2)
			}
		})
	}
}

// TestShardedOldSocket: Node publishes what is for a socket of protocol version 2 on a channel that Node does not
// subscribe to.
func TestShardedOldSocket(t *testing.T) {
	server := redistest.Single(t)
	m := join(t, NewSharded(clientOf(t, server), nil), "/chat")
	m.connect(t, oldID)
	body := `{"type":3,"data":{"packet":{"type":2,"data":["hello"]},"opts":{"rooms":["` + oldID + `"],"except":[],"flags":{}}},"uid":"0123456789abcdef","nsp":"/chat"}`
	if n := server.Do("SPUBLISH", "socket.io#/chat#"+oldID+"#", body); n != int64(1) {
		t.Fatalf("%v nodes listen", n)
	}
	if got := m.hears(t, 1); !slices.Equal(got, []string{`2/chat,["hello"]`}) {
		t.Errorf("delivered %q", got)
	}
}

func TestShardedNodes(t *testing.T) {
	server := redistest.Single(t)
	build := func() *Sharded { return NewSharded(clientOf(t, server), &ShardedOptions{ChannelPrefix: "p[*]"}) }
	a, b := join(t, build(), "/chat"), join(t, build(), "/chat")
	join(t, build(), "/") // of another namespace
	a.connect(t, "s", "0123456789abcdef", "room")
	for _, m := range []*member{a, b} {
		if n, err := m.adapter.ServerCount(within(t)); err != nil || n != 2 {
			t.Errorf("%d servers, %v", n, err)
		}
	}
	if err := NewShardedEmitter(clientOf(t, server), &ShardedEmitterOptions{ChannelPrefix: "p[*]"}).Of("/chat").Emit(within(t), "x"); err != nil {
		t.Fatal(err)
	}
	a.hears(t, 1)
	if n, err := a.adapter.ServerCount(within(t)); err != nil || n != 2 {
		t.Errorf("%d servers with an emitter, %v", n, err)
	}
}

func TestShardedBadFrames(t *testing.T) {
	server := redistest.Single(t)
	m := join(t, NewSharded(clientOf(t, server), nil), "/chat")
	m.connect(t, "s")
	for _, body := range []string{"", "{", "\xc1", `{"type":3,"data":{},"uid":"u","nsp":"/chat"}`} {
		server.Do("SPUBLISH", "socket.io#/chat#", body)
	}
	server.Do("SPUBLISH", "socket.io#/chat#", `{"type":3,"data":{"packet":{"type":2,"data":["good"]},"opts":{"rooms":[],"except":[]}},"uid":"u","nsp":"/chat"}`)
	m.hears(t, 1)
	if s := m.builder.Stats(); s.BadFrames != 4 {
		t.Errorf("%d bad frames", s.BadFrames)
	}
}

func TestShardedUnknownMode(t *testing.T) {
	s := NewSharded(idle(t), &ShardedOptions{SubscriptionMode: "all"})
	if c, err := s.Open(adapter.Node{ID: "a", Name: "a"}, nil); err == nil {
		c.Close()
		t.Error("an unknown mode is taken")
	}
	e := NewShardedEmitter(idle(t), &ShardedEmitterOptions{SubscriptionMode: "all"})
	if err := e.Emit(context.Background(), "x"); err == nil {
		t.Error("an emitter takes an unknown mode")
	}
}

// TestEmitters: the other flavours' emitters reach nodes as NewPubSubEmitter does.
func TestEmitters(t *testing.T) {
	server := redistest.Single(t)
	for name, f := range map[string]struct {
		node    flavour
		emitter *Emitter
	}{
		"static":          {NewSharded(clientOf(t, server), &ShardedOptions{ChannelPrefix: "s", SubscriptionMode: Static}), NewShardedEmitter(clientOf(t, server), &ShardedEmitterOptions{"s", Static})},
		"dynamic":         {NewSharded(clientOf(t, server), nil), NewShardedEmitter(clientOf(t, server), nil)},
		"dynamic-private": {NewSharded(clientOf(t, server), &ShardedOptions{ChannelPrefix: "d", SubscriptionMode: DynamicPrivate}), NewShardedEmitter(clientOf(t, server), &ShardedEmitterOptions{"d", DynamicPrivate})},
		"streams":         {NewStreams(clientOf(t, server), nil), NewStreamsEmitter(clientOf(t, server), nil)},
		// The nodes' own messages in this namespace take the stream "many--3".
		"many streams": {NewStreams(clientOf(t, server), &StreamsOptions{StreamName: "many", StreamCount: 4}),
			NewStreamsEmitter(clientOf(t, server), &StreamsEmitterOptions{StreamName: "many", StreamCount: 4})},
	} {
		t.Run(name, func(t *testing.T) {
			m := join(t, f.node, "/notifications")
			s := m.connect(t, "s1", "r")
			m.connect(t, "s2")
			e := f.emitter.Of("notifications")
			ctx := within(t)
			for _, err := range []error{
				e.To("r").SocketsJoin(ctx, "one", "two"),
				e.SocketsLeave(ctx, "two"),
				e.To("r").Volatile().Compress(false).Emit(ctx, "flags"),
				e.To("r", "x").Emit(ctx, "binary", []byte{1}),
				e.To("nowhere").Emit(ctx, "lost"),
				e.ServerSideEmit(ctx, "side", 1),
				e.In("one").DisconnectClients(ctx),
				e.Emit(ctx, "last"),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			want := []string{`2/notifications,["flags"]`, `51-/notifications,["binary",{"_placeholder":true,"num":0}]`, `2/notifications,["last"]`}
			if got := m.hears(t, 3); !slices.Equal(got, want) {
				t.Errorf("delivered %q, want %q", got, want)
			}
			if rooms := s.Rooms(); len(rooms) > 0 {
				t.Errorf("a disconnected socket is in %q", rooms)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.flags[0] != (adapter.Flags{Volatile: true, NoCompress: true}) {
				t.Errorf("flags %+v", m.flags)
			}
			if !slices.Equal(m.events, []string{`["side",1]`}) || !slices.Equal(m.closing, []bool{true}) {
				t.Errorf("server-side events %q, disconnects %v", m.events, m.closing)
			}
		})
	}
}
