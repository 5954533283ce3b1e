package natsadapter

import (
	"context"
	"slices"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/membership"
)

// Builder connects servers to a cluster over NATS, see New. All methods may be called concurrently.
type Builder struct {
	// Static after construction.
	opts  Options
	stats *counters // of all servers

	servers brokerstate.Servers[*broker]
}

var _ adapter.Builder = (*Builder)(nil)

// New connects nodes through NATS. opts may be nil. What is wrong with them is told by Open.
//
// A broadcast to one room reaches only nodes with somebody in it, and Socket.Join returns when the broadcasts of other nodes arrive.
// NATS delivers at most once: what is under way when a connection ends is lost, see Stats.
func New(opts *Options) *Builder {
	b := &Builder{stats: new(counters)}
	if opts != nil {
		b.opts = *opts
		b.opts.Servers, b.opts.Connect = slices.Clone(opts.Servers), slices.Clone(opts.Connect)
	}
	b.opts = b.opts.withDefaults()
	return b
}

// Open makes a server a node of the cluster, with a connection of its own. It does not wait for NATS, see Ready.
func (b *Builder) Open(self adapter.Node, changed func(adapter.Node)) (adapter.Cluster, error) {
	if err := b.opts.check(); err != nil {
		return nil, err
	}
	self.Adapter = "nats"
	br := newBroker(self.ID, b)
	b.servers.Add(br)
	cluster, err := adapter.Join(self, changed, br, &adapter.ClusterOptions{
		Logger: b.opts.Logger, OverAfter: b.opts.NodeOverAfter,
		Settings: []membership.Setting{{Flag: "adapter", Value: "nats"}, {Flag: "key", Value: b.opts.Prefix}},
	})
	if err != nil {
		_ = br.Close()
		return nil, err
	}
	return cluster, nil
}

// Ready waits until the servers with this adapter hear in all their namespaces what others say, for the first one if there is none
// yet, and returns why not when ctx ends first. Without it a server starts at once and reaches other nodes as soon as it can.
func (b *Builder) Ready(ctx context.Context) error { return b.servers.Ready(ctx, "nats") }
