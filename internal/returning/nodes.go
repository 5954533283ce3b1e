package returning

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// Builder makes the adapters of a node.
type Builder interface {
	server.AdapterBuilder
	Ready(ctx context.Context) error
}

// Node is a node whose clients can go on.
type Node struct {
	*server.Server
	Test *servertest.Server
}

// Dial implements Dialer.
func (n *Node) Dial(t testing.TB, opts *servertest.DialOptions) *servertest.Client {
	t.Helper()
	return n.Test.Dial(t, opts)
}

// Start starts a node until the end of the test, and waits until its broker is there.
func Start(t testing.TB, b Builder, name string, opts server.RecoveryOptions) *Node {
	t.Helper()
	srv, err := server.New(&server.Options{Adapter: b, NodeName: name, Logger: slog.New(slog.DiscardHandler), Recovery: &opts})
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{srv, servertest.New(t, srv, nil)}
	if err := b.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// Roam has clients go from node to node, some before their connection is known to be lost, while each node sends so many numbers:
// everybody gets everything once, in each sender's order.
func Roam(t testing.TB, nodes []*Node, clients, numbers int) {
	all := make([]*Counting, clients)
	if err := nodes[0].Of("/").Emit(WarmUp, 0); err != nil { // a stream that has never had anything knows no position
		t.Fatal(err)
	}
	for i := range all {
		all[i] = NewCounting(t)
		all[i].Settle(nodes[i%len(nodes)])
	}
	var sending, reading sync.WaitGroup
	for i, n := range nodes {
		sending.Go(func() { Send(t, n, fmt.Sprint("from", i), numbers, 2*time.Millisecond) })
	}
	for _, c := range all {
		reading.Go(func() { roam(t, c, nodes, len(nodes)*numbers) })
	}
	sending.Wait()
	reading.Wait()
	recovered, early := uint64(0), 0
	for _, n := range nodes {
		recovered += n.Stats().Recovery["recovered"]
	}
	for _, c := range all {
		early += c.Early
	}
	if recovered <= uint64(clients) { // each has gone on once before
		t.Error("nobody has come back")
	}
	t.Logf("%d times a client came back, %d events came without offset", recovered, early)
}

// Settle connects to a node and returns when the client can go on there: its session is in the store.
func (c *Counting) Settle(n *Node) {
	c.T.Helper()
	for c.Come(n); !c.Come(n); {
		c.Conn.Cut()
	}
}

// Send broadcasts the numbers from 0 on, one after each pause.
func Send(t testing.TB, n *Node, sender string, numbers int, pause time.Duration) {
	pace := time.NewTicker(pause)
	defer pace.Stop()
	for k := range numbers {
		<-pace.C
		if err := n.Of("/").Emit(sender, k); err != nil {
			t.Errorf("number %d: %v", k, err)
		}
	}
}

// roam has a client move now and then until it has seen enough.
func roam(t testing.TB, c *Counting, nodes []*Node, enough int) {
	for c.Seen < enough {
		c.Take(c.Read())
		if rand.IntN(60) > 0 {
			continue
		}
		c.Conn.Cut()
		if n := rand.IntN(len(nodes)); !c.Come(nodes[n]) {
			t.Errorf("a client did not go on at node %d: %v", n, nodes[n].Stats().Recovery)
			return
		}
	}
}

// Order checks that what ends a socket, or takes it out of a room, comes behind what was sent to it before.
func Order(t testing.TB, n *Node) {
	main := n.Of("/")
	for name, end := range map[string]func(s *server.Socket){
		"disconnect": func(s *server.Socket) {
			_ = s.Emit("bye", 1)
			s.Disconnect()
		},
		"leave": func(s *server.Socket) {
			_ = main.To("room").Emit("bye", 1)
			s.Leave("room")
		},
	} {
		c := Client{T: t}
		c.Come(n)
		s, _ := main.Socket(c.SID)
		if err := s.Join(t.Context(), "room"); err != nil {
			t.Fatal(err)
		}
		end(s)
		if text := c.Read(); !strings.HasPrefix(text, `42["bye",1`) {
			t.Errorf("%s: got %s", name, text)
		}
	}
}
