// Package adaptertest has the conformance suite that every adapter passes, Run: the semantics of adapter.Adapter, checked
// on clusters of one or more nodes. It also has a Cluster in memory, for tests of applications that run on several nodes.
package adaptertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// NewCluster returns the builders of a fresh cluster, one for each node. What it opens it closes with t.Cleanup.
type NewCluster func(t *testing.T, nodes int) []adapter.Builder

// Exception is something that an adapter cannot promise in some setting.
type Exception uint8

// OrderPerSelection says that the packets of one publisher keep their order only among those with the same selection, as
// where they take different ways.
const OrderPerSelection Exception = 1

// Run runs the whole suite on clusters of the given number of nodes.
func Run(t *testing.T, nodes int, newCluster NewCluster, exceptions ...Exception) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, c *cluster)
	}{
		{"Broadcast", testBroadcast},
		{"Content", testContent},
		{"Flags", testFlags},
		{"Order", testOrder},
		{"Acks", testAcks},
		{"AcksNobody", testAcksNobody},
		{"AcksGone", testAcksGone},
		{"AcksCancelled", testAcksCancelled},
		{"AcksLate", testAcksLate},
		{"AcksBrokenOff", testAcksBrokenOff},
		{"FetchSockets", testFetchSockets},
		{"ListSockets", testListSockets},
		{"JoinLeave", testJoinLeave},
		{"Joined", testJoined},
		{"Disconnect", testDisconnect},
		{"ServerSideEmit", testServerSideEmit},
		{"ServerSideEmitWithAck", testServerSideEmitWithAck},
		{"Directed", testDirected},
		{"PartialResult", testPartialResult},
		{"Rooms", testRooms},
		{"ServerCount", testServerCount},
		{"Close", testClose},
		{"CloseEndsCalls", testCloseEndsCalls},
		{"NodeLeaves", testNodeLeaves},
		{"Concurrent", testConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, start(t, nodes, newCluster, exceptions)) })
	}
}

// cluster is a number of nodes with three sockets each: a in red, b in red and blue, c in nothing. A socket is called
// by its letter and its node's number.
type cluster struct {
	nodes    []*Node
	adapters []adapter.Adapter
	sockets  map[string]*Socket
	fences   int

	orderPerSelection bool
}

func start(t *testing.T, nodes int, newCluster NewCluster, exceptions []Exception) *cluster {
	c := &cluster{sockets: make(map[string]*Socket), orderPerSelection: slices.Contains(exceptions, OrderPerSelection)}
	for i, b := range newCluster(t, nodes) {
		n := NewNode("/chat")
		cl, err := b.Open(adapter.Node{ID: adapter.NewNodeID(), Name: fmt.Sprint("node", i)}, nil)
		if err != nil {
			t.Fatalf("node %d: %v", i, err)
		}
		a, err := cl.New(n)
		if err != nil {
			t.Fatalf("adapter of node %d: %v", i, err)
		}
		t.Cleanup(func() {
			if err := a.Close(); err != nil {
				t.Errorf("close adapter of node %d: %v", i, err)
			}
			if err := cl.Close(); err != nil {
				t.Errorf("close node %d: %v", i, err)
			}
		})
		if o, ok := a.(adapter.RoomObserver); ok {
			n.Observe(o)
		}
		c.nodes, c.adapters = append(c.nodes, n), append(c.adapters, a)
		for letter, rooms := range map[string][]string{"a": {"red"}, "b": {"red", "blue"}, "c": nil} {
			id := fmt.Sprint(letter, i)
			c.sockets[id] = n.Connect(id, rooms...)
		}
	}
	c.settle(t)
	return c
}

// settle waits until all nodes know each other and hear what goes to their rooms.
func (c *cluster) settle(t *testing.T) {
	t.Helper()
	ctx := patient(t)
	for i, a := range c.adapters {
		c.awaitCount(t, i, len(c.nodes))
		c.awaitJoined(ctx, t, a, c.nodes[i].Rooms())
	}
	c.fence(t)
}

// awaitCount waits until a node counts n servers.
func (c *cluster) awaitCount(t *testing.T, node, n int) {
	t.Helper()
	ctx := patient(t)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		count, err := c.adapters[node].ServerCount(ctx)
		if err == nil && count == n {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("node %d counts %d servers, not %d: %v", node, count, n, err)
		}
	}
}

// awaitJoined waits until what others send to the rooms arrives at the node of an adapter.
func (c *cluster) awaitJoined(ctx context.Context, t *testing.T, a adapter.Adapter, rooms []string) {
	t.Helper()
	if w, ok := a.(adapter.JoinWaiter); ok {
		if err := w.WaitJoined(ctx, rooms); err != nil {
			t.Fatalf("joining %v: %v", rooms, err)
		}
	}
}

// patient returns a context that ends with the suite's patience.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// fence publishes from every node and waits until every socket has seen it: because each publisher's packets keep their
// order, everything published before has arrived too, or never will.
func (c *cluster) fence(t *testing.T) {
	t.Helper()
	selections := []adapter.Selection{{}}
	if c.orderPerSelection {
		for _, n := range c.nodes {
			for _, room := range n.Rooms() {
				selections = append(selections, adapter.Selection{Rooms: []string{room}})
			}
		}
	}
	for i, a := range c.adapters {
		for _, sel := range selections {
			c.fences++
			mark := event(t, "/chat", "fence", c.fences)
			if err := a.Broadcast(mark, sel, adapter.Flags{}); err != nil {
				t.Fatalf("fence from node %d: %v", i, err)
			}
			want := delivery(mark, adapter.Flags{}).Text
			for j, n := range c.nodes {
				live := n.sockets(sel)
				n.await(t, fmt.Sprintf("fence from node %d on node %d", i, j), func() bool {
					return !slices.ContainsFunc(live, func(s *Socket) bool {
						return !slices.ContainsFunc(s.got, func(d Delivery) bool { return d.Text == want })
					})
				})
			}
		}
	}
}

// received returns, after a fence, which sockets got which packets, fences left out, and forgets them.
func (c *cluster) received(t *testing.T) map[string][]Delivery {
	t.Helper()
	c.fence(t)
	all := make(map[string][]Delivery)
	for id, s := range c.sockets {
		for _, d := range s.take() {
			if !strings.Contains(d.Text, `"fence"`) {
				all[id] = append(all[id], d)
			}
		}
	}
	return all
}

func event(t testing.TB, namespace, name string, args ...any) *parser.Packet {
	t.Helper()
	p, err := parser.MarshalEvent(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return &parser.Packet{Type: parser.Event, Namespace: namespace, ID: parser.NoID, Payload: p}
}

func ids[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for id := range m {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

// everywhere returns letter+number for each node.
func (c *cluster) everywhere(letters ...string) []string {
	var list []string
	for _, l := range letters {
		for i := range c.nodes {
			list = append(list, fmt.Sprint(l, i))
		}
	}
	slices.Sort(list)
	return list
}
