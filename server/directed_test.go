package server_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// roomOn connects a client to each node, whose socket joins the room "r".
func roomOn(t *testing.T, nodes []*node) (clients []*peer, ids []server.NodeID) {
	t.Helper()
	for _, n := range nodes {
		c, s := n.connect(t)
		if err := s.Join(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		clients, ids = append(clients, c), append(ids, n.Node().ID)
	}
	return clients, ids
}

// TestNodes does each operation on some of three nodes.
func TestNodes(t *testing.T) {
	nodes, _ := startCluster(t, server.Options{})
	clients, ids := roomOn(t, nodes[:])
	first := nodes[0].Of("/")
	for _, some := range [][]int{{}, {0}, {1}, {0, 2}, {1, 2}, {0, 1, 2}} {
		t.Run(fmt.Sprint(some), func(t *testing.T) {
			var chosen []server.NodeID
			for _, i := range some {
				chosen = append(chosen, ids[i])
			}
			op := first.To("r").Nodes(chosen...)
			if err := errors.Join(op.Emit("some", some), op.SocketsJoin("x"), first.To("r").Emit("all")); err != nil {
				t.Fatal(err)
			}
			for i, c := range clients {
				if slices.Contains(some, i) {
					c.expect(fmt.Sprintf(`2["some",%s]`, asJSON(some)))
				}
				c.expect(`2["all"]`)
			}
			count, err := op.Count(t.Context())
			if err != nil || count.Sockets != len(some) || !count.Complete() {
				t.Errorf("count: %+v, error %v", count, err)
			}
			in, err := first.To("x").Count(t.Context())
			if err != nil || in.Sockets != len(some) {
				t.Errorf("in the room x: %+v, error %v", in, err)
			}
			names, err := op.IDs(t.Context())
			if err != nil || len(names.Values) != len(some) {
				t.Errorf("ids: %+v, error %v", names, err)
			}
			found, err := op.FetchSockets(t.Context())
			if err != nil || len(found.Values) != len(some) {
				t.Errorf("sockets: %+v, error %v", found, err)
			}
			if err := op.SocketsLeave("x"); err != nil {
				t.Error(err)
			}
		})
	}
}

func asJSON(numbers []int) string { return strings.ReplaceAll(fmt.Sprint(numbers), " ", ",") }

// TestNodesWithAck waits for the acknowledgements of two of three nodes.
func TestNodesWithAck(t *testing.T) {
	nodes, _ := startCluster(t, server.Options{})
	clients, ids := roomOn(t, nodes[:])
	type outcome struct {
		replies server.Replies[int]
		err     error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := server.BroadcastWithAck[int](t.Context(), nodes[0].Of("/").To("r").Nodes(ids[0], ids[2]), "q")
		done <- outcome{r, err}
	}()
	for _, i := range []int{0, 2} {
		id, _ := strings.CutSuffix(strings.TrimPrefix(clients[i].next(), "2"), `["q"]`)
		clients[i].send(fmt.Sprintf("3%s[%d]", id, i))
	}
	got := await(t, done)
	slices.Sort(got.replies.Values)
	if got.err != nil || !slices.Equal(got.replies.Values, []int{0, 2}) || got.replies.Expected != 2 {
		t.Errorf("%+v", got)
	}
}

// TestNodesUnreachable names nodes that nobody knows beside one that is there, which does its part.
func TestNodesUnreachable(t *testing.T) {
	nodes, _ := startCluster(t, server.Options{})
	clients, ids := roomOn(t, nodes[:])
	op := nodes[0].Of("/").To("r").Nodes("nobody", ids[1])
	err := op.Emit("some")
	var failed *server.NodeError
	if !errors.Is(err, server.ErrNodeUnreachable) || !errors.As(err, &failed) || failed.Node != "nobody" {
		t.Errorf("emit: %v", err)
	}
	clients[1].expect(`2["some"]`)
	count, err := op.Count(t.Context())
	if err != nil || count.Sockets != 1 || !slices.Equal(count.Missing, []server.NodeID{"nobody"}) {
		t.Errorf("count: %+v, error %v", count, err)
	}
	if err := nodes[0].Of("/").ServerSideEmitTo("nobody", "x"); !errors.Is(err, server.ErrNodeUnreachable) {
		t.Errorf("server-side emit: %v", err)
	}
	if _, err := server.ServerSideEmitWithAckTo[int](t.Context(), nodes[0].Of("/"), ids[0], "x"); !errors.Is(err, server.ErrNodeUnreachable) {
		t.Errorf("server-side emit to itself: %v", err)
	}
	alone := start(t, nil)
	if err := alone.Of("/").Except().Nodes(ids[0]).Emit("x"); !errors.Is(err, server.ErrNodeUnreachable) {
		t.Errorf("emit of a server that is alone: %v", err)
	}
	if err := alone.Of("/").Except().Nodes(alone.Node().ID).Emit("x"); err != nil {
		t.Errorf("emit of a server that is alone to itself: %v", err)
	}
}

// TestDirectedIsToldAndForwarded: the node that gets an event with holders is told, and sends it on.
func TestDirectedIsToldAndForwarded(t *testing.T) {
	nodes, _ := startCluster(t, server.Options{})
	clients, ids := roomOn(t, nodes[:])
	told := make(chan *server.Directed, 4)
	for _, n := range nodes[1:] {
		n.Of("/").OnDirected(func(d *server.Directed) { told <- d })
	}
	nodes[0].Of("/").OnDirected(func(d *server.Directed) { t.Errorf("told of %v", d.Rooms()) })
	receipts := make(chan server.NodeID, 4)
	op := nodes[0].Of("/").To("r").Nodes(ids[0], ids[1]).Receipt(func(to server.NodeID, r server.Receipt) {
		if r.Err != nil || r.Receivers != 1 {
			t.Errorf("receipt: %+v", r)
		}
		receipts <- to
	})
	if err := errors.Join(op.Emit("untold"), op.Holders(ids[0], ids[1]).Emit("told", 1)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if to := await(t, receipts); to != ids[1] {
			t.Errorf("receipt of %s", to)
		}
	}
	d := await(t, told)
	if d.From() != ids[0] || !slices.Equal(d.Rooms(), []string{"r"}) || !slices.Equal(d.Holders(), ids[:2]) {
		t.Errorf("told from %s, to rooms %v, with holders %v", d.From(), d.Rooms(), d.Holders())
	}
	if err := d.Forward(ids, ids[2]); err != nil {
		t.Fatal(err)
	}
	if d = await(t, told); d.From() != ids[1] || !slices.Equal(d.Holders(), ids) {
		t.Errorf("told from %s with holders %v", d.From(), d.Holders())
	}
	for _, c := range clients[:2] {
		c.expect(`2["untold"]`, `2["told",1]`)
	}
	clients[2].expect(`2["told",1]`)
}

// TestForeign: nodes that know the mark leave the event to those that do not.
func TestForeign(t *testing.T) {
	nodes, _ := startCluster(t, server.Options{})
	clients, _ := roomOn(t, nodes[:])
	op := nodes[0].Of("/").To("r")
	if err := errors.Join(op.Foreign().Emit("foreign"), op.Emit("own")); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		c.expect(`2["own"]`)
	}
}

