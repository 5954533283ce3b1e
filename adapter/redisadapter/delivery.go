package redisadapter

import (
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
)

// delivery is one message of a subscription on its way to a namespace.
type delivery struct{ channel, body string }

// Size implements inflow.Item.
func (d delivery) Size() int { return len(d.channel) + len(d.body) + 32 }

// newFeed returns a feed that counts what it drops.
func (h *hub) newFeed(handle func(channel, body string)) *inflow.Feed[delivery] {
	return inflow.NewFeed(h.opts.FeedLimit, &h.stats.inflow.Dropped, func(d delivery) { handle(d.channel, d.body) })
}

// newMailbox returns the mailbox of a namespace, which hands what is pushed into it to open.
func (h *hub) newMailbox(namespace string, open func(channel, body string), receive func(m *adapter.Message)) *inflow.Mailbox[delivery] {
	return inflow.NewMailbox(inflow.Options{
		Namespace: namespace, Limit: h.opts.FeedLimit, Counters: &h.stats.inflow, Logger: h.opts.Logger,
	}, func(d delivery) { open(d.channel, d.body) }, receive)
}

// escapeGlob makes a pattern that text alone matches.
func escapeGlob(text string) string { return globSpecial.Replace(text) }

var globSpecial = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)
