package natsadapter

import (
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/natstest"
)

// TestDirectedWakes has ten nodes. What is said to one of them no other one gets.
func TestDirectedWakes(t *testing.T) {
	const messages = 200
	url := natstest.Single(t).URL
	nodes := make([]*member, 10)
	for i := range nodes {
		nodes[i] = join(t, of(t, url), "/chat")
	}
	for _, m := range nodes {
		m.knows(t, nodes[1:]...)
	}
	before := make([]uint64, len(nodes))
	for i, m := range nodes {
		before[i] = m.builder.Stats().Received
	}
	for i := range messages {
		err := nodes[9].adapter.Broadcast(chat(t, "/chat", "say", i), adapter.Selection{}, adapter.Flags{Node: nodes[0].cluster.Self().ID, Only: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	nodes[0].hears(t, messages)
	// What all hear comes behind it, on the same connection of each.
	if err := nodes[9].adapter.Broadcast(chat(t, "/chat", "say", "all"), adapter.Selection{}, adapter.Flags{}); err != nil {
		t.Fatal(err)
	}
	for i, m := range nodes[1:9] {
		m.hears(t, 1)
		if read := m.builder.Stats().Received - before[1+i]; read >= messages {
			t.Errorf("node %d has got %d messages", 1+i, read)
		}
	}
}
