package outage

import (
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

var scale = flag.Bool("scale", false, "count the bytes between the broker and 2, 5, 10 and 20 nodes, and print the table of docs/scaling.md")

// TestScale counts what goes between the broker and few nodes, or with -scale fits lines to more of them. It counts bytes, so that a busy
// machine makes no difference.
func TestScale(t *testing.T) {
	sizes, rest, messages := []int{2, 4}, time.Second, 50
	if *scale {
		sizes, rest, messages = []int{2, 5, 10, 20}, 15*time.Second, 1000
	}
	var table strings.Builder
	for _, f := range flavours {
		t.Run(f.Name, func(t *testing.T) {
			var points []Traffic
			for _, n := range sizes {
				p := traffic(t, f, n, rest, messages)
				t.Logf("%d nodes: %+v", n, p)
				points = append(points, p)
				for w := range ways {
					if least := float64(payload); p.Ways[w].Out < least || p.Ways[w].In < least {
						t.Errorf("%d nodes: a message to %v of %d bytes takes %+v", n, w, payload, p.Ways[w])
					}
				}
				if all := p.Ways[toAll].In; all < float64(payload*(n-1)) {
					t.Errorf("%d nodes get %.0f bytes of a message to all", n, all)
				}
			}
			fmt.Fprintf(&table, "| %s |", f.Name)
			for w := range ways {
				a, b := line(sizes, points, func(p Traffic) float64 { return p.Ways[w].In })
				fmt.Fprintf(&table, " %.0f | %.0f + %.0f n |", points[0].Ways[w].Out, a, b)
			}
			for _, p := range points {
				fmt.Fprintf(&table, " %.0f / %.0f |", p.Rest.Out, p.Rest.In)
			}
			table.WriteByte('\n')
		})
	}
	if *scale {
		t.Logf("bytes to the broker, from the broker to all n nodes, of a message to all, to a room at one node, to one node; to and from the broker "+
			"for each of %v nodes and second at rest:\n%s", sizes, table.String())
	}
}

// TestLine fits a line to points that are on one.
func TestLine(t *testing.T) {
	var points []Traffic
	for _, n := range []int{2, 5, 10} {
		points = append(points, Traffic{Rest: Bytes{In: 7 + 3*float64(n)}})
	}
	if a, b := line([]int{2, 5, 10}, points, func(p Traffic) float64 { return p.Rest.In }); a < 6.999 || a > 7.001 || b < 2.999 || b > 3.001 {
		t.Errorf("%v + %v n, want 7 + 3 n", a, b)
	}
}

// Bytes go out to the broker and come in from there.
type Bytes struct{ Out, In float64 }

// Traffic is what goes between the broker and the nodes.
type Traffic struct {
	Rest Bytes       // of one node in a second in which nobody says anything
	Ways [ways]Bytes // of all nodes for one message
}

// line returns the least squares line a + b n through a figure of the points.
func line(sizes []int, points []Traffic, of func(Traffic) float64) (a, b float64) {
	var sumX, sumY, sumXX, sumXY float64
	for i, n := range sizes {
		x, y := float64(n), of(points[i])
		sumX, sumY, sumXX, sumXY = sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	n := float64(len(sizes))
	b = (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX)
	return (sumY - b*sumX) / n, b
}

// traffic starts n nodes that reach the broker through counters. A socket at the second node is in a room.
func traffic(t *testing.T, f *Flavour, n int, rest time.Duration, messages int) (sum Traffic) {
	t.Helper()
	_, addr := f.Serve(t)
	c := newCounter(t, addr)
	ids, locals, nodes := make([]adapter.NodeID, n), make(scaleNodes, n), make([]adapter.Adapter, n)
	for i := range n {
		ids[i], locals[i] = adapter.NewNodeID(), &scaleNode{Node: adaptertest.NewNode(namespace)}
		nodes[i] = join(t, f.Node(t, addr, c.addr, func(adapter.BrokerState) {}), ids[i], locals[i])
		if o, ok := nodes[i].(adapter.RoomObserver); ok {
			locals[i].Observe(o)
		}
	}
	locals[1].Connect("b", room)
	if w, ok := nodes[1].(adapter.JoinWaiter); ok {
		if err := w.WaitJoined(t.Context(), []string{room}); err != nil {
			t.Fatal(err)
		}
	}
	redistest.Eventually(t, "the nodes know each other", func() bool {
		for _, a := range nodes {
			if known, err := a.ServerCount(t.Context()); err != nil || known != n {
				return false
			}
		}
		return true
	})
	for w := range ways {
		locals.say(t, nodes[0], ids[1], w, 10) // topics are known, buffers made
		before := c.read()
		locals.say(t, nodes[0], ids[1], w, messages)
		sum.Ways[w] = c.read().minus(before).over(float64(messages))
	}
	before, began := c.read(), time.Now()
	hold(rest)
	sum.Rest = c.read().minus(before).over(time.Since(began).Seconds() * float64(n))
	return sum
}

// scaleNodes are all of a cluster, the first of which speaks.
type scaleNodes []*scaleNode

// say has the first node send, and waits until everything has arrived.
func (l scaleNodes) say(t *testing.T, from adapter.Adapter, to adapter.NodeID, w way, messages int) {
	t.Helper()
	want := make([]int64, len(l))
	for i := range l {
		want[i] = l[i].got.Load()
		if i == 1 || i > 1 && w == toAll {
			want[i] += int64(messages)
		}
	}
	event, err := parser.MarshalEvent("n", strings.Repeat("x", payload))
	if err != nil {
		t.Fatal(err)
	}
	sel, flags := adapter.Selection{}, adapter.Flags{}
	switch w {
	case toRoom:
		sel.Rooms = []string{room}
	case toNode:
		flags = adapter.Flags{Node: to, Only: true}
	}
	for range messages {
		p := &parser.Packet{Type: parser.Event, Namespace: namespace, ID: parser.NoID, Payload: event}
		if err := from.Broadcast(p, sel, flags); err != nil {
			t.Fatal(err)
		}
	}
	redistest.Eventually(t, "everything arrives", func() bool {
		for i := range l {
			if l[i].got.Load() < want[i] {
				return false
			}
		}
		return true
	})
}

// scaleNode counts what it is to deliver.
type scaleNode struct {
	*adaptertest.Node
	got atomic.Int64
}

// Deliver implements adapter.Local.
func (n *scaleNode) Deliver(*parser.Packet, adapter.Selection, adapter.Flags) { n.got.Add(1) }

func (b Bytes) minus(o Bytes) Bytes  { return Bytes{b.Out - o.Out, b.In - o.In} }
func (b Bytes) over(n float64) Bytes { return Bytes{b.Out / n, b.In / n} }

// counter is a way to a broker that counts bytes.
type counter struct {
	addr    string
	out, in atomic.Int64
}

func newCounter(t *testing.T, broker string) *counter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{addr: l.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", broker)
			if err != nil {
				_ = client.Close()
				continue
			}
			running.Go(func() { pass(server, client, &c.out) })
			running.Go(func() { pass(client, server, &c.in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait() // the nodes have closed their connections
	})
	return c
}

func (c *counter) read() Bytes { return Bytes{float64(c.out.Load()), float64(c.in.Load())} }

// pass copies until one side ends, and counts.
func pass(to, from net.Conn, count *atomic.Int64) {
	defer to.Close()
	defer from.Close()
	_, _ = io.Copy(io.MultiWriter(counted{count}, to), from) // what has arrived is counted
}

type counted struct{ n *atomic.Int64 }

func (c counted) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}
