package natsadapter

import (
	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
)

// delivery is one message of a subscription on its way to a namespace or the membership.
type delivery struct{ subject, body string }

// Size implements inflow.Item.
func (d delivery) Size() int { return len(d.subject) + len(d.body) + 64 }

func deliveryOf(m *nats.Msg, body string) delivery { return delivery{m.Subject, body} }

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
