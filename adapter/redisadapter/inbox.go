package redisadapter

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// inbox takes what arrives for a namespace, and hands the messages on one at a time.
type inbox struct {
	// Static after construction.
	hub     *hub
	log     *slog.Logger
	feed    *feed
	receive func(m *adapter.Message)

	turn   sync.Mutex // held while receive runs
	closed atomic.Bool
	quiet  atomic.Int64 // no complaint before this moment, Unix nanoseconds
}

// newInbox returns an inbox whose feed hands what is pushed into it to open, which decodes it and calls deliver.
func newInbox(h *hub, namespace string, open func(channel, body string), receive func(m *adapter.Message)) *inbox {
	in := &inbox{hub: h, log: h.opts.Logger.With("namespace", namespace), receive: receive}
	in.feed = h.newFeed(open)
	return in
}

// deliver hands a message on; nil is one that is not for this node. source says where it comes from in case it is none.
func (in *inbox) deliver(m *adapter.Message, err error, source string) {
	switch {
	case err != nil:
		in.hub.stats.badFrames.Add(1)
		in.complain("message that cannot be decoded", err, source)
	case m == nil:
		in.hub.stats.foreign.Add(1)
	default:
		in.turn.Lock()
		defer in.turn.Unlock()
		if !in.closed.Load() {
			in.receive(m)
		}
	}
}

// unsent takes note of an answer that could not be sent. The hub counts those for which Redis is the reason.
func (in *inbox) unsent(err error) {
	if err != nil && !errors.Is(err, adapter.ErrClusterUnavailable) {
		in.complain("answer that cannot be encoded", err, "")
	}
}

// complaintsEvery is the least time between two complaints of a namespace.
const complaintsEvery = 10 * time.Second

func (in *inbox) complain(what string, err error, source string) {
	now, quiet := time.Now().UnixNano(), in.quiet.Load()
	if now >= quiet && in.quiet.CompareAndSwap(quiet, now+int64(complaintsEvery)) {
		in.log.Warn(what+"; more in the next seconds are only counted", "error", err, "source", source)
	}
}

// close ends the deliveries. It may be called by receive.
func (in *inbox) close() {
	in.closed.Store(true)
	in.feed.close()
}

// globEscaper makes text match only itself in Redis's patterns.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// newAdapter opens the hub for a bus and makes the adapter of it. A question without a deadline waits for timeout, 0 being
// the default.
func (h *hub) newAdapter(local adapter.Local, bus adapter.Bus, timeout time.Duration) (adapter.Adapter, error) {
	if err := h.open(); err != nil {
		return nil, err
	}
	a, err := adapter.NewClustered(local, bus, &adapter.ClusteredOptions{Logger: h.opts.Logger, Timeout: timeout})
	if err != nil {
		h.close()
		return nil, err
	}
	return a, nil
}
