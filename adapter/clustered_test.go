package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// TestClusteredSuite runs the suite on a bus with the abilities that adaptertest.Cluster's does not have by itself.
func TestClusteredSuite(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			adaptertest.Run(t, nodes, func(t *testing.T, nodes int) []adapter.Builder {
				var c adaptertest.Cluster
				var builders []adapter.Builder
				for i := range nodes {
					builders = append(builders, observing{&c, adapter.NodeID(fmt.Sprint("n", i))})
				}
				return builders
			})
		})
	}
}

// observing builds nodes with observingBuses.
type observing struct {
	cluster *adaptertest.Cluster
	id      adapter.NodeID
}

func (o observing) Open(self adapter.Node, changed func(adapter.Node)) (adapter.Cluster, error) {
	self.ID = o.id
	return adapter.Join(self, changed, wrapped{o.cluster.Broker(o.id), func(b adapter.Bus) adapter.Bus { return &observingBus{Bus: b} }}, nil)
}

// observingBus wants to know the rooms, and answers for them when asked.
type observingBus struct {
	adapter.Bus
	mu    sync.Mutex
	rooms []string
}

func (b *observingBus) RoomCreated(room string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rooms = append(b.rooms, room)
}

func (b *observingBus) RoomDeleted(room string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rooms = slices.DeleteFunc(b.rooms, func(r string) bool { return r == room })
}

// WaitJoined does not need to wait, but knows whether it was told.
func (b *observingBus) WaitJoined(_ context.Context, rooms []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, room := range rooms {
		if !slices.Contains(b.rooms, room) {
			return fmt.Errorf("never heard of room %s", room)
		}
	}
	return nil
}

