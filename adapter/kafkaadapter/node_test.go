package kafkaadapter

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
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

// node is one node of a cluster, in one namespace.
type node struct {
	adapter.Adapter
	kafka   *Kafka
	cluster adapter.Cluster
	local   *witness
	id      string
}

// witness is a node's namespace. It remembers what reaches it.
type witness struct {
	*adaptertest.Node

	mu sync.Mutex
	// Guarded by mu.
	packets []string // as JSON
}

// options are those of a test's nodes on a Kafka.
func options(t testing.TB, seeds ...string) Options {
	return Options{Seeds: seeds, Prefix: prefixOf(t), Logger: quiet()}
}

// through has a node reach the only broker over another address.
func through(opts Options, addr string) Options {
	opts.ClientOptions = []kgo.Opt{kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	})}
	return opts
}

// start starts a node, which may not be reached yet.
func start(t testing.TB, opts Options) *node {
	t.Helper()
	return startAs(t, string(adapter.NewNodeID()), opts)
}

// startAs starts a node with an id.
func startAs(t testing.TB, id string, opts Options) *node {
	t.Helper()
	local := &witness{Node: adaptertest.NewNode("/chat")}
	n := startWith(t, id, opts, local)
	n.local = local
	return n
}

// startWith starts a node for a namespace of the test's.
func startWith(t testing.TB, id string, opts Options, local adapter.Local) *node {
	t.Helper()
	n := &node{id: id}
	n.kafka = New(&opts)
	cluster, err := n.kafka.Open(adapter.Node{ID: adapter.NodeID(n.id), Name: t.Name() + n.id}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.cluster = cluster
	a, err := cluster.New(local)
	if err != nil {
		t.Fatal(err)
	}
	n.Adapter = a
	t.Cleanup(n.close)
	return n
}

func (n *node) close() {
	_ = n.Adapter.Close()
	_ = n.cluster.Close()
}

// join starts nodes that know each other when it returns.
func join(t testing.TB, all ...Options) []*node {
	t.Helper()
	nodes := make([]*node, len(all))
	for i, opts := range all {
		nodes[i] = start(t, opts)
	}
	return meet(t, nodes)
}

// meet waits until nodes know each other.
func meet(t testing.TB, nodes []*node) []*node {
	t.Helper()
	for _, n := range nodes {
		if err := n.kafka.Ready(within(t)); err != nil {
			t.Fatal(err)
		}
		redistest.Eventually(t, "the nodes know each other", func() bool {
			count, err := n.ServerCount(within(t))
			return err == nil && count == len(nodes)
		})
	}
	return nodes
}

// Deliver implements adapter.Local.
func (w *witness) Deliver(p *parser.Packet, sel adapter.Selection, flags adapter.Flags) {
	w.mu.Lock()
	w.packets = append(w.packets, string(p.Payload.JSON))
	w.mu.Unlock()
	w.Node.Deliver(p, sel, flags)
}

func (n *node) got() []string {
	n.local.mu.Lock()
	defer n.local.mu.Unlock()
	return slices.Clone(n.local.packets)
}

func (n *node) state() State { return n.kafka.Stats().State }

// awaitState waits until the state is the given one, and tells how long it took.
func (n *node) awaitState(t testing.TB, state State) time.Duration {
	t.Helper()
	began := time.Now()
	redistest.Eventually(t, "the state is "+state.String(), func() bool { return n.state() == state })
	return time.Since(began)
}

// event returns the packet ["name", args...].
func event(t testing.TB, name string, args ...any) *parser.Packet {
	t.Helper()
	payload, err := parser.MarshalEvent(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return &parser.Packet{Type: parser.Event, Namespace: "/chat", ID: parser.NoID, Payload: payload}
}

// say broadcasts a number.
func (n *node) say(t testing.TB, i int) error {
	return n.Broadcast(event(t, "say", n.id, i), adapter.Selection{}, adapter.Flags{})
}

// numbers are those that a node has heard another one say.
func (n *node) numbers(t testing.TB, from *node) (list []int) {
	t.Helper()
	for _, text := range n.got() {
		var args []any
		if err := json.Unmarshal([]byte(text), &args); err != nil {
			t.Fatal(err)
		}
		if args[0] == "say" && args[1] == from.id {
			list = append(list, int(args[2].(float64)))
		}
	}
	return list
}

// hears waits until a node has heard another one say a number, and compares what it has heard before with all numbers from first on.
func (n *node) hears(t testing.TB, from *node, first, last int) {
	t.Helper()
	redistest.Eventually(t, fmt.Sprint("number ", last, " arrives"), func() bool { return slices.Contains(n.numbers(t, from), last) })
	want := make([]int, 0, last)
	for i := first; i <= last; i++ {
		want = append(want, i)
	}
	if got := n.numbers(t, from); !slices.Equal(got, want) {
		t.Fatalf("heard %s, want %d-%d", runs(got), first, last)
	}
}

// runs shortens a list of numbers: 1-5 9-12.
func runs(list []int) string {
	text, begun := "", 0
	for i, n := range list {
		if i+1 == len(list) || list[i+1] != n+1 {
			text += fmt.Sprintf("%d-%d ", list[begun], n)
			begun = i + 1
		}
	}
	return text
}

// stream has a node say numbers until stop, every few milliseconds, and returns the last one.
func (n *node) stream(t testing.TB) (stop func() (last int)) {
	done, ended := make(chan struct{}), make(chan int, 1)
	go func() {
		i, tick := 0, time.NewTicker(5*time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				i++
				if err := n.say(t, i); err != nil {
					t.Errorf("number %d: %v", i, err)
				}
			case <-done:
				ended <- i
				return
			}
		}
	}()
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { close(done) }) })
	return func() int {
		once.Do(func() { close(done) })
		return <-ended
	}
}
