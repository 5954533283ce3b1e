package redisadapter

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// flavour is what all builders are.
type flavour interface {
	adapter.Builder
	Ready(ctx context.Context) error
	Stats() Stats
}

// member is one node of a cluster, in one namespace.
type member struct {
	builder flavour
	adapter adapter.Adapter
	*witness
}

// nodes are the servers of tests, one for each builder.
var nodes sync.Map

// serverOf returns the only server of a builder.
func serverOf(t testing.TB, b adapter.Builder) adapter.Cluster {
	t.Helper()
	if c, ok := nodes.Load(b); ok {
		return c.(adapter.Cluster)
	}
	c := newServer(t, b)
	nodes.Store(b, c)
	t.Cleanup(func() { nodes.Delete(b) })
	return c
}

// newServer opens one more server.
func newServer(t testing.TB, b adapter.Builder) adapter.Cluster {
	t.Helper()
	c, err := b.Open(adapter.Node{ID: adapter.NewNodeID(), Name: t.Name() + string(adapter.NewNodeID())}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// adapterOf makes the adapter of a namespace of a builder's server.
func adapterOf(t testing.TB, b adapter.Builder, local adapter.Local) adapter.Adapter {
	t.Helper()
	a, err := serverOf(t, b).New(local)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func join(t testing.TB, b flavour, namespace string) *member {
	t.Helper()
	m := &member{builder: b, witness: newWitness(namespace)}
	a := adapterOf(t, b, m.witness)
	m.adapter = a
	if o, ok := a.(adapter.RoomObserver); ok {
		m.witness.Observe(o)
	}
	if err := b.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	return m
}

// connect adds a socket, whose rooms can be reached from other nodes when it returns.
func (m *member) connect(t testing.TB, id string, rooms ...string) *adaptertest.Socket {
	t.Helper()
	s := m.Connect(id, rooms...)
	if w, ok := m.adapter.(adapter.JoinWaiter); ok {
		if err := w.WaitJoined(within(t), append(rooms, id)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// hears waits until as many packets have reached a node, and returns them.
func (m *member) hears(t testing.TB, n int) []string {
	t.Helper()
	redistest.Eventually(t, "packets arrive", func() bool { return len(m.got()) >= n })
	return m.got()
}

// everyNode returns a function for adaptertest.Run.
func everyNode(client func() redis.UniversalClient, build func(prefix string) func(rdb redis.UniversalClient) adapter.Builder) adaptertest.NewCluster {
	return func(t *testing.T, n int) []adapter.Builder {
		one := build(t.Name()) // keeps the clusters on one Redis apart
		builders := make([]adapter.Builder, n)
		for i := range builders {
			rdb := client()
			t.Cleanup(func() { rdb.Close() })
			builders[i] = one(rdb)
		}
		return builders
	}
}

// TestFlavoursOverSentinel runs the suite with every flavour on a Redis that is found through Sentinel.
func TestFlavoursOverSentinel(t *testing.T) {
	servers := redistest.Sentinel(t)
	for name, build := range map[string]func(prefix string) func(rdb redis.UniversalClient) adapter.Builder{
		"pubsub": keyed, "sharded": sharded(Dynamic), "streams": streamed(StreamsOptions{}),
	} {
		t.Run(name, func(t *testing.T) {
			adaptertest.Run(t, 3, everyNode(func() redis.UniversalClient { return servers.Client() }, build))
		})
	}
}

func send(t testing.TB, from *member, name string, rooms ...string) {
	t.Helper()
	if err := from.adapter.Broadcast(chatEvent(t, name), adapter.Selection{Rooms: rooms}, adapter.Flags{}); err != nil {
		t.Fatal(err)
	}
}

// idle returns a client that never connects.
func idle(t testing.TB) redis.UniversalClient {
	rdb := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// TestReplacedNamespace: a dynamic namespace may be opened again before the adapter of the one before has closed.
func TestReplacedNamespace(t *testing.T) {
	server := redistest.Single(t)
	for name, build := range map[string]func() flavour{
		"pubsub":  func() flavour { return NewPubSub(clientOf(t, server), nil) },
		"sharded": func() flavour { return NewSharded(clientOf(t, server), nil) },
		"streams": func() flavour { return NewStreams(clientOf(t, server), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			from, b := join(t, build(), "/chat"), build()
			old, replacement := join(t, b, "/chat"), join(t, b, "/chat")
			old.connect(t, "s", "room")
			replacement.connect(t, "s", "room")
			if err := old.adapter.Close(); err != nil {
				t.Fatal(err)
			}
			send(t, from, "room", "room")
			send(t, from, "all")
			if got, want := replacement.hears(t, 2), []string{`2/chat,["room"]`, `2/chat,["all"]`}; !slices.Equal(got, want) {
				t.Errorf("delivered %q, want %q", got, want)
			}
			if n, err := from.adapter.ServerCount(within(t)); err != nil || n != 2 {
				t.Errorf("%d servers, %v", n, err)
			}
		})
	}
}

// TestSharedChannelName has a room of one namespace whose channel is called like the one of another namespace. Each hears
// its own messages, once, whichever of the two was there first, and when the other one has gone.
func TestSharedChannelName(t *testing.T) {
	server := redistest.Single(t)
	for name, build := range map[string]func() flavour{
		"pubsub":  func() flavour { return NewPubSub(clientOf(t, server), &PubSubOptions{ExactChannels: true}) },
		"sharded": func() flavour { return NewSharded(clientOf(t, server), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			from, b := build(), build()
			fromShort, fromLong := join(t, from, "/a"), join(t, from, "/a#b")
			short, long := join(t, b, "/a"), join(t, b, "/a#b")
			var wantShort, wantLong []string
			speak := func(stage string) {
				send(t, fromLong, stage)
				wantLong = append(wantLong, `2/a#b,["`+stage+`"]`)
				send(t, fromShort, stage, "b")
				wantShort = append(wantShort, `2/a,["`+stage+`"]`)
			}
			check := func(stage string) {
				t.Helper()
				send(t, fromShort, "end of "+stage) // a channel of its own: comes after what is wrong
				wantShort = append(wantShort, `2/a,["end of `+stage+`"]`)
				if got := short.hears(t, len(wantShort)); !slices.Equal(got, wantShort) {
					t.Fatalf("%s: /a heard %q, want %q", stage, got, wantShort)
				}
				if got := long.hears(t, len(wantLong)); !slices.Equal(got, wantLong) {
					t.Fatalf("%s: /a#b heard %q, want %q", stage, got, wantLong)
				}
			}
			s := short.connect(t, "s", "b")
			speak("the room is the second")
			check("the room is the second")

			s.Disconnect()
			send(t, fromLong, "the room has gone")
			wantLong = append(wantLong, `2/a#b,["the room has gone"]`)
			check("the room has gone")

			short.connect(t, "s2", "b")
			if err := long.adapter.Close(); err != nil {
				t.Fatal(err)
			}
			long, wantLong = join(t, b, "/a#b"), nil
			speak("the room is the first")
			check("the room is the first")

			if err := long.adapter.Close(); err != nil {
				t.Fatal(err)
			}
			send(t, fromShort, "the namespace has gone", "b")
			wantShort = append(wantShort, `2/a,["the namespace has gone"]`)
			check("the namespace has gone")
		})
	}
}

// TestAskAtOnce asks in a namespace that this node has only just got: as many nodes have to be counted, and their answers
// heard, as later.
func TestAskAtOnce(t *testing.T) {
	for name, build := range map[string]func(rdb redis.UniversalClient) flavour{
		"pubsub":  func(rdb redis.UniversalClient) flavour { return NewPubSub(rdb, nil) },
		"sharded": func(rdb redis.UniversalClient) flavour { return NewSharded(rdb, nil) },
		"streams": func(rdb redis.UniversalClient) flavour { return NewStreams(rdb, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Single(t)
			other, own := build(clientOf(t, server)), build(clientOf(t, server))
			join(t, own, "/")
			for i := range 20 {
				namespace := fmt.Sprint("/n", i)
				m := join(t, other, namespace)
				m.Connect("s")
				if n, err := m.adapter.ServerCount(within(t)); err != nil || n != 1 { // it has to count itself
					t.Fatalf("%s: %d servers, error %v", namespace, n, err)
				}
				a := adapterOf(t, own, newWitness(namespace))
				r, err := a.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{})
				if err != nil || !r.Complete() || len(r.Values) != 1 {
					t.Fatalf("%s: %d sockets of 1, %d nodes unanswered, error %v", namespace, len(r.Values), r.Unanswered, err)
				}
			}
		})
	}
}
