package kafkaadapter

import (
	"context"
	"strconv"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/membership"
)

// Kafka is the builder of Kafka adapters, see New. Several servers may share one; each has a client of its own.
type Kafka struct {
	// Static after construction.
	opts  Options
	stats *counters // of all servers

	servers brokerstate.Servers[*broker]
}

// New connects nodes through the topics <prefix>.log, <prefix>.direct and <prefix>.control, see the package's documentation. What is
// wrong with the options is told by Open.
//
// What is said to all nodes is in the log, so that a node that loses its connection to Kafka, or is frozen, goes on from where it
// was: nothing is lost, nothing is doubled, and what one node sends in a namespace arrives in order. What Kafka has removed meanwhile is
// counted in Stats.Lost and logged. Questions, volatile packets and answers are of no use later and are dropped instead.
func New(opts *Options) *Kafka {
	k := &Kafka{stats: new(counters)}
	if opts != nil {
		k.opts = *opts
	}
	k.opts = k.opts.withDefaults()
	return k
}

// Open makes a server a node of the cluster. It does not wait for Kafka, see Ready.
func (k *Kafka) Open(self adapter.Node, changed func(adapter.Node)) (adapter.Cluster, error) {
	if err := k.opts.check(); err != nil {
		return nil, err
	}
	self.Adapter = "kafka"
	b, err := newBroker(self.ID, k.opts, k.stats)
	if err != nil {
		return nil, err
	}
	b.closed = func() { k.servers.Remove(b) }
	b.start()
	k.servers.Add(b)
	cluster, err := adapter.Join(self, changed, b, &adapter.ClusterOptions{
		Timeout: k.opts.RequestsTimeout, Ordered: k.opts.Ordered, OverAfter: k.opts.NodeOverAfter, Logger: k.opts.Logger,
		Settings: []membership.Setting{
			{Flag: "adapter", Value: "kafka"}, {Flag: "key", Value: k.opts.Prefix},
			{Flag: "kafka-log-partitions", Value: strconv.Itoa(k.opts.LogPartitions)},
			{Flag: "kafka-direct-partitions", Value: strconv.Itoa(k.opts.DirectPartitions)},
		},
	})
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	return cluster, nil
}

// Stats returns the current figures. With several servers they are sums, and the state is that of the one that is worst off.
func (k *Kafka) Stats() Stats { return k.figures() }

// Ready waits until the servers with this adapter hear in all their namespaces what others say, for the first one if there is none
// yet, and returns why not when ctx ends first. Without it a server starts at once and reaches other nodes as soon as it can.
func (k *Kafka) Ready(ctx context.Context) error { return k.servers.Ready(ctx, "kafka") }
