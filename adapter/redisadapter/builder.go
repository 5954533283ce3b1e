package redisadapter

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
)

// builder is what the builders of all flavours have in common: the brokers of the servers that they have opened. Each server has
// connections of its own, because Redis counts connections and each server answers for itself.
type builder struct {
	// Static after construction.
	rdb   redis.UniversalClient
	opts  Options
	stats *counters // of all hubs

	// Guarded by mu.
	mu      sync.Mutex
	brokers []*broker     // of the servers that are open
	changed chan struct{} // closed with the next change of brokers, nil if nobody waits for it
	retired uint64        // changes of state of hubs that have closed
}

func (b *builder) init(rdb redis.UniversalClient, opts Options) {
	b.rdb, b.opts, b.stats = rdb, opts.withDefaults(), newCounters()
}

// open makes a server a node. bus makes the bus of a namespace.
func (b *builder) open(self adapter.Node, changed func(adapter.Node), br *broker, opts adapter.ClusterOptions) (adapter.Cluster, error) {
	if err := br.hub.start(); err != nil {
		return nil, err
	}
	br.closed = func() { b.remove(br) }
	opts.Logger, opts.OverAfter = b.opts.Logger, b.opts.NodeOverAfter
	opts.Settings = append(opts.Settings, br.settings()...)
	b.add(br)
	cluster, err := adapter.Join(self, changed, br, &opts)
	if err != nil {
		_ = br.Close()
		return nil, err
	}
	return cluster, nil
}

func (b *builder) add(br *broker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.brokers = append(b.brokers, br)
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

func (b *builder) remove(br *broker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.brokers, br); i >= 0 {
		b.brokers = slices.Delete(b.brokers, i, i+1)
		b.retired += br.hub.status.Changes()
	}
}

// newHub returns a hub for one more server.
func (b *builder) newHub() *hub { return newHub(b.rdb, b.opts, b.stats) }

// ready is described with PubSub.Ready.
func (b *builder) ready(ctx context.Context) error {
	brokers, err := b.some(ctx)
	for _, br := range brokers {
		if err == nil {
			err = br.ready(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("redis is not ready: %w", err)
	}
	return nil
}

// some returns the brokers as soon as there is one.
func (b *builder) some(ctx context.Context) ([]*broker, error) {
	for {
		b.mu.Lock()
		brokers := slices.Clone(b.brokers)
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		if len(brokers) > 0 {
			return brokers, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
