package server

import (
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/engine"
)

// Stats is a snapshot of a server's live objects and counters. The values are read one after the other, not at one
// instant.
type Stats struct {
	// Node is what the other nodes know of this server.
	Node adapter.Node

	// Engine has the counts of the connections, drops with their reasons included.
	Engine engine.Stats

	// Draining is what Server.Draining reports.
	Draining bool

	// Drains is how many calls of Drain have not returned: it is above 0 in the grace, and while something is left.
	Drains int

	// Live objects.
	Unjoined    int // connections that have not joined a namespace yet; Options.ConnectTimeout bounds their time
	Namespaces  int // dynamic ones included
	Sockets     int // connected sockets
	Connecting  int // sockets whose middlewares are running
	Rooms       int // joined rooms; a socket's own room is not counted
	PendingAcks int // acknowledgements for which a caller waits
	Questions   int // questions to other nodes that are not settled
	Workers     int // goroutines that run, or wait in, application code
	Relays      int // websockets of sessions on other nodes that come through this one

	// Counts since the start.
	Panics          uint64 // contained panics
	Failures        uint64 // errors of handlers and event middlewares, arguments that did not fit
	Misfits         uint64 // the failures that are arguments that did not fit
	ParseErrors     uint64 // packets that broke the protocol
	UnknownAcks     uint64 // acknowledgements that nobody waited for: late, duplicate or invented
	InboxPauses     uint64 // times that reading paused because an inbox was full
	Refused         uint64 // CONNECT packets, events and joins that Options.Hooks refused
	Incomplete      uint64 // connections closed because attachments did not come in time
	EncodeFailures  uint64 // packets that a codec could not encode, each counted once for a broadcast
	ServerSideDrops uint64 // events of other nodes dropped because their handlers were too slow
	AckTimeouts     uint64 // waits for acknowledgements, of clients or nodes, that ended because time ran out; one for each call
	Drained         uint64 // connections that Drain and Shed have closed, relayed ones included
	DrainCut        uint64 // connections that were left, and cut off, at the end of DrainOptions.Timeout

	// Disconnections counts sockets that had joined, by reason; each of a client's sockets counts. A reason that is no constant
	// of this package is "other".
	Disconnections map[Reason]uint64

	// Limits counts how often something was refused because a client had too much of it, by what the options bound: "namespaces",
	// "attempts", "dynamic_namespaces", "auth", "name", "rooms", "data", "pending_acks", "connecting". Engine.Limits has those of
	// the connections.
	Limits map[string]uint64

	// Recovery counts clients that came back with the secret of a session, by result: "recovered", "unknown" (no such session, or not any
	// more), "gap" (what was missed is not all known any more, or the offset is none), "limit" (too much was missed), "refused" (by
	// RecoveryOptions.Recheck or a middleware), "failed" (the store or the history could not be reached), "gone" (the client, meanwhile),
	// "foreign" (other nodes serve the namespace whose broadcasts are in no history).
	Recovery map[string]uint64

	// Cluster is how the other nodes and the broker look from here.
	Cluster adapter.ClusterStats

	// Order counts what the order among the messages of other nodes has cost.
	Order adapter.OrderStats
}

// Stats returns the current counts. Its cost grows with the number of namespaces, not of sockets.
func (srv *Server) Stats() Stats {
	s := Stats{
		Node:            srv.cluster.Self(),
		Engine:          srv.engine.Stats(),
		Unjoined:        int(srv.unjoined.Load()),
		PendingAcks:     int(srv.pendingAcks.Load()),
		Workers:         int(srv.goroutines.count.Load()),
		Panics:          srv.panics.Load(),
		Failures:        srv.failures.Load(),
		Misfits:         srv.misfits.count.Load(),
		ParseErrors:     srv.parseErrors.Load(),
		UnknownAcks:     srv.unknownAcks.Load(),
		InboxPauses:     srv.inboxPauses.Load(),
		Refused:         srv.refused.Load(),
		Incomplete:      srv.incomplete.Load(),
		EncodeFailures:  srv.encodeFailures.Load(),
		ServerSideDrops: srv.serverSideDrops.Load(),
		AckTimeouts:     srv.ackTimeouts.Load(),
		Draining:        srv.Draining(),
		Drains:          int(srv.drain.running.Load()),
		Relays:          srv.relays(),
		Drained:         srv.drain.drained.Load(),
		DrainCut:        srv.drain.cut.Load(),
	}
	s.Recovery = srv.recoveries.snapshot()
	s.Limits = make(map[string]uint64, limitKinds)
	for i := range srv.limitHits {
		s.Limits[limitNames[i]] = srv.limitHits[i].Load()
	}
	s.Disconnections = make(map[Reason]uint64, len(reasons))
	for i := range srv.disconnections {
		s.Disconnections[reasons[i]] = srv.disconnections[i].Load()
	}
	if c, ok := srv.cluster.(adapter.ClusterReporter); ok {
		s.Cluster = c.Stats()
	} else {
		s.Cluster.Alive = 1
	}
	for _, n := range srv.all() {
		s.Namespaces++
		s.Sockets += n.index.Len()
		s.Connecting += int(n.connecting.Load())
		s.Rooms += n.index.RoomCount()
		if a, ok := n.cluster().(adapter.Clustered); ok {
			s.Questions += a.Pending()
			s.Order = s.Order.Plus(a.Order())
		}
	}
	return s
}
