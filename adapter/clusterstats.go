package adapter

import "github.com/sockeye-io/sockeye/server/latency"

// ClusterStats is how the cluster looks to one of its nodes, and how long it takes to reach it.
type ClusterStats struct {
	// Nodes that are known, by state; this one is alive. Draining is how many of them drain.
	Alive, Silent, Absent, Draining int

	// Broker is what the broker tells of itself, nil if it tells nothing or if there is none.
	Broker *BrokerStats

	// RoundTrip is how long what this node sends to itself is on its way through the broker. OneWay is how long what it sends to
	// another node is: half of the time until the answer is here, since clocks differ. Both are measured with every heartbeat,
	// OneWay with a node that is chosen at random.
	RoundTrip, OneWay latency.Snapshot
	// RoundTripsLost and OneWaysLost count what did not come back within 10 s, or before the broker was lost.
	RoundTripsLost, OneWaysLost uint64
}

// ClusterReporter is implemented by clusters that know how they are.
type ClusterReporter interface {
	Stats() ClusterStats
}

// BrokerStats is how the connection of one node to its broker is. Counts begin with that connection.
type BrokerStats struct {
	Up bool // messages come and go

	// What waits to be sent, now.
	Queued, QueuedBytes int

	// Counts since the start.
	Sent, Received uint64            // messages and commands
	Failed         map[string]uint64 // of those sent, those of which it is not known that they were taken, by a word for the cause
	Dropped        map[string]uint64 // those not sent, and those received that could not be kept, by a word for the reason
	Reconnects     uint64            // connections that were made anew
	Resubscribed   uint64            // subscriptions that were lost and asked for again
	LogBroken      uint64            // times that something was missing in the log to which clients come back
}

// BrokerReporter is implemented by a Broker that knows how it is. The method must not block.
type BrokerReporter interface {
	BrokerStats() BrokerStats
}

// Stats implements ClusterReporter.
func (j *joined) Stats() ClusterStats {
	var s ClusterStats
	for _, n := range j.members.Nodes() {
		switch n.State {
		case NodeAlive:
			s.Alive++
		case NodeSilent:
			s.Silent++
		case NodeAbsent:
			s.Absent++
		}
		if n.Draining {
			s.Draining++
		}
	}
	l := j.members.Latencies()
	s.RoundTrip, s.RoundTripsLost, s.OneWay, s.OneWaysLost = l.RoundTrip, l.RoundTripLost, l.OneWay, l.OneWayLost
	if b, ok := j.broker.(BrokerReporter); ok {
		stats := b.BrokerStats()
		s.Broker = &stats
	}
	return s
}
