package adaptertest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Redirect implements adapter.Redirector: it records the event.
func (n *Node) Redirect(m *adapter.Message) {
	n.record(func() { n.redirected = append(n.redirected, m) })
}

// testDirected sends to one node what no other may hear, and to nodes that are not there. An adapter of a node that is alone has
// no nodes to send to.
func testDirected(t *testing.T, c *cluster) {
	a, last := c.adapters[0], len(c.nodes)-1
	d, ok := a.(adapter.Director)
	if !ok || last == 0 {
		return
	}
	to := c.nodeOf(t, last)
	others := adapter.Flags{Node: "nobody", Only: true}
	for what, err := range map[string]error{
		"broadcast":         a.Broadcast(event(t, "/chat", "no"), adapter.Selection{}, others),
		"join":              a.SocketsJoin(adapter.Selection{}, others, []string{"green"}),
		"disconnect":        a.DisconnectSockets(adapter.Selection{}, others, true),
		"server-side event": d.ServerSideEmitTo("nobody", event(t, "/chat", "no").Payload),
	} {
		if !errors.Is(err, adapter.ErrNodeUnreachable) {
			t.Errorf("%s to a node that is not there: %v", what, err)
		}
	}
	found, err := a.FetchSockets(patient(t), adapter.Selection{}, others)
	if !errors.Is(err, adapter.ErrNodeUnreachable) || !slices.Equal(found.Missing, []adapter.NodeID{"nobody"}) {
		t.Errorf("question to a node that is not there: %+v, error %v", found, err)
	}

	receipts := make(chan adapter.Receipt, 1)
	holders := []adapter.NodeID{to, "another"}
	flags := adapter.Flags{Node: to, Only: true, Volatile: true, Direction: &adapter.Direction{
		Holders: holders, Receipt: func(r adapter.Receipt) { receipts <- r },
	}}
	sel := adapter.Selection{Rooms: []string{"red"}}
	err = errors.Join(
		a.Broadcast(event(t, "/chat", "foreign"), adapter.Selection{}, adapter.Flags{Foreign: true}),
		a.Broadcast(event(t, "/chat", "directed", 1), sel, flags),
	)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-receipts:
		if r.Err != nil || r.Receivers != 1 && r.Receivers != -1 {
			t.Errorf("receipt: %+v", r)
		}
	case <-time.After(patience):
		t.Error("no receipt")
	}
	c.fenceTo(t, to)
	want := []string{fmt.Sprint("a", last), fmt.Sprint("b", last)}
	for id, list := range c.received(t) {
		if len(list) != 1 || list[0].Text != `2/chat,["directed",1]` || !slices.Contains(want, id) {
			t.Errorf("%s got %+v", id, list)
		}
	}
	c.checkRedirected(t, last, sel, holders)
	testAstray(t, c, to)
	testServerSideTo(t, c, d, to)
}

// testAstray sends to a node what is for a room that nobody is in there: the node is told all the same, because it may know better.
func testAstray(t *testing.T, c *cluster, to adapter.NodeID) {
	t.Helper()
	last := c.nodes[len(c.nodes)-1]
	last.record(func() { last.redirected = nil })
	binary := event(t, "/chat", "binary")
	binary.Payload = parser.Payload{JSON: []byte(`["binary",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1, 2}}}
	flags := adapter.Flags{Node: to, Only: true, Direction: &adapter.Direction{Holders: []adapter.NodeID{to}}}
	for _, p := range []*parser.Packet{event(t, "/chat", "text"), binary} {
		if err := c.adapters[0].Broadcast(p, adapter.Selection{Rooms: []string{"a room that nobody is in"}}, flags); err != nil {
			t.Fatal(err)
		}
	}
	c.fenceTo(t, to)
	for id, list := range c.received(t) {
		if len(list) > 0 {
			t.Errorf("%s got %+v", id, list)
		}
	}
	last.mu.Lock()
	defer last.mu.Unlock()
	if len(last.redirected) != 2 {
		t.Errorf("the node was told of %d broadcasts for a room that nobody is in, want 2", len(last.redirected))
	}
}

// fenceTo waits until a node has handled what the first one has sent to it alone: what is sent to all may overtake that where it takes
// another way, but a question to the node does not.
func (c *cluster) fenceTo(t *testing.T, node adapter.NodeID) {
	t.Helper()
	r, err := c.adapters[0].FetchSockets(patient(t), adapter.Selection{}, adapter.Flags{Node: node, Only: true})
	if err != nil || !r.Complete() {
		t.Fatalf("a question to one node: %+v, error %v", r, err)
	}
}

// nodeOf asks which node the sockets of the i-th one are on, until that has introduced itself and said that it serves the namespace.
func (c *cluster) nodeOf(t *testing.T, i int) adapter.NodeID {
	t.Helper()
	ctx := patient(t)
	for {
		found, err := c.adapters[0].FetchSockets(ctx, adapter.Selection{Rooms: []string{fmt.Sprint("a", i)}}, adapter.Flags{})
		if err != nil || len(found.Values) != 1 {
			t.Fatalf("%+v, error %v", found, err)
		}
		node := found.Values[0].Node
		if node == "" {
			continue
		}
		alone := adapter.Flags{Node: node, Only: true}
		if _, err := c.adapters[0].FetchSockets(ctx, adapter.Selection{Rooms: []string{"nobody is here"}}, alone); !errors.Is(err, adapter.ErrNodeUnreachable) {
			return node
		}
	}
}

// checkRedirected checks that one node has been told of one broadcast, and no other node of any.
func (c *cluster) checkRedirected(t *testing.T, i int, sel adapter.Selection, holders []adapter.NodeID) {
	t.Helper()
	for j, n := range c.nodes {
		n.mu.Lock()
		got := n.redirected
		n.mu.Unlock()
		switch {
		case j != i && len(got) > 0, j == i && len(got) != 1:
			t.Errorf("node %d was told of %d broadcasts", j, len(got))
		case j == i && (got[0].From == "" || !slices.Equal(got[0].Selection.Rooms, sel.Rooms) || !got[0].Flags.Volatile ||
			!slices.Equal(got[0].Flags.Direction.Holders, holders)):
			t.Errorf("node %d was told of %+v with %+v", j, got[0], got[0].Flags.Direction)
		}
	}
}

// testServerSideTo sends server-side events to the last node alone.
func testServerSideTo(t *testing.T, c *cluster, d adapter.Director, to adapter.NodeID) {
	answering := c.nodes[len(c.nodes)-1]
	answering.mu.Lock()
	answering.answer = func(args parser.Payload) parser.Payload { return args }
	answering.mu.Unlock()
	first, second := event(t, "/chat", "first").Payload, event(t, "/chat", "second").Payload
	if err := d.ServerSideEmitTo(to, first); err != nil {
		t.Fatal(err)
	}
	r, err := d.ServerSideEmitWithAckTo(patient(t), to, second)
	if err != nil || !r.Complete() || len(r.Values) != 1 || string(r.Values[0].JSON) != `["second"]` {
		t.Errorf("%+v, error %v", r, err)
	}
	c.received(t) // what was sent before the fence has been handled
	for i, n := range c.nodes {
		n.mu.Lock()
		got := slices.DeleteFunc(slices.Clone(n.events), func(e string) bool { return e != `["first"]` && e != `["second"]` })
		n.mu.Unlock()
		want := []string{}
		if n == answering {
			want = []string{`["first"]`, `["second"]`}
		}
		if !slices.Equal(got, want) {
			t.Errorf("node %d handled %v, want %v", i, got, want)
		}
	}
}
