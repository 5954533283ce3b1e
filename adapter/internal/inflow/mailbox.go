// Package inflow is the way of what a broker brings: bytes go in, messages come out, one at a time for each namespace, and what waits
// is bounded. It knows no broker.
package inflow

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/seldom"
)

// TellEvery is the least time between two log lines of one kind.
const TellEvery = 10 * time.Second

// Counters count what has arrived and was not handed on.
type Counters struct {
	Foreign   atomic.Uint64 // nobody on this node needs it
	BadFrames atomic.Uint64 // it could not be decoded
	Dropped   atomic.Uint64 // too much waited
}

// Mailbox takes what arrives for a namespace, and hands the messages on one at a time.
type Mailbox[T Item] struct {
	// Static after construction.
	counters *Counters
	log      *slog.Logger
	feed     *Feed[T]
	receive  func(m *adapter.Message)

	closed     atomic.Bool
	complaints seldom.Counted
}

// Options say whose mailbox it is and how much waits in it.
type Options struct {
	Namespace string
	Limit     int // of what waits, in bytes
	Counters  *Counters
	Logger    *slog.Logger
}

// NewMailbox returns a mailbox that hands what is pushed into it to open, which decodes it and calls Deliver.
func NewMailbox[T Item](opts Options, open func(T), receive func(m *adapter.Message)) *Mailbox[T] {
	return &Mailbox[T]{
		counters: opts.Counters, log: opts.Logger.With("namespace", opts.Namespace), receive: receive,
		feed: NewFeed(opts.Limit, &opts.Counters.Dropped, open),
	}
}

// Expects returns what tells whether a message for a room may concern this node; the others are dropped unread.
func Expects(local adapter.Local) func(room string) bool {
	if e, ok := local.(adapter.RoomExpecter); ok {
		return e.ExpectsRoom
	}
	return local.HasRoom
}

// Push queues what has arrived, or drops it when too much waits, and reports which. It does not block.
func (b *Mailbox[T]) Push(item T) (queued bool) { return b.feed.Push(item) }

// Deliver hands a message on; nil is one that is not for this node. source says where it comes from in case it is none.
func (b *Mailbox[T]) Deliver(m *adapter.Message, err error, source string) {
	switch {
	case err != nil:
		b.counters.BadFrames.Add(1)
		b.Complain("message that cannot be decoded", err, source)
	case m == nil:
		b.counters.Foreign.Add(1)
	case !b.closed.Load():
		if m.Kind == 0 { // nothing is left of it but its place in the order
			b.counters.Foreign.Add(1)
		}
		b.receive(m)
	}
}

// Unsent takes note of an answer that could not be sent. The adapter counts those for which the broker is the reason.
func (b *Mailbox[T]) Unsent(err error) {
	if err != nil && !errors.Is(err, adapter.ErrClusterUnavailable) {
		b.Complain("answer that cannot be encoded", err, "")
	}
}

// Complain logs what is wrong with a message, seldom.
func (b *Mailbox[T]) Complain(what string, err error, source string) {
	if held, ok := b.complaints.Pass(TellEvery); ok {
		b.log.Warn(what, "error", err, "source", source, "notLogged", held)
	}
}

// Close ends the deliveries. It may be called by receive.
func (b *Mailbox[T]) Close() {
	b.closed.Store(true)
	b.feed.Close()
}
