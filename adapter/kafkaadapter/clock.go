package kafkaadapter

import (
	"sync/atomic"
	"time"
)

const (
	// staleAfter is how old such a record may be when it is read: it may have waited, the clocks of brokers may differ a little, and
	// so may what the nodes know of them.
	staleAfter = 5 * time.Second
	// staleByOwnClock is the same where records carry the clocks of their senders: these must not be further apart.
	staleByOwnClock = time.Minute
	// trustedTrip is the longest way through Kafka from which the broker's clock can be told.
	trustedTrip = time.Second
)

// clock tells the time by the broker's clock, which all nodes have in common, whatever their own clocks say. It is learned from what
// this node sends to itself and the broker stamps. All methods may be called concurrently.
type clock struct {
	start time.Time    // with its monotonic part
	ahead atomic.Int64 // milliseconds: the broker's clock less the time since start; 0 while it is not known
}

func newClock() *clock { return &clock{start: time.Now()} }

// elapsed is the time since start in microseconds.
func (c *clock) elapsed() int64 { return time.Since(c.start).Microseconds() }

// now is the broker's time in milliseconds, 0 while it is not known.
func (c *clock) now() int64 {
	ahead := c.ahead.Load()
	if ahead == 0 {
		return 0
	}
	return ahead + c.elapsed()/1000
}

// learn takes a record of this node's own: when it was sent, by elapsed, and how the broker has stamped it.
func (c *clock) learn(sent int64, stamp time.Time) {
	now := c.elapsed()
	if trip := now - sent; trip < 0 || trip > trustedTrip.Microseconds() {
		return // it has waited somewhere, or has a number that was invented
	}
	c.ahead.Store(stamp.UnixMilli() - now/1000)
}

// stale reports whether what was of use for a moment is of none any more. at is when it was written, by the broker's clock or 0;
// stamp is the record's time, which is the broker's if byBroker is set, else the sender's.
func (c *clock) stale(at int64, stamp time.Time, byBroker bool) bool {
	if !byBroker {
		return time.Since(stamp) > staleByOwnClock
	}
	now := c.now()
	if now == 0 {
		return time.Since(stamp) > staleByOwnClock // the clocks of this node and of the broker may differ
	}
	age := now - stamp.UnixMilli()
	if at > 0 {
		age = max(age, now-at)
	}
	return age > staleAfter.Milliseconds()
}
