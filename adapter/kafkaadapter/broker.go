package kafkaadapter

import (
	"context"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/adapter/membership"
)

const (
	// fetchWait is how long Kafka waits for something new before it answers that there is nothing.
	fetchWait = time.Second
	// fetchBytes is about how much is fetched of a broker at once, fetchPartition how much of one partition.
	fetchBytes     = 16 << 20
	fetchPartition = 2 << 20
	// retryWithin is the longest pause of the client before it tries something again.
	retryWithin = 500 * time.Millisecond
	// cautiousMessage is the longest message while it is not known what a topic allows: Kafka's default, less what it counts beside.
	cautiousMessage = 1_000_012
)

// broker is an adapter.Broker: everything that one server has open to Kafka, from its start to its close.
//
// Lock order: bus.turn > broker.mu, readers.mu, publisher.mu; reader.flow.mu alone; the others are leaves. Neither the client nor the
// logger is called with one of them held, but to stop the reading of a partition.
type broker struct {
	// Static after construction.
	id       adapter.NodeID
	opts     Options
	stats    *counters
	client   *kgo.Client
	status   *brokerstate.Status
	clock    *clock
	pub      *publisher
	readers  *readers
	monitor  *monitor
	past     *past
	sessions *sessionLog
	closed   func() // called by Close; may be nil

	inbox, control place

	// Static after Start.
	members      *inflow.Feed[body] // one body at a time for the membership
	inboxLocated <-chan struct{}

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup
	sent    chan struct{} // closed when the publisher has ended
	once    sync.Once

	// Guarded by mu.
	mu    sync.Mutex
	buses map[string][]*bus // by namespace; more than one only while a namespace is replaced. The lists are never changed
}

// body is what was said to the membership.
type body struct {
	from  membership.Channel
	bytes []byte
}

// Size implements inflow.Item.
func (b body) Size() int { return len(b.bytes) }

// newBroker makes the client, which connects to nobody yet.
func newBroker(id adapter.NodeID, opts Options, stats *counters) (*broker, error) {
	b := &broker{
		id: id, opts: opts, stats: stats, status: newStatus(opts), clock: newClock(), sent: make(chan struct{}),
		inbox: inboxOf(&opts, id), control: place{opts.controlTopic(), 0}, buses: make(map[string][]*bus),
	}
	b.monitor = newMonitor(opts, b.status)
	client, err := newClient(&opts, b.monitor.longest, &connections{stats: stats, wake: b.monitor.poke, known: make(map[int32]bool)})
	if err != nil {
		return nil, err
	}
	b.client = client
	b.pub = newPublisher(client, stats, opts, b.status, b.clock)
	b.readers = &readers{
		client: client, stats: stats, opts: opts, self: id, clock: b.clock, handle: b.handle, wake: b.monitor.poke, list: make(map[place]*reader),
		ids: make(map[string]kadm.TopicID), own: b.hearsItself, gap: b.gap,
	}
	b.past = &past{opts: &b.opts}
	b.sessions = newSessionLog(b)
	b.monitor.client, b.monitor.readers, b.monitor.pub = client, b.readers, b.pub
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b, nil
}

// newClient makes the client of a node. longest says how long the messages of a topic may be.
func newClient(opts *Options, longest func(topic string) int32, hook kgo.Hook) (*kgo.Client, error) {
	clientOpts, err := opts.clientOptions()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(clientOpts,
		// What is written goes out at once, in order, each once; nobody waits.
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(math.MaxInt32), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytesFn(longest),
		// What the client has had for too long it gives up if Kafka cannot have it; of the rest it finds out, however long that takes.
		kgo.RecordDeliveryTimeout(opts.QueueAge), kgo.UnknownTopicRetries(-1),
		kgo.ProduceRequestTimeout(opts.AnswerTimeout),
		// What is read is read from where we say; where that is not possible we are told.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepControlRecords(),
		kgo.FetchMaxWait(fetchWait), kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchPartition),
		// An outage is noticed, and its end too.
		kgo.RequestTimeoutOverhead(opts.AnswerTimeout), kgo.DialTimeout(opts.AnswerTimeout),
		kgo.MetadataMinAge(250*time.Millisecond), kgo.MetadataMaxAge(time.Minute),
		kgo.RetryBackoffFn(func(fails int) time.Duration { return min(50*time.Millisecond<<min(fails, 5), retryWithin) }),
		kgo.WithHooks(hook), kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return nil, fmt.Errorf("make a kafka client: %w", err)
	}
	return client, nil
}

// inboxOf is the partition of what is for one node.
func inboxOf(opts *Options, id adapter.NodeID) place {
	return place{opts.directTopic(), partitionOf(string(id), opts.DirectPartitions)}
}

// logOf is the partition of a namespace.
func logOf(opts *Options, namespace string) place {
	return place{opts.logTopic(), partitionOf(namespace, opts.LogPartitions)}
}

// start begins to connect.
func (b *broker) start() {
	b.status.Own(b.monitor)
	b.running.Go(func() {
		b.pub.run(b.ctx)
		close(b.sent)
	})
	b.running.Go(func() { b.readers.run(b.ctx) })
	b.running.Go(func() { b.monitor.run(b.ctx) })
}

