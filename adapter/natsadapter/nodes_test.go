package natsadapter

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// witness is a namespace that remembers what was delivered, in order.
type witness struct {
	*adaptertest.Node

	// Guarded by mu.
	mu      sync.Mutex
	packets []string
	seen    map[string]int
}

func newWitness(namespace string) *witness {
	return &witness{Node: adaptertest.NewNode(namespace), seen: make(map[string]int)}
}

func (w *witness) Deliver(p *parser.Packet, sel adapter.Selection, flags adapter.Flags) {
	text := string(p.AppendText(nil))
	w.mu.Lock()
	w.packets = append(w.packets, text)
	w.seen[text]++
	w.mu.Unlock()
	w.Node.Deliver(p, sel, flags)
}

func (w *witness) got() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.packets)
}

func (w *witness) count(text string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[text]
}

// member is one node of a cluster, in one namespace.
type member struct {
	builder *Builder
	cluster adapter.Cluster
	adapter adapter.Adapter
	*witness
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open makes a server of a builder, which takes part in a namespace, and does not wait.
func open(t testing.TB, b *Builder, namespace string) *member {
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
	return also(t, &member{builder: b, cluster: c}, namespace)
}

// also has a server take part in one more namespace.
func also(t testing.TB, m *member, namespace string) *member {
	t.Helper()
	w := newWitness(namespace)
	a, err := m.cluster.New(w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	w.Observe(a.(adapter.RoomObserver))
	return &member{builder: m.builder, cluster: m.cluster, adapter: a, witness: w}
}

// join is open, and waits until the server hears the others.
func join(t testing.TB, b *Builder, namespace string) *member {
	t.Helper()
	m := open(t, b, namespace)
	if err := b.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	return m
}

// of returns a builder for servers.
func of(t testing.TB, urls ...string) *Builder {
	return New(&Options{Servers: urls, Prefix: prefixOf(t), Logger: quiet()})
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// connect adds a socket, whose rooms can be reached from other nodes when it returns.
func (m *member) connect(t testing.TB, id string, rooms ...string) *adaptertest.Socket {
	t.Helper()
	s := m.Connect(id, rooms...)
	if err := m.adapter.(adapter.JoinWaiter).WaitJoined(within(t), append(rooms, id)); err != nil {
		t.Fatal(err)
	}
	return s
}

// hears waits until as many packets have reached a node, and returns them.
func (m *member) hears(t testing.TB, n int) []string {
	t.Helper()
	redistest.Eventually(t, "packets arrive", func() bool { return len(m.got()) >= n })
	return m.got()
}

// knows waits until a node knows that some others serve its namespace.
func (m *member) knows(t testing.TB, others ...*member) {
	t.Helper()
	redistest.Eventually(t, "the nodes know each other", func() bool {
		n, err := m.adapter.ServerCount(within(t))
		return err == nil && n == 1+len(others)
	})
}

func (m *member) is(state State) bool { return m.builder.Stats().State == state }

func (m *member) awaits(t testing.TB, state State) {
	t.Helper()
	redistest.Eventually(t, "the state is "+state.String(), func() bool { return m.is(state) })
}

func chat(t testing.TB, namespace, name string, args ...any) *parser.Packet {
	t.Helper()
	p, err := parser.MarshalEvent(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return &parser.Packet{Type: parser.Event, Namespace: namespace, ID: parser.NoID, Payload: p}
}

func textOf(p *parser.Packet) string { return string(p.AppendText(nil)) }

func send(t testing.TB, from *member, name string, rooms ...string) {
	t.Helper()
	if err := from.adapter.Broadcast(chat(t, from.Name(), name), adapter.Selection{Rooms: rooms}, adapter.Flags{}); err != nil {
		t.Fatal(err)
	}
}

// crosses has messages go both ways between nodes.
func crosses(t testing.TB, members ...*member) {
	t.Helper()
	for _, from := range members {
		name := fmt.Sprint("cross", time.Now().UnixNano())
		p := chat(t, from.Name(), name)
		if err := from.adapter.Broadcast(p, adapter.Selection{}, adapter.Flags{}); err != nil {
			t.Fatal(err)
		}
		for _, to := range members {
			redistest.Eventually(t, "a message crosses", func() bool { return to.count(textOf(p)) == 1 })
		}
	}
}
