package natsadapter

import (
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

// Stats tells what an adapter has done since it was made, for all its servers and namespaces together.
type Stats struct {
	State  State
	Reason error     // why the state is Down, else nil
	Since  time.Time // when the state began
	// StateChanges counts the changes of State.
	StateChanges uint64

	// Connections is the number of connections that are open, Reconnects how many were made after the first one of their server.
	Connections int
	Reconnects  uint64
	// Wanted and Confirmed count subjects: those we want, and those of them that NATS has confirmed.
	Wanted, Confirmed int
	// Resubscribed counts subscriptions that a lost connection had ended and that were made again.
	Resubscribed uint64

	// Queued messages wait to be written, and Sent were written. Failed are those of the latter of which it is not known whether NATS
	// has got them, and those that it has refused, by kind of error: "connection", "timeout", "permission".
	// Dropped were not sent, by reason: "full" (the queue), "stale" (older than Options.QueueAge), "down" (of no use later, such as
	// questions), "refused" (because NATS had just refused another one on the subject), "toolarge" (for the server's max_payload),
	// "closed" (the server).
	Queued, QueuedBytes int
	Sent                uint64
	Failed              map[string]uint64
	Dropped             map[string]uint64

	// Received counts messages on the subjects of namespaces, ReceivedBytes their bodies, Foreign those of them that nobody on this
	// node needs, BadFrames those that could not be decoded, FeedDropped those dropped because a namespace had too many
	// waiting. Overrun counts those that came faster than they could be sorted, Overtaken those that were dropped because NATS
	// read them on a connection of their sender that had ended, behind what that had written on the next one.
	Received, ReceivedBytes, Foreign, BadFrames, FeedDropped, Overrun, Overtaken uint64

	// LogGaps counts how often broadcasts were removed from the log of broadcasts before a node had them: the stream was purged, deleted or
	// restored, or the node was away for longer than they are kept.
	LogGaps uint64

	// Members counts what was heard on the subjects on which nodes speak of themselves; nothing else here counts it.
	Members uint64

	// Losses counts how often messages for a server may have been lost: it was cut off from NATS, or messages came faster than they
	// could be sorted.
	Losses uint64
}

// counters is the part of Stats that is only counted.
type counters struct {
	outflow.Counters
	inflow                           inflow.Counters
	resubscribed, overrun, overtaken atomic.Uint64
	received, receivedBytes, members atomic.Uint64
	losses, keptGaps                 atomic.Uint64
	connections                      atomic.Int64
}

// Stats returns the current figures. With several servers they are sums, and the state is that of the one that is worst off.
func (b *Builder) Stats() Stats {
	c := b.stats
	s := Stats{
		Connections: int(c.connections.Load()), Sent: c.Sent.Load(), Reconnects: c.Reconnects.Load(), Resubscribed: c.resubscribed.Load(),
		Received: c.received.Load(), ReceivedBytes: c.receivedBytes.Load(), Foreign: c.inflow.Foreign.Load(),
		BadFrames: c.inflow.BadFrames.Load(), FeedDropped: c.inflow.Dropped.Load(), Overrun: c.overrun.Load(), Overtaken: c.overtaken.Load(),
		Members: c.members.Load(), Losses: c.losses.Load(), LogGaps: c.keptGaps.Load(),
	}
	s.Failed, s.Dropped = c.Failed(), c.Dropped()
	s.State, s.Since, s.StateChanges, s.Reason = b.servers.Worst()
	for _, br := range b.servers.Open() {
		br.hub.addTo(&s)
	}
	return s
}

// waiting returns what waits to be sent.
func (h *hub) waiting() (messages, bytes int) {
	messages, bytes = h.queue.figures()
	n, size := h.jet.waiting()
	return messages + n, bytes + size
}

// addTo adds what one server has.
func (h *hub) addTo(s *Stats) {
	queued, bytes := h.waiting()
	s.Queued += queued
	s.QueuedBytes += bytes
	wanted, confirmed := h.subs.figures()
	s.Wanted += wanted
	s.Confirmed += confirmed
}

// What there is a count for also before it has happened, so that the first time can be seen.
var (
	usualFailures = []string{troubleConnection, troubleTimeout, troublePermission}
	usualDrops    = []string{outflow.Full, outflow.Stale, outflow.Down, outflow.Refused, outflow.TooLarge, outflow.Closed}
)

// BrokerStats implements adapter.BrokerReporter. The state and the queue are those of this server, the counts those of all that
// share the adapter.
func (b *broker) BrokerStats() adapter.BrokerStats {
	c := b.hub.stats
	s := adapter.BrokerStats{
		Up: b.hub.status.Is(Up), Sent: c.Sent.Load(), Received: c.received.Load() + c.members.Load(),
		Reconnects: c.Reconnects.Load(), Resubscribed: c.resubscribed.Load(), LogBroken: c.keptGaps.Load(),
	}
	s.Failed, s.Dropped = c.Failed(usualFailures...), c.Dropped(usualDrops...)
	s.Dropped["unhandled"] = c.inflow.Dropped.Load() + c.overrun.Load()
	s.Dropped["malformed"] = c.inflow.BadFrames.Load()
	s.Queued, s.QueuedBytes = b.hub.waiting()
	return s
}
