package kafkaadapter

import (
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/internal/returning"
)

// TestAwayInOutage has the only broker go while some clients are away, one loses its connection, and one stays, and come again: each gets all
// that was said, also in the outage.
func TestAwayInOutage(t *testing.T) {
	server := kafkatest.Victim(t)
	opts := options(t, server.Addr)
	opts.QueueAge = 2 * time.Minute // a slow machine may take long to start Kafka
	a := newAbsence(t, opts, opts)
	loses, here := returning.NewCounting(t), returning.NewCounting(t)
	for _, c := range []*returning.Counting{loses, here} {
		c.Settle(a.nodes[0])
	}
	a.say(0)
	loses.Until("n", a.said-1)
	a.leave()
	server.Kill()
	a.await(Down)
	a.sayUnheard(0, 10)
	here.Until("n", a.said-1) // its node has said it
	loses.Until("n", a.said-5)
	loses.Conn.Cut()
	a.sayUnheard(0, 10)
	server.Start()
	a.await(Up)
	a.stays.Until("n", a.said-1)
	if got := a.comes(loses, 0); got != "recovered" {
		t.Errorf("who has lost its connection in the outage is %q", got)
	}
	a.back(1, "recovered")
	for _, c := range []*returning.Counting{loses, here} {
		if c.Until("n", a.said-1); c.Holes > 0 {
			t.Errorf("%d numbers are missing", c.Holes)
		}
	}
}

// await waits until all nodes have a state.
func (a *absence) await(state State) {
	a.t.Helper()
	redistest.Eventually(a.t, "the nodes are "+state.String(), func() bool {
		for _, k := range a.kafka {
			if k.Stats().State != state {
				return false
			}
		}
		return true
	})
}
