package natsadapter

import (
	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
)

// delivery is one message of a subscription on its way to a namespace or the membership.
type delivery struct {
	subject, body string
	connection    int // number of the sender's connection on which it was written

	// Of the log, see keptLog.open.
	at     *stored // nil for all else
	before uint64  // number of the entry before
	life   int64   // of what was asked for
}

// Size implements inflow.Item.
func (d delivery) Size() int {
	size := len(d.subject) + len(d.body) + 64
	if d.at != nil {
		size += len(d.at.body)
	}
	return size
}

func deliveryOf(m *nats.Msg, body string) delivery { return delivery{subject: m.Subject, body: body} }

// newFeed returns a feed that counts what it drops.
func (h *hub) newFeed(handle func(delivery)) *inflow.Feed[delivery] {
	return inflow.NewFeed(h.opts.FeedLimit, &h.stats.inflow.Dropped, handle)
}

// newMailbox returns the mailbox of a namespace, which hands what is pushed into it to open.
func (h *hub) newMailbox(namespace string, open func(delivery), receive func(m *adapter.Message)) *inflow.Mailbox[delivery] {
	return inflow.NewMailbox(inflow.Options{
		Namespace: namespace, Limit: h.opts.FeedLimit, Counters: &h.stats.inflow, Logger: h.opts.Logger,
	}, open, receive)
}