// Status implements brokerstate.Server, as does Ready.
func (b *broker) Status() *brokerstate.Status { return b.status }

// Ready waits until everything that is wanted is read.
func (b *broker) Ready(ctx context.Context) error {
	if err := b.status.WaitUp(ctx); err != nil {
		return err
	}
	for _, located := range b.readers.awaited() {
		if err := b.await(ctx, located); err != nil {
			return err
		}
	}
	return nil
}

// await waits until a partition is found.
func (b *broker) await(ctx context.Context, located <-chan struct{}) error {
	select {
	case <-located:
		return nil
	case <-b.ctx.Done():
		return unavailable(errClosed)
	case <-ctx.Done():
		if _, reason := b.status.Current(); reason != nil {
			return unavailable(reason)
		}
		return unavailable(ctx.Err())
	}
}

// handle takes what was read of a partition, on the worker of that.
func (b *broker) handle(a *arrived) {
	switch a.kind {
	case kindMember, kindCommon:
		b.member(a)
		return
	case kindSession:
		b.sessions.take(a)
		return
	}
	b.mu.Lock()
	buses := b.buses[a.namespace]
	b.mu.Unlock()
	if len(buses) == 0 {
		b.stats.inflow.Foreign.Add(1)
	}
	for _, bus := range buses {
		bus.take(a)
	}
}

// gap takes note that records of a partition were lost.
func (b *broker) gap(at place) {
	if at == b.sessions.place {
		b.sessions.lost()
	}
}

// hearsItself reports whether a namespace needs what this node has written.
func (b *broker) hearsItself(namespace string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, bus := range b.buses[namespace] {
		if bus.ordered.Load() {
			return true
		}
	}
	return false
}

// member hands what was said to the membership on.
func (b *broker) member(a *arrived) {
	from := membership.All
	switch {
	case a.kind == kindCommon:
		from = membership.Common
	case a.to != "":
		from = membership.Inbox
	}
	if b.clock.stale(a.at, a.stamp, a.byBroker) { // this node was frozen or cut off
		b.stats.outdated.Add(1)
		return
	}
	b.members.Push(body{from, a.body})
}

// Bus makes the bus of a namespace.
func (b *broker) Bus(local adapter.Local) (adapter.Bus, error) { return newBus(b, local) }

// Start implements membership.Transport, as do the methods below.
func (b *broker) Start(receive func(from membership.Channel, body []byte), up, down func()) error {
	b.members = inflow.NewFeed(b.opts.FeedLimit, &b.stats.inflow.Dropped, func(m body) { receive(m.from, m.bytes) })
	control := b.readers.want(b.control)
	b.inboxLocated = b.readers.want(b.inbox)
	b.running.Go(func() {
		if b.await(b.ctx, b.inboxLocated) == nil && b.await(b.ctx, control) == nil {
			b.watch(up, down)
		}
	})
	return nil
}

// watch tells the membership when Kafka comes and goes.
func (b *broker) watch(up, down func()) {
	for b.status.Await(b.ctx, Up) {
		up()
		if b.status.AwaitNot(b.ctx, Up) {
			down()
		}
	}
}

// Tell writes to all nodes. The common channel is the control topic too: nodes of other settings hear it, those of other prefixes do
// not, for a topic that all have in common would need rights of its own.
func (b *broker) Tell(to membership.Channel, body []byte) error {
	kind := kindMember
	if to == membership.Common {
		kind = kindCommon
	}
	return b.pub.send(letter{from: b.id, kind: kind, body: body}, b.control, post{member: true})
}

func (b *broker) Send(to adapter.NodeID, body []byte) error {
	return b.pub.send(letter{from: b.id, to: to, kind: kindMember, body: body}, inboxOf(&b.opts, to), post{member: true})
}

// Absent returns nil: Kafka does not know who reads a partition.
func (b *broker) Absent(context.Context, []adapter.NodeID) ([]adapter.NodeID, error) { return nil, nil }

// Close closes the client. It waits until what is queued has been sent, of which the last is the node's good-bye: the process may
// end right afterwards.
func (b *broker) Close() error {
	b.once.Do(func() {
		b.status.Own(nil) // first: that connections end now is no trouble
		b.readers.close()
		if b.members != nil {
			b.members.Close()
		}
		b.pub.close()
		<-b.sent
		b.stop()
		b.client.Close()
		b.past.close()
		b.sessions.close()
		if b.closed != nil {
			b.closed()
		}
		b.running.Wait()
	})
	return nil
}

// connections count those to brokers that were made anew. The client calls its methods.
type connections struct {
	// Static.
	stats *counters
	wake  func()
	// Guarded by mu.
	mu    sync.Mutex
	known map[int32]bool // brokers to which a connection has ended
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (c *connections) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil {
		return
	}
	c.mu.Lock()
	again := c.known[meta.NodeID]
	delete(c.known, meta.NodeID)
	c.mu.Unlock()
	if again {
		c.stats.Reconnects.Add(1)
		c.wake()
	}
}

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (c *connections) OnBrokerDisconnect(meta kgo.BrokerMetadata, _ net.Conn) {
	c.mu.Lock()
	c.known[meta.NodeID] = true
	c.mu.Unlock()
	c.wake()
}
