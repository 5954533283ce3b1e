package redisadapter

import (
	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

// builder is what the builders of all flavours have in common: the brokers of the servers that they have opened. Each server has
// connections of its own, because Redis counts connections and each server answers for itself.
type builder struct {
	// Static after construction.
	rdb   redis.UniversalClient
	opts  Options
	stats *counters // of all hubs

	servers brokerstate.Servers[*broker]
}

func (b *builder) init(rdb redis.UniversalClient, opts Options) {
	b.rdb, b.opts, b.stats = rdb, opts.withDefaults(), new(counters)
}

// open makes a server a node. bus makes the bus of a namespace.
func (b *builder) open(self adapter.Node, changed func(adapter.Node), br *broker, opts adapter.ClusterOptions) (adapter.Cluster, error) {
	if err := br.hub.start(); err != nil {
		return nil, err
	}
	br.closed = func() { b.servers.Remove(br) }
	opts.Logger, opts.OverAfter = b.opts.Logger, b.opts.NodeOverAfter
	opts.Settings = append(opts.Settings, br.settings()...)
	b.servers.Add(br)
	cluster, err := adapter.Join(self, changed, br, &opts)
	if err != nil {
		_ = br.Close()
		return nil, err
	}
	return cluster, nil
}

// newHub returns a hub for one more server.
func (b *builder) newHub() *hub { return newHub(b.rdb, b.opts, b.stats) }
