package membership

import (
	"math/rand/v2"
	"time"

	"github.com/sockeye-io/sockeye/server/latency"
)

// canaryPatience is how long a canary may take before it is lost, and maxCanaries how many may be on their way: more than are sent
// within that time, unless the interval is that of a test.
const (
	canaryPatience = 10 * time.Second
	maxCanaries    = 32
)

// canary is a ping that was sent to find out how long messages take: with every beat one to this node's own inbox, and one to a
// member, chosen at random, which answers at once. Former versions answer too, but without the mark.
type canary struct {
	mark uint64 // what the answer has
	to   ID
	sent time.Time
}

// canaries measure how long messages take. Guarded by Members.mu, but for the histograms.
type canaries struct {
	mark            uint64 // of the newest
	under           []canary
	own, others     latency.Histogram
	lostOwn, losses uint64
}

// Latencies tell how long messages take, of what was measured since New, and how many measurements failed: after 10 s, or because
// the transport was lost.
type Latencies struct {
	RoundTrip     latency.Snapshot // from this node to its own inbox
	RoundTripLost uint64
	OneWay        latency.Snapshot // to another node: half of the time until its answer is here, since clocks differ
	OneWayLost    uint64
}

// Latencies returns what was measured.
func (m *Members) Latencies() Latencies {
	c := &m.canaries
	l := Latencies{RoundTrip: c.own.Snapshot(), OneWay: c.others.Snapshot()}
	m.mu.Lock()
	defer m.mu.Unlock()
	l.RoundTripLost, l.OneWayLost = c.lostOwn, c.losses
	return l
}

// sendCanariesLocked sends one to this node and one to another that is alive, and gives up those that are overdue.
func (m *Members) sendCanariesLocked(now time.Time) {
	c := &m.canaries
	for len(c.under) > 0 && (now.Sub(c.under[0].sent) >= canaryPatience || len(c.under) > maxCanaries-2) {
		m.loseCanariesLocked(1)
	}
	m.sendCanaryLocked(m.self.ID, now)
	var chosen *member
	alive := 0
	for _, mem := range m.members {
		if mem.node.State == Alive {
			if alive++; rand.IntN(alive) == 0 {
				chosen = mem
			}
		}
	}
	if chosen != nil {
		m.sendCanaryLocked(chosen.node.ID, now)
	}
}

func (m *Members) sendCanaryLocked(to ID, now time.Time) {
	c := &m.canaries
	c.mark++
	c.under = append(c.under, canary{c.mark, to, now})
	ping := m.headerLocked(kindPing)
	ping.Mark = c.mark
	m.sendLocked(to, &ping)
}

// loseCanariesLocked gives up the oldest ones.
func (m *Members) loseCanariesLocked(n int) {
	c := &m.canaries
	for _, lost := range c.under[:n] {
		if lost.to == m.self.ID {
			c.lostOwn++
		} else {
			c.losses++
		}
	}
	c.under = append(c.under[:0], c.under[n:]...)
}

// canaryBackLocked takes the ping that this node has sent to itself, or the answer of another. An answer without a mark is for the
// oldest one.
func (m *Members) canaryBackLocked(from ID, mark uint64, now time.Time) {
	c := &m.canaries
	for i, back := range c.under {
		if back.to != from || mark != 0 && back.mark != mark {
			continue
		}
		if took := now.Sub(back.sent); from == m.self.ID {
			c.own.Observe(took)
		} else {
			c.others.Observe(took / 2)
		}
		c.under = append(c.under[:i], c.under[i+1:]...)
		return
	}
}

// forgetCanariesLocked waits no more for the answers of a node that has said good-bye.
func (m *Members) forgetCanariesLocked(to ID) {
	c := &m.canaries
	kept := c.under[:0]
	for _, one := range c.under {
		if one.to != to {
			kept = append(kept, one)
		}
	}
	c.under = kept
}
