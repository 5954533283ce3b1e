package redisadapter

import (
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

// Stats tells what an adapter has done since it was made, for all its namespaces together.
type Stats struct {
	State  State
	Reason error     // why the state is Down, else nil
	Since  time.Time // when the state began
	// StateChanges counts the changes of State.
	StateChanges uint64

	// Connections is the number of connections with subscriptions, Reconnects how many of them were made anew.
	Connections int
	Reconnects  uint64
	// Wanted and Confirmed count channels and patterns: those we want, and those of them that Redis has confirmed.
	Wanted, Confirmed int
	// Resubscribed counts subscriptions that Redis or a lost connection had ended and that were asked for again.
	Resubscribed uint64

	// Queued commands wait to be sent or to be answered, and Sent were executed. Failed were refused, or under way when their
	// connection ended, by kind of error: of the latter, "connection" and "timeout", it is not known whether they were executed.
	// Dropped were not sent, by reason: "full" (the queue), "stale" (older than Options.QueueAge), "down" (of no use later, such as
	// questions), "refused" (because Redis had just refused another one of the kind), "closed" (the server).
	Queued, QueuedBytes int
	Sent                uint64
	Failed              map[string]uint64
	Dropped             map[string]uint64

	// Received counts messages on our channels, ReceivedBytes their bodies, Foreign those of them that nobody on this
	// node needs, BadFrames those that could not be decoded, FeedDropped those dropped because a namespace had too many
	// waiting.
	Received, ReceivedBytes, Foreign, BadFrames, FeedDropped uint64

	// Members counts what was heard on the channels on which nodes speak of themselves; nothing else here counts it.
	Members uint64

	// StreamLost counts entries that were removed from a stream before they were read, at least as far as Redis tells;
	// StreamRestarts how often the reading of a stream was interrupted. Entries that are read count as received.
	StreamLost, StreamRestarts uint64

	// LogBroken counts how often something was missing in the log to which clients come back: the stream, or what goes with pub/sub.
	LogBroken uint64
}

// counters is the part of Stats that is only counted.
type counters struct {
	outflow.Counters
	inflow                              inflow.Counters
	resubscribed                        atomic.Uint64
	received, receivedBytes             atomic.Uint64
	streamLost, streamRestarts, members atomic.Uint64
	logBroken                           atomic.Uint64
}

// figures is described with PubSub.Stats.
func (b *builder) figures() Stats {
	c := b.stats
	s := Stats{
		Sent: c.Sent.Load(), Reconnects: c.Reconnects.Load(), Resubscribed: c.resubscribed.Load(),
		Received: c.received.Load(), ReceivedBytes: c.receivedBytes.Load(), Foreign: c.inflow.Foreign.Load(),
		BadFrames: c.inflow.BadFrames.Load(), FeedDropped: c.inflow.Dropped.Load(),
		StreamLost: c.streamLost.Load(), StreamRestarts: c.streamRestarts.Load(), Members: c.members.Load(),
		LogBroken: c.logBroken.Load(),
	}
	s.Failed, s.Dropped = c.Failed(), c.Dropped()
	s.State, s.Since, s.StateChanges, s.Reason = b.servers.Worst()
	for _, br := range b.servers.Open() {
		br.hub.addTo(&s)
	}
	return s
}

// What there is a count for also before it has happened, so that the first time can be seen.
var (
	usualFailures = []string{"connection", "timeout", "loading", "oom", "readonly", "noperm", "other"}
	usualDrops    = []string{outflow.Full, outflow.Stale, outflow.Down, outflow.Refused, outflow.Closed}
)

// BrokerStats implements adapter.BrokerReporter. The state and the queue are those of this server, the counts those of all that
// share the adapter.
func (b *broker) BrokerStats() adapter.BrokerStats {
	c := b.hub.stats
	s := adapter.BrokerStats{
		Up: b.hub.status.Is(Up), Sent: c.Sent.Load(), Received: c.received.Load() + c.members.Load(),
		Reconnects: c.Reconnects.Load(), Resubscribed: c.resubscribed.Load(), LogBroken: c.logBroken.Load(),
	}
	s.Failed, s.Dropped = c.Failed(usualFailures...), c.Dropped(usualDrops...)
	s.Dropped["unhandled"] = c.inflow.Dropped.Load()
	s.Dropped["malformed"] = c.inflow.BadFrames.Load()
	if r := b.hub.running(); r != nil {
		s.Queued, s.QueuedBytes = r.pub.figures()
	}
	return s
}

// addTo adds what one server has.
func (h *hub) addTo(s *Stats) {
	r := h.running()
	if r == nil {
		return
	}
	queued, bytes := r.pub.figures()
	s.Queued += queued
	s.QueuedBytes += bytes
	connections, wanted, confirmed := r.sub.figures()
	s.Connections += connections
	s.Wanted += wanted
	s.Confirmed += confirmed
}
