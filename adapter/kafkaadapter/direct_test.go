package kafkaadapter

import (
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestDirectedWakes has ten nodes, two of which have their inbox in one partition. What is said to one of these is read by both, and
// by nobody else.
func TestDirectedWakes(t *testing.T) {
	const messages = 500 // far more than nodes say of themselves meanwhile
	opts := options(t, kafkatest.Shared(t).Addr)
	full := opts.withDefaults()
	to := adapter.NewNodeID()
	nodes := []*node{startAs(t, string(to), opts)}
	for len(nodes) < 10 {
		id := adapter.NewNodeID()
		if shares := inboxOf(&full, id) == inboxOf(&full, to); shares == (len(nodes) == 1) {
			nodes = append(nodes, startAs(t, string(id), opts))
		}
	}
	meet(t, nodes)
	before := make([]uint64, len(nodes))
	for i, n := range nodes {
		before[i] = n.kafka.Stats().Received
	}
	foreign := nodes[1].kafka.Stats().Foreign
	for i := range messages {
		if err := nodes[9].Broadcast(event(t, "say", i), adapter.Selection{}, adapter.Flags{Node: to, Only: true}); err != nil {
			t.Fatal(err)
		}
	}
	redistest.Eventually(t, "everything arrives", func() bool { return len(nodes[0].got()) == messages })
	redistest.Eventually(t, "the other node of the partition skips it", func() bool {
		return nodes[1].kafka.Stats().Foreign-foreign >= messages
	})
	for i, n := range nodes {
		read := n.kafka.Stats().Received - before[i]
		if wakes := read >= messages; wakes != (i < 2) {
			t.Errorf("node %d has read %d records", i, read)
		}
	}
	if n := len(nodes[1].got()); n != 0 {
		t.Errorf("%d messages for another node were delivered", n)
	}
}
