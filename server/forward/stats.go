package forward

import (
	"maps"
	"sync/atomic"
)

// Reason says why a request got the answer that its session is unknown.
type Reason string

// Reasons.
const (
	OwnSession       Reason = "own"         // the id is of this node, whose session has ended, or was never there
	NoOwner          Reason = "no_owner"    // no node is known to make such ids: it is gone, of Node.js, or the id is made up
	OwnerSilent      Reason = "silent"      // nothing is heard of the node
	OwnerUnreachable Reason = "unreachable" // the node has no private listener, or cannot be reached there
	OwnerFailed      Reason = "failed"      // the node broke off before it answered
	OwnerUnknown     Reason = "unknown"     // the node does not know the session any more
	PeerRefused      Reason = "refused"     // the node refused the pass: it has another secret
	NotForwarded     Reason = "forwarded"   // the request came from another node, and is not here
)

var reasons = []Reason{OwnSession, NoOwner, OwnerSilent, OwnerUnreachable, OwnerFailed, OwnerUnknown, PeerRefused, NotForwarded}

// Refusals of what came to the private listener.
var refusals = []error{errMalformed, errSignature, errTarget, errReplay}

// Stats is a snapshot of a Forwarder.
type Stats struct {
	// Counts since the start.
	Forwarded uint64 // polls and POSTs that another node has answered
	Relayed   uint64 // websockets whose session is on another node
	Served    uint64 // requests of other nodes, of all kinds
	Arrived   uint64 // young sessions that other nodes have handed over
	Left      uint64 // young sessions handed over to other nodes
	Lost      uint64 // young sessions that could not go on here after another node had given them away

	// Unknown counts the requests that got the answer that their session is unknown, by Reason.
	Unknown map[Reason]uint64
	// Refused counts what the private listener has refused, by "malformed", "signature", "target" and "replay".
	Refused map[string]uint64

	// Live objects.
	Relays   int // websockets that are relayed now
	Pointers int // sessions handed over that still poll
	Peers    int // other nodes that are known
}

type counters struct {
	forwarded, relayed, served, arrived, left, lost atomic.Uint64
	relays                                          atomic.Int64
	starting                                        atomic.Int64 // relays whose client gets the answer now
	unknown                                         map[Reason]*atomic.Uint64
	refused                                         map[string]*atomic.Uint64
}

func (c *counters) init() {
	c.unknown, c.refused = make(map[Reason]*atomic.Uint64), make(map[string]*atomic.Uint64)
	for _, reason := range reasons {
		c.unknown[reason] = new(atomic.Uint64)
	}
	for _, err := range refusals {
		c.refused[err.Error()] = new(atomic.Uint64)
	}
}

// Stats returns the current counts.
func (f *Forwarder) Stats() Stats {
	c := &f.count
	s := Stats{
		Forwarded: c.forwarded.Load(), Relayed: c.relayed.Load(), Served: c.served.Load(),
		Arrived: c.arrived.Load(), Left: c.left.Load(), Lost: c.lost.Load(),
		Unknown: loaded(c.unknown), Refused: loaded(c.refused),
		Relays: int(c.relays.Load()), Pointers: f.pointers.count(), Peers: f.peers.count(),
	}
	return s
}

func loaded[K comparable](counts map[K]*atomic.Uint64) map[K]uint64 {
	values := make(map[K]uint64, len(counts))
	for key := range maps.Keys(counts) {
		values[key] = counts[key].Load()
	}
	return values
}
