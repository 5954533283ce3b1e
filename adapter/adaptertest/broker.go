package adaptertest

import (
	"context"
	"slices"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/membership"
)

// broker is what a node has of a Cluster beside its namespaces: an adapter.Broker, which carries what the nodes say of themselves.
type broker struct {
	station
	transport *transport // set by Start, guarded by cluster.mu
}

// transport is what the node's membership wants to be called.
type transport struct {
	receive  func(membership.Channel, []byte)
	up, down func()
}

// Bus implements adapter.Broker, as do the methods below.
func (b *broker) Bus(local adapter.Local) (adapter.Bus, error) {
	return &member{station: station{cluster: b.cluster, id: b.id}, namespace: local.Name()}, nil
}

func (b *broker) Start(receive func(membership.Channel, []byte), up, down func()) error {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	b.transport = &transport{receive, up, down}
	if c.brokers == nil {
		c.brokers = make(map[adapter.NodeID]*broker)
	}
	c.brokers[b.id] = b
	if !c.cut[b.id] {
		b.signalLocked(true)
	}
	return nil
}

// signalLocked tells the membership whether the broker can be reached.
func (b *broker) signalLocked(reached bool) {
	t := b.transport
	b.queueLocked(func() {
		if reached {
			t.up()
		} else {
			t.down()
		}
	})
}

func (b *broker) Tell(to membership.Channel, body []byte) error {
	return b.say(to, body, func(*broker) bool { return true })
}

func (b *broker) Send(to membership.ID, body []byte) error {
	return b.say(membership.Inbox, body, func(o *broker) bool { return o.id == to })
}

func (b *broker) say(channel membership.Channel, body []byte, to func(*broker) bool) error {
	body = slices.Clone(body)
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen[b.id] { // its timers have stopped, too
		return nil
	}
	for _, o := range c.brokers {
		if (o != b || channel == membership.Inbox) && to(o) && !c.nameless[b.id] && !c.nameless[o.id] {
			b.postLocked(&o.station, func() { o.transport.receive(channel, body) })
		}
	}
	return b.unavailableLocked()
}

// BrokerStats implements adapter.BrokerReporter: nothing waits and nothing fails.
func (b *broker) BrokerStats() adapter.BrokerStats {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	return adapter.BrokerStats{
		Up: b.transport != nil && b.unavailableLocked() == nil, Reconnects: c.losses[b.id],
		Failed: map[string]uint64{"connection": 0}, Dropped: map[string]uint64{"down": 0},
	}
}

func (b *broker) Absent(_ context.Context, ids []membership.ID) (absent []membership.ID, err error) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		if c.brokers[id] == nil {
			absent = append(absent, id)
		}
	}
	return absent, b.unavailableLocked()
}

func (b *broker) Close() error {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.left == nil {
		b.left = adapter.ErrClosed
	}
	b.queue = nil
	if c.brokers[b.id] == b {
		delete(c.brokers, b.id)
	}
	return nil
}
