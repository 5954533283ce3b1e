package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

// bus is the bus of a namespace: what is for all nodes is in its partition of the log, what is for one node in that node's inbox.
type bus struct {
	// Static after construction.
	broker  *broker
	local   adapter.Local
	codec   *envelope.Codec
	all     *envelope.Codec // opens every broadcast of the namespace, whoever has written it for whom
	expects func(room string) bool
	log     place

	ordered  atomic.Bool          // set by InOrder
	recorded atomic.Bool          // set by Record
	mark     atomic.Pointer[mark] // of the offsets; nil before the first

	// Static after Start.
	mailbox *inflow.Mailbox[arrival]
	located <-chan struct{}

	turn sync.Mutex // held while a message is handed on, which the workers of two partitions do at the same time

	once sync.Once
}

func newBus(b *broker, local adapter.Local) (*bus, error) {
	expects := inflow.Expects(local)
	codec, err := envelope.New(b.id, local.Name(), expects)
	if err != nil {
		return nil, err
	}
	all, err := envelope.New("history", local.Name(), func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	return &bus{broker: b, local: local, codec: codec, all: all, expects: expects, log: logOf(&b.opts, local.Name())}, nil
}

// Losses counts how often messages for this node may have been lost: because Kafka was away, so that questions and answers were
// dropped, or because they were removed before they were read.
func (b *bus) Losses() uint64 { return b.broker.status.Downs() + b.broker.readers.gaps.Load() }

// Start implements adapter.Bus, as do the methods below.
func (b *bus) Start(receive func(m *adapter.Message)) error {
	br := b.broker
	b.mailbox = inflow.NewMailbox(inflow.Options{
		Namespace: b.local.Name(), Limit: br.opts.FeedLimit, Counters: &br.stats.inflow, Logger: br.opts.Logger,
	}, func(arrival) {}, receive)
	br.mu.Lock()
	br.buses[b.local.Name()] = append(slices.Clip(br.buses[b.local.Name()]), b)
	br.mu.Unlock()
	b.located = br.readers.want(b.log)
	return nil
}

// take decodes and hands on what was read. It is called by the workers of the log and of the inbox.
func (b *bus) take(a *arrived) {
	m, err := b.decode(a)
	if err == nil && a.place == b.log && b.ordered.Load() {
		if m == nil {
			m = new(adapter.Message)
		}
		if m.Packet == nil && b.recorded.Load() {
			m.Unopened = b.unopened(a)
		}
		m.Offset = b.offsetOf(position{a.topic, a.epoch, a.offset + 1})
	}
	source := ""
	if err != nil {
		source = a.source()
	}
	b.turn.Lock()
	defer b.turn.Unlock()
	b.mailbox.Deliver(m, err, source)
}

// unopened is a broadcast of this node, for nobody here, or too old, or a question. It has its own copy of the body, which is a part of all
// that was fetched at once.
func (b *bus) unopened(a *arrived) *adapter.Unopened {
	if a.kind != kindNames[adapter.KindBroadcast] {
		return &adapter.Unopened{Open: func() (*adapter.Message, error) { return nil, nil }}
	}
	body := string(a.body)
	return &adapter.Unopened{Size: len(body), Open: func() (*adapter.Message, error) { return b.all.Open(body) }}
}

// decode returns the message, or what remains of one that this node does not need.
func (b *bus) decode(a *arrived) (*adapter.Message, error) {
	switch {
	case a.from == b.broker.id: // its place is all that matters
		return a.passed(), nil
	case a.at != 0 && b.broker.clock.stale(a.at, a.stamp, a.byBroker):
		b.broker.stats.outdated.Add(1)
		return a.passed(), nil
	case a.room != "" && !b.expects(a.room):
		return a.passed(), nil
	}
	return b.codec.Open(string(a.body))
}

// InOrder implements adapter.Sequencer: the records of this node are read with all others.
func (b *bus) InOrder() { b.ordered.Store(true) }

// source says where a record is.
func (a *arrived) source() string {
	return fmt.Sprintf("%s/%d@%d", a.place.topic, a.place.partition, a.offset)
}

// Listening waits until it is known where the reading begins: of the log, and of the inbox.
func (b *bus) Listening(ctx context.Context) error {
	if err := b.broker.await(ctx, b.located); err != nil {
		return err
	}
	return b.broker.await(ctx, b.broker.inboxLocated)
}

// Parted is true: the log and the inbox are read independently of each other.
func (b *bus) Parted() bool { return true }

// ToAll is true: every node of the namespace reads its partition of the log.
func (b *bus) ToAll(*adapter.Message) bool { return true }

func (b *bus) Publish(m *adapter.Message) error {
	return b.send(b.log, "", m, post{passing: m.Request != "" || m.Flags.Volatile, sent: m.Sent})
}

func (b *bus) Send(to adapter.NodeID, m *adapter.Message) error {
	return b.send(inboxOf(&b.broker.opts, to), to, m, post{passing: m.Request != "" || m.Flags.Volatile, sent: m.Sent})
}

func (b *bus) Respond(question, answer *adapter.Message) {
	if question.From == "" {
		return
	}
	a := *answer
	a.Request = question.Request
	b.mailbox.Unsent(b.send(inboxOf(&b.broker.opts, question.From), question.From, &a, post{reply: true}))
}

func (b *bus) send(at place, to adapter.NodeID, m *adapter.Message, how post) error {
	body, err := b.codec.Sharded(m)
	if err != nil {
		return err
	}
	l := letterOf(b.broker.id, b.local.Name(), m, body)
	l.to = to
	return b.broker.pub.send(l, at, how)
}

// Count returns errors.ErrUnsupported: Kafka does not count who reads. There are no nodes but the members.
func (b *bus) Count(context.Context) (int, error) {
	if state, reason := b.broker.status.Current(); state == Down {
		return 0, unavailable(reason)
	}
	return 0, errors.ErrUnsupported
}

// Nodes fails like Count.
func (b *bus) Nodes(ctx context.Context) ([]adapter.NodeID, error) {
	_, err := b.Count(ctx)
	return nil, err
}

func (b *bus) Close() error {
	b.once.Do(func() {
		b.mailbox.Close()
		br, name := b.broker, b.local.Name()
		br.mu.Lock()
		br.buses[name] = slices.DeleteFunc(slices.Clone(br.buses[name]), func(other *bus) bool { return other == b })
		if len(br.buses[name]) == 0 {
			delete(br.buses, name)
		}
		br.mu.Unlock()
		br.readers.leave(b.log)
	})
	return nil
}
