package adapter_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// countingBus counts what goes to all nodes and what to one.
type countingBus struct {
	adapter.Bus
	published, sent atomic.Int32
}

func (b *countingBus) Publish(m *adapter.Message) error {
	b.published.Add(1)
	return b.Bus.Publish(m)
}

func (b *countingBus) Send(to adapter.NodeID, m *adapter.Message) error {
	b.sent.Add(1)
	return b.Bus.Send(to, m)
}

// TestDirected does everything with sockets of one node: no other hears of it. Where the node cannot be reached alone, all do.
func TestDirected(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		bus := new(countingBus)
		n.askBy(t, func(b adapter.Bus) adapter.Bus { bus.Bus = b; return bus })
		settle()
		x := n.adapters["a"]
		do := func(node adapter.NodeID, wantPublished, wantSent int32) {
			t.Helper()
			bus.published.Store(0)
			bus.sent.Store(0)
			sel, flags := adapter.Selection{Rooms: []string{"b1"}}, adapter.Flags{Node: node}
			if err := x.Broadcast(question, sel, flags); err != nil {
				t.Error(err)
			}
			if err := x.SocketsJoin(sel, flags, []string{"new"}); err != nil {
				t.Error(err)
			}
			if err := x.SocketsLeave(sel, flags, []string{"room"}); err != nil {
				t.Error(err)
			}
			r, err := x.FetchSockets(t.Context(), sel, flags)
			if err != nil || len(r.Values) != 1 || r.Values[0].ID != "b1" || r.Values[0].Node != "b" || !r.Complete() {
				t.Errorf("%+v, error %v", r, err)
			}
			if got := sorted(n.sockets["b1"].Rooms()); got != "[b1 new]" {
				t.Errorf("b1 is in %s", got)
			}
			s := new(sink)
			summary, err := x.BroadcastWithAck(t.Context(), question, sel, flags, s)
			if events, expected := s.taken(); err != nil || events != "[b/b1=b1]" || expected != 1 || summary.Unanswered != 0 {
				t.Errorf("acks: %s, %d expected, %+v, error %v", events, expected, summary, err)
			}
			if p, s := bus.published.Load(), bus.sent.Load(); p != wantPublished || s != wantSent {
				t.Errorf("%d messages to all and %d to one, want %d and %d", p, s, wantPublished, wantSent)
			}
		}
		do("b", 0, 5)
		do("nobody", 5, 0)
		do("", 5, 0)
		if err := x.DisconnectSockets(adapter.Selection{Rooms: []string{"b1"}}, adapter.Flags{Node: "b"}, false); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n.hosts["b"].HasRoom("b1") {
			t.Error("b1 is still there")
		}
	})
}

// TestDirectedFailure asks one node that does not answer, that is killed, and that is this one.
func TestDirectedFailure(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		sel, flags := adapter.Selection{}, adapter.Flags{Node: "c"}
		fetch := func() answer {
			began := time.Now()
			r, err := n.adapters["a"].FetchSockets(context.Background(), sel, flags)
			return newAnswer(r, err, began, func(d adapter.SocketDetails) string { return d.ID })
		}
		fetch().check(t, "one node", answer{values: "[c1 c2]"})
		n.Freeze("c")
		fetched := later(fetch)
		n.Kill("c")
		(<-fetched).check(t, "killed", answer{values: "[]", took: 250 * time.Millisecond})
		flags.Node = "b"
		n.Freeze("b")
		fetch().check(t, "frozen", answer{values: "[]", missing: ids{"b"}, unanswered: 1, took: 5 * time.Second})
		fetch().check(t, "frozen, again: all are asked", answer{values: "[a1 a2]", missing: ids{"b"}, unanswered: 1})
		flags.Node = "a"
		fetch().check(t, "this node", answer{values: "[a1 a2]"})
	})
}

// TestDirectedLocal: Local goes before the node that the sockets are on.
func TestDirectedLocal(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		s := new(sink)
		_, err := n.adapters["a"].BroadcastWithAck(t.Context(), question, adapter.Selection{}, adapter.Flags{Local: true, Node: "b"}, s)
		if events, expected := s.taken(); err != nil || events != "[/a1=a1 /a2=a2]" || expected != 2 {
			t.Errorf("acks: %s, %d expected, error %v", events, expected, err)
		}
	})
}
