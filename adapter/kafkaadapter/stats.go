package kafkaadapter

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

	// Partitions is the number of partitions that are read, Lag how many records in them are known to wait.
	Partitions int
	Lag        int64
	// Reconnects counts connections to brokers that were made anew after one had ended.
	Reconnects uint64

	// Queued records wait to be sent or to be acknowledged, and Sent were acknowledged. Failed were refused or given up, by kind of
	// error: of those by "connection" and "timeout" it is not known whether Kafka has them. Dropped were not sent, by reason: "full"
	// (the queue), "stale" (older than Options.QueueAge), "down" (of no use later, such as questions), "refused" (because Kafka had just
	// refused another one), "toolarge" (longer than its topic allows), "closed" (the server).
	Queued, QueuedBytes int
	Sent                uint64
	Failed              map[string]uint64
	Dropped             map[string]uint64

	// Received counts records that were read, ReceivedBytes their values, Foreign those of them that nobody on this node needs,
	// BadFrames those that could not be decoded, Outdated questions, volatile packets and what nodes say of themselves that were too old
	// when they were read.
	Received, ReceivedBytes, Foreign, BadFrames, Outdated uint64

	// Lost counts records that Kafka had removed or lost before they were read here, at least as far as it tells, and Gaps how often
	// that has happened. NewTopics counts topics that were found to be deleted and made anew.
	Lost, Gaps, NewTopics uint64
}

// counters is the part of Stats that is only counted.
type counters struct {
	outflow.Counters
	inflow                  inflow.Counters
	received, receivedBytes atomic.Uint64
	outdated                atomic.Uint64
	lost, gaps, newTopics   atomic.Uint64
}

// lose counts records that were lost before they were read, at least one.
func (c *counters) lose(n int64) {
	c.lost.Add(uint64(max(n, 1)))
	c.gaps.Add(1)
}

// figures is described with Kafka.Stats.
func (k *Kafka) figures() Stats {
	c := k.stats
	s := Stats{
		Sent: c.Sent.Load(), Reconnects: c.Reconnects.Load(), Received: c.received.Load(), ReceivedBytes: c.receivedBytes.Load(),
		Foreign: c.inflow.Foreign.Load(), BadFrames: c.inflow.BadFrames.Load(), Outdated: c.outdated.Load(),
		Lost: c.lost.Load(), Gaps: c.gaps.Load(), NewTopics: c.newTopics.Load(),
	}
	s.Failed, s.Dropped = c.Failed(), c.Dropped()
	s.State, s.Since, s.StateChanges, s.Reason = k.servers.Worst()
	for _, b := range k.servers.Open() {
		b.addTo(&s)
	}
	return s
}

// addTo adds what one server has.
func (b *broker) addTo(s *Stats) {
	queued, bytes := b.pub.figures()
	s.Queued += queued
	s.QueuedBytes += bytes
	partitions, lag := b.readers.figures()
	s.Partitions += partitions
	s.Lag += lag
}

// What there is a count for also before it has happened, so that the first time can be seen.
var (
	usualFailures = []string{"connection", "timeout", "noperm", "auth", "toolarge", "notopic", "noreplicas", "other"}
	usualDrops    = []string{outflow.Full, outflow.Stale, outflow.Down, outflow.Refused, outflow.Closed, outflow.TooLarge}
)

// BrokerStats implements adapter.BrokerReporter. The state and the queue are those of this server, the counts those of all that
// share the adapter.
func (b *broker) BrokerStats() adapter.BrokerStats {
	c := b.stats
	s := adapter.BrokerStats{
		Up: b.status.Is(Up), Sent: c.Sent.Load(), Received: c.received.Load(),
		Reconnects: c.Reconnects.Load(), LogBroken: c.gaps.Load(),
	}
	s.Failed, s.Dropped = c.Failed(usualFailures...), c.Dropped(usualDrops...)
	s.Dropped["unhandled"] = c.inflow.Dropped.Load()
	s.Dropped["malformed"] = c.inflow.BadFrames.Load()
	s.Dropped["outdated"] = c.outdated.Load()
	s.Dropped["lost"] = c.lost.Load()
	s.Queued, s.QueuedBytes = b.pub.figures()
	return s
}
