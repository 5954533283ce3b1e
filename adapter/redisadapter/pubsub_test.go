package redisadapter

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/classic"
	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// waitFor is how long tests wait for what has to happen.
const waitFor = 30 * time.Second

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), waitFor)
	t.Cleanup(cancel)
	return ctx
}

func clientOf(t testing.TB, server *redistest.Server) redis.UniversalClient {
	rdb := server.Client()
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

func TestPubSub(t *testing.T) {
	for name, opts := range map[string]PubSubOptions{
		"default":          {},
		"specific answers": {Key: "k[*]", PublishOnSpecificResponseChannel: true},
		"exact channels":   {ExactChannels: true},
	} {
		t.Run(name, func(t *testing.T) {
			adaptertest.Run(t, 3, func(t *testing.T, n int) []adapter.Builder {
				server := redistest.Single(t)
				builders := make([]adapter.Builder, n)
				for i := range builders {
					builders[i] = NewPubSub(clientOf(t, server), &opts)
				}
				return builders
			})
		})
	}
}

func keyed(prefix string) func(rdb redis.UniversalClient) adapter.Builder {
	return func(rdb redis.UniversalClient) adapter.Builder { return NewPubSub(rdb, &PubSubOptions{Key: prefix}) }
}

func TestPubSubCluster(t *testing.T) {
	servers := redistest.Cluster(t)
	adaptertest.Run(t, 3, everyNode(func() redis.UniversalClient { return servers.Client() }, keyed))
}

// witness is a node that remembers what an adapter does with it.
type witness struct {
	*adaptertest.Node

	mu sync.Mutex
	// Guarded by mu.
	packets []string // as text
	flags   []adapter.Flags
	events  []string // server-side
	closing []bool
}

func newWitness(namespace string) *witness { return &witness{Node: adaptertest.NewNode(namespace)} }

func (w *witness) Deliver(p *parser.Packet, sel adapter.Selection, flags adapter.Flags) {
	w.mu.Lock()
	w.packets = append(w.packets, string(p.AppendText(nil)))
	w.flags = append(w.flags, flags)
	w.mu.Unlock()
	w.Node.Deliver(p, sel, flags)
}

func (w *witness) OnServerSideEmit(args parser.Payload, reply func(parser.Payload)) <-chan struct{} {
	w.mu.Lock()
	w.events = append(w.events, string(args.JSON))
	w.mu.Unlock()
	if reply != nil {
		go reply(parser.Payload{JSON: []byte(`"pong"`)})
	}
	return nil
}

func (w *witness) DisconnectSockets(sel adapter.Selection, closeConn bool) {
	w.mu.Lock()
	w.closing = append(w.closing, closeConn)
	w.mu.Unlock()
	w.Node.DisconnectSockets(sel, closeConn)
}

func (w *witness) got() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.packets)
}

// pubSubNode is one node of a cluster, in the namespace /chat.
type pubSubNode struct {
	*PubSub
	adapter.Adapter
	*witness
	rdb redis.UniversalClient
}

func startPubSub(t testing.TB, server *redistest.Server, opts PubSubOptions) *pubSubNode {
	t.Helper()
	n := &pubSubNode{witness: newWitness("/chat"), rdb: clientOf(t, server)}
	n.PubSub = NewPubSub(n.rdb, &opts)
	a := adapterOf(t, n.PubSub, n.witness)
	n.Adapter = a
	if o, ok := a.(adapter.RoomObserver); ok {
		n.witness.Observe(o)
	}
	if err := n.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	return n
}

