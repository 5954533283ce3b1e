package redisadapter

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/seldom"
)

// mailbox takes what arrives for a namespace, and hands the messages on one at a time.
type mailbox struct {
	// Static after construction.
	hub     *hub
	log     *slog.Logger
	feed    *feed
	receive func(m *adapter.Message)

	closed     atomic.Bool
	complaints seldom.Counted
}

// newMailbox returns a mailbox whose feed hands what is pushed into it to open, which decodes it and calls deliver.
func newMailbox(h *hub, namespace string, open func(channel, body string), receive func(m *adapter.Message)) *mailbox {
	b := &mailbox{hub: h, log: h.opts.Logger.With("namespace", namespace), receive: receive}
	b.feed = h.newFeed(open)
	return b
}

// expects returns what tells whether a message for a room may concern this node; the others are dropped unread.
func expects(local adapter.Local) func(room string) bool {
	if e, ok := local.(adapter.RoomExpecter); ok {
		return e.ExpectsRoom
	}
	return local.HasRoom
}

// deliver hands a message on; nil is one that is not for this node. source says where it comes from in case it is none.
func (b *mailbox) deliver(m *adapter.Message, err error, source string) {
	switch {
	case err != nil:
		b.hub.stats.badFrames.Add(1)
		b.complain("message that cannot be decoded", err, source)
	case m == nil:
		b.hub.stats.foreign.Add(1)
	case !b.closed.Load():
		if m.Kind == 0 { // nothing is left of it but its place in the order
			b.hub.stats.foreign.Add(1)
		}
		b.receive(m)
	}
}

// unsent takes note of an answer that could not be sent. The hub counts those for which Redis is the reason.
func (b *mailbox) unsent(err error) {
	if err != nil && !errors.Is(err, adapter.ErrClusterUnavailable) {
		b.complain("answer that cannot be encoded", err, "")
	}
}

func (b *mailbox) complain(what string, err error, source string) {
	if held, ok := b.complaints.Pass(tellEvery); ok {
		b.log.Warn(what, "error", err, "source", source, "notLogged", held)
	}
}

// close ends the deliveries. It may be called by receive.
func (b *mailbox) close() {
	b.closed.Store(true)
	b.feed.close()
}

// escapeGlob makes a pattern that text alone matches.
func escapeGlob(text string) string { return globSpecial.Replace(text) }

var globSpecial = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)