// TestServerSideEmitTo: one node hears it, and answers.
func TestServerSideEmitTo(t *testing.T) {
	nodes, _ := startCluster(t, server.Options{})
	log := make(chan string, 4)
	for i, n := range nodes {
		n.Of("/").HandleServerSide("q", server.ServerSideFuncAck(func(_ context.Context, x int) (string, error) {
			log <- fmt.Sprint(i, x)
			return fmt.Sprint("node ", i), nil
		}))
	}
	second := nodes[1].Node().ID
	if err := nodes[0].Of("/").ServerSideEmitTo(second, "q", 1); err != nil {
		t.Fatal(err)
	}
	answer, err := server.ServerSideEmitWithAckTo[string](t.Context(), nodes[0].Of("/"), second, "q", 2)
	if err != nil || answer != "node 1" {
		t.Errorf("answer %q, error %v", answer, err)
	}
	for _, want := range []string{"1 1", "1 2"} {
		if got := await(t, log); got != want {
			t.Errorf("handled %q, want %q", got, want)
		}
	}
}

// TestOnRoomsChange is told of joins and leaves, by whom ever they were caused, but not of those that change nothing.
func TestOnRoomsChange(t *testing.T) {
	n := start(t, &server.Options{Adapter: adapter.Memory()})
	told := make(chan string, 8)
	remove := n.Of("/").OnRoomsChange(func(s *server.Socket, rooms []string) { told <- fmt.Sprint(rooms) })
	_, s := n.connect(t)
	for _, f := range []func() error{
		func() error { return s.Join(t.Context(), "a", "b") },
		func() error { return s.Join(t.Context(), "a") },
		func() error { s.Leave("b", "c"); return nil },
		func() error { s.Leave("b"); return nil },
		func() error { return n.Of("/").SocketsJoin("d") },
		func() error { return n.Of("/").SocketsLeave("d") },
		func() error { remove(); return s.Join(t.Context(), "e") },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"[a b]", "[b c]", "[d]", "[d]"} {
		if got := await(t, told); got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	}
	if len(told) > 0 {
		t.Errorf("told more: %s", <-told)
	}
}
