package kafkatest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// clusterDefaults are the properties of brokers of a cluster: one that has been silent for three seconds is over.
var clusterDefaults = []string{
	"broker.session.timeout.ms=3000",
	"broker.heartbeat.interval.ms=500",
	"replica.lag.time.max.ms=3000",
	"controller.quorum.fetch.timeout.ms=1000",
}

// Brokers are a cluster: a controller, which is never in the way, and brokers.
type Brokers struct {
	t testing.TB
	// Brokers are those for clients.
	Brokers    []*Broker
	controller *Broker
}

// Cluster starts a controller and n brokers. A topic has its partitions on three brokers, or on all if there are less, and a
// record is written when two of them have it. opts may be nil.
func Cluster(t testing.TB, n int, opts *Options) *Brokers {
	t.Helper()
	a := accessOf(t, opts)
	controller := newBroker(t, 100, a)
	t.Cleanup(controller.discard)
	c := &Brokers{t: t, controller: controller}
	all := append(append(copies(n), clusterDefaults...), "controller.quorum.bootstrap.servers="+controller.Addr)
	controller.format([]string{"--standalone"}, slices.Concat(all, a.authorizer(), []string{
		"process.roles=controller",
		"listeners=CONTROLLER://" + controller.Addr,
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT",
	}))
	controller.launch()
	for i := range n {
		b := newBroker(t, i+1, a)
		t.Cleanup(b.discard)
		b.format([]string{"--no-initial-controllers"}, slices.Concat(all, []string{"process.roles=broker"}, b.listeners("")))
		b.launch()
		c.Brokers = append(c.Brokers, b)
	}
	c.AwaitReady()
	return c
}

// copies are the properties of how often something is kept by n brokers.
func copies(n int) []string {
	factor, least := fmt.Sprint(min(n, 3)), fmt.Sprint(min(n, 2))
	return []string{
		"default.replication.factor=" + factor,
		"min.insync.replicas=" + least,
		"offsets.topic.replication.factor=" + factor,
		"transaction.state.log.replication.factor=" + factor,
		"transaction.state.log.min.isr=" + least,
	}
}

// AwaitReady waits until every running broker knows all others that run.
func (c *Brokers) AwaitReady() {
	c.t.Helper()
	running := 0
	for _, b := range c.Brokers {
		if b.Running() {
			running++
		}
	}
	for _, b := range c.Brokers {
		if b.Running() {
			b.awaitBrokers(running)
		}
	}
}

// Addrs lists the addresses of all brokers.
func (c *Brokers) Addrs() []string {
	addrs := make([]string, len(c.Brokers))
	for i, b := range c.Brokers {
		addrs[i] = b.Addr
	}
	return addrs
}

// Client returns a new client for the cluster that may do everything. It is closed with the test.
func (c *Brokers) Client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	return c.Brokers[0].access.client(c.t, c.Addrs(), opts)
}

// Leader returns the broker that leads a partition, and waits until one does.
func (c *Brokers) Leader(topic string, partition int32) (leader *Broker) {
	c.t.Helper()
	client := c.Client()
	defer client.Close()
	redistest.Eventually(c.t, "a partition has a leader", func() bool {
		request := kmsg.NewPtrMetadataRequest()
		request.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
		answer, err := request.RequestWith(c.t.Context(), client)
		if err != nil || len(answer.Topics) != 1 {
			return false
		}
		for _, p := range answer.Topics[0].Partitions {
			if p.Partition == partition {
				leader = c.broker(int(p.Leader))
			}
		}
		return leader != nil && leader.Running()
	})
	return leader
}

// InSync waits until every replica of a topic has what its leader has.
func (c *Brokers) InSync(topic string) {
	c.t.Helper()
	client := c.Client()
	defer client.Close()
	redistest.Eventually(c.t, "all replicas are in sync", func() bool {
		request := kmsg.NewPtrMetadataRequest()
		request.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
		answer, err := request.RequestWith(c.t.Context(), client)
		if err != nil || len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) == 0 {
			return false
		}
		for _, p := range answer.Topics[0].Partitions {
			if len(p.ISR) < len(p.Replicas) || p.Leader < 0 {
				return false
			}
		}
		return true
	})
}

func (c *Brokers) broker(id int) *Broker {
	for _, b := range c.Brokers {
		if b.id == id {
			return b
		}
	}
	return nil
}