func chatEvent(t testing.TB, name string, args ...any) *parser.Packet {
	t.Helper()
	p, err := parser.MarshalEvent(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return &parser.Packet{Type: parser.Event, Namespace: "/chat", ID: parser.NoID, Payload: p}
}

// arrives waits until a packet has reached a node.
func arrives(t testing.TB, n *pubSubNode, text string) {
	t.Helper()
	redistest.Eventually(t, text+" arrives", func() bool { return slices.Contains(n.got(), text) })
}

func TestPubSubForeign(t *testing.T) {
	for name, tt := range map[string]struct {
		opts              PubSubOptions
		received, foreign uint64 // messages on the channel of a room that nobody is in
	}{
		"pattern": {PubSubOptions{}, 1, 1}, "exact channels": {PubSubOptions{ExactChannels: true}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Single(t)
			from, to := startPubSub(t, server, PubSubOptions{}), startPubSub(t, server, tt.opts)
			to.Connect("s", "here")
			if w, ok := to.Adapter.(adapter.JoinWaiter); ok {
				if err := w.WaitJoined(within(t), []string{"s", "here"}); err != nil {
					t.Fatal(err)
				}
			}
			before := to.Stats()
			for _, room := range []string{"elsewhere", "here", "s"} {
				if err := from.Broadcast(chatEvent(t, room), adapter.Selection{Rooms: []string{room}}, adapter.Flags{}); err != nil {
					t.Fatal(err)
				}
			}
			arrives(t, to, `2/chat,["here"]`)
			arrives(t, to, `2/chat,["s"]`)
			after := to.Stats()
			if got := after.Received - before.Received; got != 2+tt.received {
				t.Errorf("received %d messages, want %d", got, 2+tt.received)
			}
			if got := after.Foreign - before.Foreign; got != tt.foreign {
				t.Errorf("%d messages were foreign, want %d", got, tt.foreign)
			}
			if got := to.got(); len(got) != 2 {
				t.Errorf("delivered %q", got)
			}
		})
	}
}

