package users

import "sync/atomic"

// counters grow only.
type counters struct {
	writes, storeErrors, renewals, swept     atomic.Uint64
	hits, lookups, corrections               atomic.Uint64
	directed, forwarded, everywhere, foreign atomic.Uint64
	lost                                     atomic.Uint64
}

// Stats is a snapshot of a directory. Numbers without a remark count since its start.
type Stats struct {
	Users   int // with sockets on this node, now
	Sockets int // of them, now
	Away    int // users in their grace time in the care of this node, now
	Pending int // users whose state the store does not have yet, now
	Cached  int // users of other nodes in the cache, now
	Watched int // groups of which this node tells changes to nodes that watch them, itself included, now

	Mixed     bool // there may be nodes that do not keep the directory, see Options.Mixed
	StoreAway bool // the store does not answer

	Writes      uint64 // changes that the store has taken
	StoreErrors uint64 // calls of the store that failed
	Renewals    uint64 // how often everything was written anew
	Swept       uint64 // lives that this node has swept
	CacheHits   uint64 // messages whose user was in the cache
	Lookups     uint64 // questions to the store about one user
	Corrections uint64 // times that another node said where a user really is
	Directed    uint64 // messages to nodes that hold the user
	Forwarded   uint64 // of other nodes, or unheard, which were sent on to where the user is
	Everywhere  uint64 // messages to all nodes, because the store was away or had lost its entries, or because clients that come back get them
	Foreign     uint64 // messages for nodes that do not keep the directory
	Lost        uint64 // messages that did not find their user
}

// Stats returns a snapshot.
func (d *Directory) Stats() Stats {
	c := &d.counts
	s := Stats{
		Cached: d.cache.len(), Watched: int(d.presence.serving.Load()), Mixed: d.mixed.on(),
		Writes: c.writes.Load(), StoreErrors: c.storeErrors.Load(), Renewals: c.renewals.Load(), Swept: c.swept.Load(),
		CacheHits: c.hits.Load(), Lookups: c.lookups.Load(), Corrections: c.corrections.Load(), Directed: c.directed.Load(),
		Forwarded: c.forwarded.Load(), Everywhere: c.everywhere.Load(), Foreign: c.foreign.Load(), Lost: c.lost.Load(),
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Sockets, s.StoreAway = len(d.sockets), d.down
	for _, u := range d.users {
		switch {
		case u.count > 0:
			s.Users++
			if u.stored != storedHeld {
				s.Pending++
			}
		case u.stored == storedAway:
			s.Away++
		default:
			s.Pending++
		}
	}
	return s
}
