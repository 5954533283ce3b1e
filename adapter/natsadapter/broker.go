package natsadapter

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/adapter/membership"
)

// broker is an adapter.Broker: what one server has of NATS, its hub and the subjects of the membership.
type broker struct {
	// Static after construction.
	hub     *hub
	builder *Builder
	id      adapter.NodeID

	feed     *inflow.Feed[delivery] // one body at a time for the membership; static after Start
	watching sync.WaitGroup
	once     sync.Once
}

var (
	_ adapter.Broker         = (*broker)(nil)
	_ adapter.BrokerReporter = (*broker)(nil)
)

func newBroker(id adapter.NodeID, b *Builder) *broker {
	return &broker{hub: newHub(id, b.opts, b.stats), builder: b, id: id}
}

// Status implements brokerstate.Server, as does Ready.
func (b *broker) Status() *brokerstate.Status { return b.hub.status }

// Ready waits until everything that is wanted is heard.
func (b *broker) Ready(ctx context.Context) error { return b.hub.ready(ctx) }

// Bus makes the bus of a namespace.
func (b *broker) Bus(local adapter.Local) (adapter.Bus, error) { return newBus(b.hub, b.id, local) }

// Start implements membership.Transport, as do the methods below.
func (b *broker) Start(receive func(from membership.Channel, body []byte), up, down func()) error {
	h, inbox := b.hub, b.hub.subjects.inbox(b.id)
	b.feed = h.newFeed(func(d delivery) {
		switch d.subject {
		case inbox:
			receive(membership.Inbox, []byte(d.body))
		case commonSubject:
			receive(membership.Common, []byte(d.body))
		default:
			receive(membership.All, []byte(d.body))
		}
	})
	h.subs.want(inbox, false, b.takeForOne)
	h.subs.want(h.subjects.everybodys(), false, b.takeFromAll)
	h.subs.want(commonSubject, true, b.take)
	h.subs.want(h.subjects.replies(), false, h.takeReply)
	h.subs.want(h.subjects.sync(b.id), false, h.takeSync)
	h.start()
	b.watching.Go(func() { b.watch(up, down) })
	return nil
}

// take takes what members say. A message without a body only asks whether somebody listens.
func (b *broker) take(m *nats.Msg) {
	if len(m.Data) == 0 {
		return
	}
	b.hub.stats.members.Add(1)
	b.feed.Push(deliveryOf(m, string(m.Data)))
}

// takeFromAll and takeForOne also note who speaks: a newcomer hears the others first at its inbox.
func (b *broker) takeFromAll(m *nats.Msg) {
	b.noteSpeaker(m.Subject)
	b.take(m)
}

func (b *broker) takeForOne(m *nats.Msg) {
	b.noteSpeaker(m.Reply)
	b.take(m)
}

func (b *broker) noteSpeaker(subject string) {
	if id, server, ok := b.hub.subjects.speaker(subject); ok && id != b.id {
		b.hub.peers.heard(id, server)
	}
}

// watch tells when the subjects of the membership are heard, and when NATS is lost.
func (b *broker) watch(up, down func()) {
	h := b.hub
	for h.ctx.Err() == nil {
		if !h.status.Await(h.ctx, Up) || h.subs.wait(h.ctx, nil, h.subjects.inbox(b.id), h.subjects.everybodys()) != nil {
			return
		}
		up()
		if h.status.AwaitNot(h.ctx, Up) {
			down()
		}
	}
}

func (b *broker) Tell(to membership.Channel, body []byte) error {
	if to == membership.Common {
		return b.hub.publish(commonSubject, body, post{passing: true})
	}
	return b.hub.publish(b.hub.subjects.everybody(b.hub.at()), body, post{passing: true})
}

func (b *broker) Send(to adapter.NodeID, body []byte) error {
	return b.hub.publish(b.hub.subjects.inbox(to), body, post{passing: true, from: b.hub.subjects.everybody(b.hub.at())})
}

// Absent sends nothing to the inboxes, and NATS tells at once which of them nobody reads.
func (b *broker) Absent(ctx context.Context, ids []adapter.NodeID) ([]adapter.NodeID, error) {
	return b.hub.unheard(ctx, ids)
}

// Close closes the hub. It waits until what is queued has been sent, of which the last is the node's good-bye: the process may end
// right afterwards.
func (b *broker) Close() error {
	b.once.Do(func() {
		if b.feed != nil {
			b.feed.Close()
		}
		b.hub.close()
		b.watching.Wait()
		b.builder.servers.Remove(b)
	})
	return nil
}