// TestOptionalInterfaces checks that the adapter has exactly the abilities of its bus.
func TestOptionalInterfaces(t *testing.T) {
	var c adaptertest.Cluster
	for name, tt := range map[string]struct {
		wrap            func(plain adapter.Bus) adapter.Bus
		observes, waits bool
	}{
		"plain": {nil, false, false},
		"observes": {func(plain adapter.Bus) adapter.Bus {
			return struct {
				adapter.Bus
				adapter.RoomObserver
			}{plain, &observingBus{Bus: plain}}
		}, true, false},
		"waits": {func(plain adapter.Bus) adapter.Bus {
			return struct {
				adapter.Bus
				adapter.JoinWaiter
			}{plain, &observingBus{Bus: plain}}
		}, false, true},
		"both": {func(plain adapter.Bus) adapter.Bus { return &observingBus{Bus: plain} }, true, true},
	} {
		a := mustJoin(t, &c, "a", adaptertest.NewNode("/"), tt.wrap)
		_, observes := a.(lone).Clustered.(adapter.RoomObserver)
		_, waits := a.(lone).Clustered.(adapter.JoinWaiter)
		if observes != tt.observes || waits != tt.waits {
			t.Errorf("%s: observes %v, waits %v", name, observes, waits)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNodesOfOneCutOff: who is there is not known before the broker could be reached once, and is from then on.
func TestNodesOfOneCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c adaptertest.Cluster
		c.Cut("a")
		cluster, err := adapter.Join(adapter.Node{ID: "a", Name: "a"}, nil, c.Broker("a"), nil)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(want error) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if nodes, err := cluster.Nodes(ctx); !errors.Is(err, want) || len(nodes) != 1 || nodes[0].ID != "a" {
				t.Errorf("%+v, error %v, want %v", nodes, err, want)
			}
		}
		ask(adapter.ErrClusterUnavailable)
		c.Heal("a")
		ask(nil)
		c.Cut("a")
		ask(nil)
		for range 2 {
			if err := cluster.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// host is a node that lets a test see and change what happens on it.
type host struct {
	*adaptertest.Node
	reply        func(reply func(parser.Payload))
	disconnected func()
	cancelled    atomic.Int32 // how often somebody stopped waiting for acknowledgements
}

func (h *host) DeliverWithAck(p *parser.Packet, sel adapter.Selection, flags adapter.Flags,
	onAck func(string, parser.Payload), onGone func(string)) (int, func() []string) {
	n, cancel := h.Node.DeliverWithAck(p, sel, flags, onAck, onGone)
	return n, func() []string {
		h.cancelled.Add(1)
		return cancel()
	}
}

func (h *host) DisconnectSockets(sel adapter.Selection, closeConn bool) {
	h.Node.DisconnectSockets(sel, closeConn)
	if h.disconnected != nil {
		h.disconnected()
	}
}

func (h *host) OnServerSideEmit(_ parser.Payload, reply func(parser.Payload)) <-chan struct{} {
	if reply != nil && h.reply != nil {
		h.reply(reply)
	}
	return nil
}

// network is a cluster of nodes named a, b, c..., with two sockets each: a1, a2 and so on.
type network struct {
	adaptertest.Cluster
	adapters map[adapter.NodeID]adapter.Clustered
	hosts    map[adapter.NodeID]*host
	sockets  map[string]*adaptertest.Socket
}

// bubble runs a test of a network of three nodes on virtual time. All goroutines have to end with it.
func bubble(t *testing.T, test func(t *testing.T, n *network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &network{
			adapters: make(map[adapter.NodeID]adapter.Clustered),
			hosts:    make(map[adapter.NodeID]*host),
			sockets:  make(map[string]*adaptertest.Socket),
		}
		for _, id := range []adapter.NodeID{"a", "b", "c"} {
			n.add(t, id)
		}
		settle()
		test(t, n)
		ended := time.Now()
		for id, a := range n.adapters {
			if p := a.Pending(); p != 0 {
				t.Errorf("%d questions of %s are pending", p, id)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(ended); d != 0 {
			t.Errorf("Close waited for %v", d)
		}
	})
}

func (n *network) add(t *testing.T, id adapter.NodeID) {
	h := &host{Node: adaptertest.NewNode("/"), reply: func(reply func(parser.Payload)) {
		reply(parser.Payload{JSON: []byte(id)})
	}}
	n.adapters[id], n.hosts[id] = mustJoin(t, &n.Cluster, id, h, nil), h
	for i := 1; i <= 2; i++ {
		sid := fmt.Sprint(id, i)
		n.sockets[sid] = h.Connect(sid, "room")
		n.sockets[sid].Answer(func(*parser.Packet) (parser.Payload, bool) { return parser.Payload{JSON: []byte(sid)}, true })
	}
}

// conceal makes a node one of Node's.
func (n *network) conceal(t *testing.T, id adapter.NodeID) {
	if a := n.adapters[id]; a != nil {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	n.Conceal(id)
	n.add(t, id)
	settle()
}

// settle waits until the nodes know of each other what they serve.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func (n *network) silence(sids ...string) {
	for _, sid := range sids {
		n.sockets[sid].Answer(nil)
	}
}

// answer is what came of a question, as text.
type answer struct {
	values     string
	missing    []adapter.NodeID
	unanswered int
	err        error
	took       time.Duration
}

func (a answer) check(t *testing.T, what string, want answer) {
	t.Helper()
	if a.values != want.values || !slices.Equal(a.missing, want.missing) || a.unanswered != want.unanswered ||
		!errors.Is(a.err, want.err) || a.took != want.took {
		t.Errorf("%s: %+v, want %+v", what, a, want)
	}
}

func sorted(list []string) string {
	slices.Sort(list)
	return fmt.Sprint(list)
}

func newAnswer[T any](r adapter.Result[T], err error, began time.Time, text func(T) string) answer {
	var values []string
	for _, v := range r.Values {
		values = append(values, text(v))
	}
	slices.Sort(r.Missing)
	return answer{sorted(values), r.Missing, r.Unanswered, err, time.Since(began)}
}

// fetch asks a for all sockets.
func (n *network) fetch(ctx context.Context) answer {
	began := time.Now()
	r, err := n.adapters["a"].FetchSockets(ctx, adapter.Selection{}, adapter.Flags{})
	return newAnswer(r, err, began, func(d adapter.SocketDetails) string { return d.ID })
}

// serverSide makes a ask the servers.
func (n *network) serverSide(ctx context.Context) answer {
	began := time.Now()
	r, err := n.adapters["a"].ServerSideEmitWithAck(ctx, parser.Payload{JSON: []byte(`["who"]`)})
	return newAnswer(r, err, began, func(p parser.Payload) string { return string(p.JSON) })
}

// sink records acknowledgements.
type sink struct {
	mu       sync.Mutex
	expected int
	events   []string
}

func (s *sink) Expected(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected += n
}

func (s *sink) Ack(node adapter.NodeID, sid string, value parser.Payload) {
	s.note(fmt.Sprintf("%s/%s=%s", node, sid, value.JSON))
}

func (s *sink) Gone(node adapter.NodeID, sid string) { s.note(fmt.Sprintf("%s/%s!", node, sid)) }

func (s *sink) note(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
}

func (s *sink) taken() (events string, expected int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sorted(s.events), s.expected
}

var question = &parser.Packet{Type: parser.Event, Namespace: "/", ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["ask"]`)}}

// acks makes a ask all sockets. Nothing may come afterwards.
func (n *network) acks(t *testing.T, ctx context.Context, wantExpected int) answer {
	t.Helper()
	began := time.Now()
	s := new(sink)
	summary, err := n.adapters["a"].BroadcastWithAck(ctx, question, adapter.Selection{}, adapter.Flags{}, s)
	took := time.Since(began)
	events, expected := s.taken()
	if expected != wantExpected {
		t.Errorf("%d sockets expected, want %d", expected, wantExpected)
	}
	t.Cleanup(func() {
		if later, _ := s.taken(); later != events {
			t.Errorf("the sink was called after the end: %v, then %v", events, later)
		}
	})
	slices.Sort(summary.Missing)
	return answer{events, summary.Missing, summary.Unanswered, err, took}
}

// later runs f while the test goes on and hands over what it returned.
func later[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	synctest.Wait()
	return c
}

const (
	allSockets = "[a1 a2 b1 b2 c1 c2]"
	withoutC   = "[a1 a2 b1 b2]"
)
