package redisadapter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// diary is a node that writes down what another one sends, of whatever kind, in the order in which it comes.
type diary struct {
	*witness
	mu      sync.Mutex
	entries []string
}

func (d *diary) note(entry string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, entry)
}

func (d *diary) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = nil
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.entries)
}

func (d *diary) Deliver(p *parser.Packet, sel adapter.Selection, flags adapter.Flags) {
	_, args, _ := p.Event()
	d.note(strings.Trim(string(args.At(0).JSON), `"`))
}

func (d *diary) SocketsJoin(_ adapter.Selection, rooms []string) { d.note(rooms[0]) }

// OnServerSideEmit writes the event down when its handler ends, on another goroutine.
func (d *diary) OnServerSideEmit(args parser.Payload, _ func(parser.Payload)) <-chan struct{} {
	handled := make(chan struct{})
	go func() {
		defer close(handled)
		d.note(strings.Trim(strings.TrimPrefix(string(args.JSON), `["event",`), `"]`))
	}()
	return handled
}

// TestOrderAcrossKinds sends everything that wants no answer, by turns. On one Redis all of it arrives in the order in which it was
// sent; where channels part, what is for all nodes does, and what is for one node or one room comes after what was sent to all before.
func TestOrderAcrossKinds(t *testing.T) {
	single, cluster := redistest.Single(t), redistest.Cluster(t)
	one := func() redis.UniversalClient { return clientOf(t, single) }
	many := func() redis.UniversalClient {
		rdb := cluster.Client()
		t.Cleanup(func() { rdb.Close() })
		return rdb
	}
	for name, tt := range map[string]struct {
		build  func() flavour
		parted bool
	}{
		"pubsub":                      {func() flavour { return NewPubSub(one(), nil) }, false},
		"sharded":                     {func() flavour { return NewSharded(one(), nil) }, false},
		"streams":                     {func() flavour { return NewStreams(one(), nil) }, true},
		"pubsub, Redis Cluster":       {func() flavour { return NewPubSub(many(), nil) }, false},
		"sharded, Redis Cluster":      {func() flavour { return NewSharded(many(), nil) }, true},
		"one slot of a Redis Cluster": {func() flavour { return NewSharded(many(), &ShardedOptions{ChannelPrefix: "{x}"}) }, false},
		"streams, Redis Cluster":      {func() flavour { return NewStreams(many(), &StreamsOptions{UseShardedPubSub: true}) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			from, b := join(t, tt.build(), "/chat"), tt.build()
			d := &diary{witness: newWitness("/chat")}
			a := adapterOf(t, b, d)
			if o, ok := a.(adapter.RoomObserver); ok {
				d.Observe(o)
			}
			d.Connect("s", "room")
			if w, ok := a.(adapter.JoinWaiter); ok {
				if err := w.WaitJoined(within(t), []string{"s", "room"}); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Ready(within(t)); err != nil {
				t.Fatal(err)
			}
			node := serverOf(t, b).Self().ID
			redistest.Eventually(t, "the other node is known", func() bool {
				r, err := from.adapter.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{Node: node})
				return err == nil && len(r.Values) == 1 && r.Values[0].Node == node && r.Complete()
			})
			// The order is given up where a message waits for longer than 100 ms, as on a machine that is busy elsewhere.
			redistest.Eventually(t, "nothing had to wait for too long", func() bool {
				late := a.(adapter.Clustered).Order().Late
				sendByTurns(t, from.adapter, d, node)
				return a.(adapter.Clustered).Order().Late == late
			})
			checkOrder(t, d.all(), tt.parted)
		})
	}
}

const turns = 200

// sendByTurns fills a diary anew.
func sendByTurns(t *testing.T, a adapter.Adapter, d *diary, node adapter.NodeID) {
	d.clear()
	for i := range turns {
		n := func(kind string) string { return kind + strconv.Itoa(i) }
		payload, err := parser.MarshalEvent("event", n("event "))
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			a.ServerSideEmit(payload),
			a.Broadcast(chatEvent(t, "x", n("all ")), adapter.Selection{}, adapter.Flags{}),
			a.SocketsJoin(adapter.Selection{Rooms: []string{"room"}}, adapter.Flags{}, []string{n("join ")}),
			a.Broadcast(chatEvent(t, "x", n("one ")), adapter.Selection{}, adapter.Flags{Node: node}),
			a.Broadcast(chatEvent(t, "x", n("room ")), adapter.Selection{Rooms: []string{"room"}}, adapter.Flags{}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	redistest.Eventually(t, "all of it arrives", func() bool { return len(d.all()) >= 5*turns })
}

func checkOrder(t *testing.T, got []string, parted bool) {
	t.Helper()
	var want []string
	for i := range turns {
		for _, kind := range []string{"event", "all", "join", "one", "room"} {
			want = append(want, fmt.Sprint(kind, " ", i))
		}
	}
	if !parted {
		compareOrder(t, got, want)
		return
	}
	aside := func(entry string) bool { return strings.HasPrefix(entry, "one") || strings.HasPrefix(entry, "room") }
	place := make(map[string]int)
	for i, entry := range got {
		place[entry] = i
	}
	compareOrder(t, slices.DeleteFunc(slices.Clone(got), aside), slices.DeleteFunc(want, aside))
	for i := range turns {
		for _, kind := range []string{"one", "room"} {
			if entry := fmt.Sprint(kind, " ", i); place[entry] < place[fmt.Sprint("join ", i)] {
				t.Errorf("%s came before what was sent to all nodes before", entry)
			}
		}
	}
}

func compareOrder(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("entry %d of %d is %q, want %q: %q", i, len(want), got[i], want[i], got[max(0, i-5):min(len(got), i+5)])
			}
		}
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
}
