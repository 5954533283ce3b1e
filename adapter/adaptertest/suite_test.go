package adaptertest_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server/parser"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSuite runs the suite on nodes that call each other directly: the simplest adapter with more than one node. It
// proves that the suite can be passed, and that what it expects of several nodes is consistent.
func TestSuite(t *testing.T) {
	adaptertest.Run(t, 3, func(t *testing.T, nodes int) []adapter.Builder {
		c := &direct{}
		builders := make([]adapter.Builder, nodes)
		for i := range builders {
			builders[i] = adapter.BuilderFunc(func(local adapter.Local) (adapter.Adapter, error) {
				own, err := adapter.Memory().New(local)
				n := &directNode{Adapter: own, local: local, cluster: c}
				c.nodes = append(c.nodes, n)
				return n, err
			})
		}
		return builders
	})
}

// direct is a cluster in one process.
type direct struct {
	order sync.Mutex // one broadcast at a time reaches the nodes
	nodes []*directNode
}

// directNode does on its own node what Memory does, and adds the others.
type directNode struct {
	adapter.Adapter
	local   adapter.Local
	cluster *direct
}

// others returns the other nodes unless flags exclude them.
func (n *directNode) others(flags adapter.Flags) []*directNode {
	if flags.Local {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(n.cluster.nodes), func(o *directNode) bool { return o == n })
}

func (n *directNode) Broadcast(p *parser.Packet, sel adapter.Selection, flags adapter.Flags) error {
	n.cluster.order.Lock()
	defer n.cluster.order.Unlock()
	if err := n.Adapter.Broadcast(p, sel, flags); err != nil {
		return err
	}
	for _, o := range n.others(flags) {
		o.local.Deliver(p, sel, flags)
	}
	return nil
}

func (n *directNode) BroadcastWithAck(ctx context.Context, p *parser.Packet, sel adapter.Selection, flags adapter.Flags, acks adapter.AckSink) (adapter.AckSummary, error) {
	if _, err := n.Adapter.ServerCount(ctx); err != nil {
		return adapter.AckSummary{}, err
	}
	var wg sync.WaitGroup
	for _, o := range n.others(flags) {
		wg.Go(func() { _, _ = o.Adapter.BroadcastWithAck(ctx, p, sel, flags, acks) })
	}
	summary, err := n.Adapter.BroadcastWithAck(ctx, p, sel, flags, acks)
	wg.Wait()
	return summary, err
}

func (n *directNode) FetchSockets(ctx context.Context, sel adapter.Selection, flags adapter.Flags) (adapter.Result[adapter.SocketDetails], error) {
	r, err := n.Adapter.FetchSockets(ctx, sel, flags)
	if err == nil {
		for _, o := range n.others(flags) {
			r.Values = append(r.Values, o.local.FetchSockets(sel)...)
		}
	}
	return r, err
}

func (n *directNode) SocketsJoin(sel adapter.Selection, flags adapter.Flags, rooms []string) error {
	err := n.Adapter.SocketsJoin(sel, flags, rooms)
	if err == nil {
		for _, o := range n.others(flags) {
			o.local.SocketsJoin(sel, rooms)
		}
	}
	return err
}

func (n *directNode) SocketsLeave(sel adapter.Selection, flags adapter.Flags, rooms []string) error {
	err := n.Adapter.SocketsLeave(sel, flags, rooms)
	if err == nil {
		for _, o := range n.others(flags) {
			o.local.SocketsLeave(sel, rooms)
		}
	}
	return err
}

func (n *directNode) DisconnectSockets(sel adapter.Selection, flags adapter.Flags, closeConn bool) error {
	err := n.Adapter.DisconnectSockets(sel, flags, closeConn)
	if err == nil {
		for _, o := range n.others(flags) {
			o.local.DisconnectSockets(sel, closeConn)
		}
	}
	return err
}

func (n *directNode) ServerSideEmit(args parser.Payload) error {
	err := n.Adapter.ServerSideEmit(args)
	if err == nil {
		for _, o := range n.others(adapter.Flags{}) {
			o.local.OnServerSideEmit(args, nil)
		}
	}
	return err
}

func (n *directNode) ServerSideEmitWithAck(ctx context.Context, args parser.Payload) (adapter.Result[parser.Payload], error) {
	r, err := n.Adapter.ServerSideEmitWithAck(ctx, args)
	if err != nil {
		return r, err
	}
	others := n.others(adapter.Flags{})
	answers := make(chan parser.Payload, len(others))
	for _, o := range others {
		o.local.OnServerSideEmit(args, func(p parser.Payload) { answers <- p })
	}
	for range others {
		r.Values = append(r.Values, <-answers)
	}
	return r, nil
}

func (n *directNode) Rooms(ctx context.Context) (adapter.Result[string], error) {
	r, err := n.Adapter.Rooms(ctx)
	if err == nil {
		for _, o := range n.others(adapter.Flags{}) {
			r.Values = append(r.Values, o.local.Rooms()...)
		}
		slices.Sort(r.Values)
		r.Values = slices.Compact(r.Values)
	}
	return r, err
}

func (n *directNode) ServerCount(ctx context.Context) (int, error) {
	if _, err := n.Adapter.ServerCount(ctx); err != nil {
		return 0, err
	}
	return len(n.cluster.nodes), nil
}
