package forward_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/forward"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// net/http sleeps before it closes a connection whose request it has refused.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// cluster is some nodes and a load balancer that gives them requests in turns. The private listeners are on loopback.
type cluster struct {
	*servertest.Server // the load balancer
	t                  *testing.T
	bus                adaptertest.Cluster
	nodes              []*node
	next               atomic.Int64
	route              atomic.Pointer[func(*http.Request) *node] // nil: in turns
}

type node struct {
	*server.Server
	name string
	fwd  *forward.Forwarder
}

func newCluster(t *testing.T, n int, change func(i int, f *forward.Options, s *server.Options)) *cluster {
	t.Helper()
	c := &cluster{t: t}
	for i := range n {
		c.nodes = append(c.nodes, c.start(fmt.Sprint("node", i), func(f *forward.Options, s *server.Options) {
			if change != nil {
				change(i, f, s)
			}
		}))
	}
	for _, node := range c.nodes {
		eventually(t, "the nodes know each other", func() bool { return node.fwd.Stats().Peers == n-1 })
	}
	c.Server = servertest.New(t, http.HandlerFunc(c.balance), nil)
	return c
}

func (c *cluster) start(name string, change func(f *forward.Options, s *server.Options)) *node {
	c.t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	f := forward.Options{Logger: quiet}
	s := server.Options{Adapter: c.bus.Node(adapter.NodeID(name)), Logger: quiet}
	change(&f, &s)
	fwd, err := forward.Listen(&f)
	if err != nil {
		c.t.Fatal(err)
	}
	s.Forwarder = fwd
	srv, err := server.New(&s)
	if err != nil {
		c.t.Fatal(err)
	}
	srv.Of("/").Handle("echo", server.FuncAck(func(_ context.Context, s *server.Socket, n int) (int, error) {
		return n, s.Emit("echoed", n)
	}))
	c.t.Cleanup(func() { _ = srv.Close() })
	return &node{srv, name, fwd}
}

func (c *cluster) balance(w http.ResponseWriter, r *http.Request) {
	if route := c.route.Load(); route != nil {
		(*route)(r).ServeHTTP(w, r)
		return
	}
	c.nodes[c.next.Add(1)%int64(len(c.nodes))].ServeHTTP(w, r)
}

// byTurn sends the requests to these nodes, one after the other, the last one all others.
func (c *cluster) byTurn(nodes ...int) {
	var n atomic.Int64
	f := func(*http.Request) *node { return c.nodes[nodes[min(int(n.Add(1)), len(nodes))-1]] }
	c.route.Store(&f)
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func (c *cluster) sum(f func(forward.Stats) uint64) (sum uint64) {
	for _, n := range c.nodes {
		sum += f(n.fwd.Stats())
	}
	return sum
}

// unknown is how many requests got the answer that their session is unknown.
func (c *cluster) unknown() uint64 {
	return c.sum(func(s forward.Stats) (sum uint64) {
		for _, n := range s.Unknown {
			sum += n
		}
		return sum
	})
}

// TestPolling: a client whose requests go to three nodes in turns notices nothing.
func TestPolling(t *testing.T) {
	c := newCluster(t, 3, nil)
	s := c.connect(nil)
	c.echo(s, 0, 100)
	if forwarded := c.sum(func(s forward.Stats) uint64 { return s.Forwarded }); forwarded < 100 {
		t.Errorf("%d requests were forwarded", forwarded)
	}
	c.expectUnknown(0)
}

// connect opens a polling connection and joins the main namespace.
func (c *cluster) connect(opts *servertest.DialOptions) *servertest.Socket {
	c.t.Helper()
	if opts == nil {
		opts = &servertest.DialOptions{}
	}
	opts.Transport = engine.TransportPolling
	return c.Dial(c.t, opts).Connect("/", nil)
}

func (c *cluster) echo(s *servertest.Socket, from, to int) {
	c.t.Helper()
	for i := from; i < to; i++ {
		s.Emit("echo", i)
		s.Expect("echoed", i)
	}
}

func (c *cluster) expectUnknown(n uint64) {
	c.t.Helper()
	if got := c.unknown(); got != n {
		c.t.Errorf("%d sessions were unknown, want %d", got, n)
	}
}