// TestPubSubJoinThenBroadcast sends to a room what follows at once on the order to join it.
func TestPubSubJoinThenBroadcast(t *testing.T) {
	server := redistest.Single(t)
	from, to := startPubSub(t, server, PubSubOptions{}), startPubSub(t, server, PubSubOptions{})
	to.Connect("s")
	const rounds = 100
	for i := range rounds {
		room := fmt.Sprint("fresh", i)
		if err := from.Adapter.SocketsJoin(adapter.Selection{}, adapter.Flags{}, []string{room}); err != nil {
			t.Fatal(err)
		}
		if err := from.Broadcast(chatEvent(t, room), adapter.Selection{Rooms: []string{room}}, adapter.Flags{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := from.Broadcast(chatEvent(t, "end"), adapter.Selection{}, adapter.Flags{}); err != nil {
		t.Fatal(err)
	}
	arrives(t, to, `2/chat,["end"]`)
	if got := len(to.got()); got != rounds+1 {
		t.Errorf("%d packets arrived of %d", got, rounds+1)
	}
}

// TestPubSubExactLeave checks that nothing stays subscribed.
func TestPubSubExactLeave(t *testing.T) {
	server := redistest.Single(t)
	n := startPubSub(t, server, PubSubOptions{ExactChannels: true})
	s := n.Connect("s", "here")
	active := func() []string {
		list, err := n.rdb.PubSubChannels(within(t), "socket.io#*").Result()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(list)
		return list
	}
	await := func(want ...string) {
		t.Helper()
		redistest.Eventually(t, strings.Join(want, " and "), func() bool { return slices.Equal(active(), want) })
	}
	await("socket.io#/chat#", "socket.io#/chat#here#", "socket.io#/chat#s#")
	if err := n.Adapter.SocketsLeave(adapter.Selection{}, adapter.Flags{}, []string{"here"}); err != nil {
		t.Fatal(err)
	}
	await("socket.io#/chat#", "socket.io#/chat#s#")
	s.Disconnect()
	await("socket.io#/chat#")
	n.Connect("s2", "again")
	await("socket.io#/chat#", "socket.io#/chat#again#", "socket.io#/chat#s2#")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	await()
}

// TestPubSubBadFrames sends what no node sends to every channel, and then something that has to arrive.
func TestPubSubBadFrames(t *testing.T) {
	server := redistest.Single(t)
	var log logtest.Log
	logger := log.Logger()
	n := startPubSub(t, server, PubSubOptions{Options: Options{Logger: logger}})
	n.Connect("s", "r")
	uid := string(n.ID(t))
	codec := classic.New("socket.io", "/chat", uid, &classic.MessagePack{})
	var want uint64
	for _, channel := range []string{"socket.io#/chat#", "socket.io#/chat#r#", "socket.io-request#/chat#", "socket.io-response#/chat#", "socket.io-response#/chat#" + uid + "#"} {
		for _, body := range []string{"", "\xc1", "{", `{"requestId":"` + uid + `.x","type":8}`, "\x93\xc0\xc0\xc0", strings.Repeat("\x91", 1000)} {
			if err := n.rdb.Publish(within(t), channel, body).Err(); err != nil {
				t.Fatal(err)
			}
			directed := channel == codec.Private(uid) && codec.Shape(body) != classic.ShapeAnswer
			if directed || !strings.Contains(channel, "-response") || strings.Contains(body, uid) {
				want++ // others cannot be answers to this node
			}
		}
	}
	if err := NewPubSubEmitter(n.rdb, nil).Of("chat").Emit(within(t), "after"); err != nil {
		t.Fatal(err)
	}
	arrives(t, n, `2/chat,["after"]`)
	redistest.Eventually(t, "all bad frames are counted", func() bool { return n.Stats().BadFrames == want })
	if lines := log.Count("cannot be decoded"); lines != 1 {
		t.Errorf("%d lines about it:\n%s", lines, log.String())
	}
}

// TestPubSubOddSenders hears emitters in other languages, and tells whose message is refused, and why.
func TestPubSubOddSenders(t *testing.T) {
	server := redistest.Single(t)
	var log logtest.Log
	n := startPubSub(t, server, PubSubOptions{Options: Options{Logger: log.Logger()}})
	n.Connect("s", "r")
	publish := func(channel, body string) {
		t.Helper()
		if err := n.rdb.Publish(within(t), channel, body).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// pip socket.io-emitter: Of("/chat").Emit("python"); PHP's emitter; npm's adapter: except(undefined).emit("node").
	publish("socket.io#/chat#", "\x93\xa7emitter\x83\xa4data\x91\xa6python\xa4type\x02\xa3nsp\xa5/chat\x82\xa5flags\xa0\xa5rooms\xa0")
	publish("socket.io#/chat#r#", "\x93\xa7emitter\x83\xa4type\x02\xa4data\x91\xa3php\xa3nsp\xa5/chat\x82\xa5rooms\x91\xa1r\xa5flags\x90")
	publish("socket.io#/chat#", "\x93\xa6uvwxyz\x83\xa4type\x02\xa4data\x91\xa4node\xa3nsp\xa5/chat\x83\xa5rooms\x90\xa6except\x91\xc0\xa5flags\x80")
	for _, name := range []string{"python", "php", "node"} {
		arrives(t, n, `2/chat,["`+name+`"]`)
	}
	publish("socket.io#/chat#", "\x93\xa6uvwxyz\x83\xa4type\x02\xa4data\x91\xa1m\xa3nsp\xa5/chat\x81\xa5rooms\x05")
	redistest.Eventually(t, "the refused message is told", func() bool { return strings.Contains(log.String(), "cannot be decoded") })
	for _, part := range []string{"source=socket.io#/chat#", `uvwxyz`, "field opts.rooms: not a list of rooms"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log does not say %s:\n%s", part, log.String())
		}
	}
}

// ID is the node's uid, as Redis tells it.
func (n *pubSubNode) ID(t testing.TB) string {
	t.Helper()
	list, err := n.rdb.PubSubChannels(within(t), "socket.io-response#/chat#?*#").Result()
	if err != nil || len(list) != 1 {
		t.Fatalf("private channels %v, error %v", list, err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(list[0], "socket.io-response#/chat#"), "#")
}

// TestPubSubRequests puts the requests of other nodes, old ones among them, and compares the answers and where they come.
func TestPubSubRequests(t *testing.T) {
	server := redistest.Single(t)
	n := startPubSub(t, server, PubSubOptions{PublishOnSpecificResponseChannel: true})
	n.Connect("s", "r")
	uid := n.ID(t)
	shared, private := "socket.io-response#/chat#", "socket.io-response#/chat#peer-1#"
	peer := clientOf(t, server)
	answers := peer.Subscribe(within(t), shared, private)
	t.Cleanup(func() { answers.Close() })
	for range 2 {
		if _, err := answers.Receive(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ request, channel, answer string }{
		{`{"requestId":"1","type":0,"rooms":["r","x"]}`, shared, `{"requestId":"1","sockets":["s"],"uid":"UID"}`},
		{`{"uid":"peer-1","requestId":"2","type":0,"rooms":["x"]}`, private, `{"requestId":"2","sockets":[],"uid":"UID"}`},
		{`{"uid":"peer-1","requestId":"3","type":5,"opts":{"rooms":["r"],"except":[]}}`, private, `{"requestId":"3","sockets":[{"id":"s","handshake":{"url":"/s"},"rooms":["s","r"],"data":{"name":"s"}}],"uid":"UID"}`},
		{`{"uid":"peer-1","requestId":"4","type":6,"data":["ping"]}`, shared, `{"type":6,"requestId":"4","data":"pong","uid":"UID"}`},
		{`{"type":2,"sid":"nobody","room":"a","requestId":"5"}`, "", ""},
		{`{"type":2,"sid":"s","room":"a","requestId":"6"}`, shared, `{"requestId":"6"}`},
		{`{"uid":"peer-1","requestId":"7","type":1}`, private, `{"requestId":"7","rooms":["a","r","s"],"uid":"UID"}`},
		{`{"type":3,"sid":"s","room":"r","requestId":"8"}`, shared, `{"requestId":"8"}`},
		{`{"uid":"peer-1","requestId":"9","type":77}`, "", ""},
		{`{"uid":"peer-1","requestId":"10","type":7,"packet":{"type":2,"data":["q"]},"opts":{"rooms":["nowhere"],"except":[]}}`, private, `{"type":8,"requestId":"10","clientCount":0,"uid":"UID"}`},
		{`{"uid":"peer-1","requestId":"11","type":5,"opts":{"rooms":["a"],"except":["a"]}}`, private, `{"requestId":"11","sockets":[],"uid":"UID"}`},
		{`{"uid":"peer-1","requestId":13,"type":5,"opts":{"rooms":[null,"r"],"except":"","flags":[]}}`, private, `{"requestId":13,"sockets":[],"uid":"UID"}`},
		{`{"uid":7,"requestId":null,"type":0,"rooms":[null,{}]}`, shared, `{"requestId":null,"sockets":[],"uid":"UID"}`},
		{`{"uid":"peer-1","requestId":"14","type":5,"opts":{"rooms":5}}`, private, `{"requestId":"14","sockets":[],"uid":"UID"}`},
		{`{"uid":"peer-1","requestId":"15","type":7,"packet":{"type":2,"data":"x"},"opts":{}}`, private, `{"type":8,"requestId":"15","clientCount":0,"uid":"UID"}`},
		{`{"type":4,"sid":"s","close":true,"requestId":"12"}`, shared, `{"requestId":"12"}`},
	} {
		if err := peer.Publish(within(t), "socket.io-request#/chat#", tt.request).Err(); err != nil {
			t.Fatal(err)
		}
		if tt.answer == "" {
			continue
		}
		m, err := answers.ReceiveMessage(within(t))
		if err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(tt.answer, "UID", uid)
		if m.Channel != tt.channel || sortedRooms(t, m.Payload) != sortedRooms(t, want) {
			t.Errorf("%s:\n got %s on %s\nwant %s on %s", tt.request, m.Payload, m.Channel, want, tt.channel)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.closing, []bool{true}) {
		t.Errorf("disconnects %v", n.closing)
	}
}

// sortedRooms sorts what has no order in an answer.
func sortedRooms(t testing.TB, answer string) string {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatal(err)
	}
	if rooms, ok := v["rooms"].([]any); ok {
		slices.SortFunc(rooms, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPubSubGlob checks that a namespace with the letters of patterns hears itself and nothing else.
func TestPubSubGlob(t *testing.T) {
	server := redistest.Single(t)
	rdb := clientOf(t, server)
	builder := NewPubSub(rdb, nil)
	var nodes []*witness
	for _, namespace := range []string{`/a*[b]?\`, `/ax[b]y\`} {
		w := newWitness(namespace)
		adapterOf(t, builder, w)
		nodes = append(nodes, w)
	}
	if err := builder.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	for _, w := range nodes {
		if err := NewPubSubEmitter(rdb, nil).Of(w.Name()).Emit(within(t), "e"); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range nodes {
		want := "2" + w.Name() + `,["e"]`
		redistest.Eventually(t, want, func() bool { return slices.Contains(w.got(), want) })
	}
	if s := builder.Stats(); s.Received != 2 || s.Foreign != 0 {
		t.Errorf("received %d messages, %d of them foreign", s.Received, s.Foreign)
	}
}

// closer closes its adapter when a server-side event comes, as the end of a namespace's last socket does.
type closer struct {
	*witness
	adapter adapter.Adapter
	closed  chan error
}

func (c *closer) OnServerSideEmit(parser.Payload, func(parser.Payload)) <-chan struct{} {
	c.closed <- c.adapter.Close()
	return nil
}

func TestPubSubCloseWhileReceiving(t *testing.T) {
	server := redistest.Single(t)
	rdb := clientOf(t, server)
	builder := NewPubSub(rdb, nil)
	c := &closer{witness: newWitness("/"), closed: make(chan error, 1)}
	c.adapter = adapterOf(t, builder, c)
	if err := builder.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := NewPubSubEmitter(rdb, nil).ServerSideEmit(within(t), "close"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.closed:
		if err != nil {
			t.Error(err)
		}
	case <-within(t).Done():
		t.Fatal("Close did not return")
	}
}
