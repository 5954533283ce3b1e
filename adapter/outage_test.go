package adapter_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
)

// askBy makes a node without sockets ask in place of a, over a bus of the test's own.
func (n *network) askBy(t *testing.T, wrap func(adapter.Bus) adapter.Bus) {
	t.Helper()
	a := mustJoin(t, &n.Cluster, "x", adaptertest.NewNode("/"), wrap)
	synctest.Wait()
	n.adapters["a"], n.adapters["x"] = a, n.adapters["a"]
}

// scatteredBus does not count some nodes for a while after a loss.
type scatteredBus struct {
	adapter.Bus
	losses    atomic.Uint64
	scattered atomic.Int32
	asked     atomic.Int32
	down      atomic.Bool
}

func (b *scatteredBus) Losses() uint64 { return b.losses.Load() }

func (b *scatteredBus) Count(ctx context.Context) (int, error) {
	if b.down.Load() {
		return 0, adapter.ErrClusterUnavailable
	}
	n, err := b.Bus.Count(ctx)
	return n - int(b.scattered.Load()), err
}

func (b *scatteredBus) Publish(m *adapter.Message) error {
	if b.down.Load() {
		return adapter.ErrClusterUnavailable
	}
	b.asked.Add(1)
	return b.Bus.Publish(m)
}

// TestReassemble: after a loss a question waits a moment for the nodes that were there before, but only once for those that do
// not come back.
func TestReassemble(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		bus := &scatteredBus{}
		n.askBy(t, func(b adapter.Bus) adapter.Bus { bus.Bus = b; return bus })
		n.fetch(t.Context()).check(t, "before", answer{values: allSockets})
		for range 2 {
			bus.losses.Add(1)
			bus.down.Store(true)
			n.fetch(t.Context()).check(t, "down", answer{values: "[]", missing: ids{"a", "b", "c"}, unanswered: 3, err: adapter.ErrClusterUnavailable})
			bus.down.Store(false)
			bus.scattered.Store(2)
			asked := bus.asked.Load()
			fetched := later(func() answer { return n.fetch(t.Context()) })
			time.Sleep(290 * time.Millisecond)
			if bus.asked.Load() != asked {
				t.Error("the question is sent while nodes are away")
			}
			bus.scattered.Store(0)
			(<-fetched).check(t, "all come back", answer{values: allSockets, took: 300 * time.Millisecond})
		}
		n.Kill("c")
		bus.losses.Add(1)
		n.fetch(t.Context()).check(t, "one does not", answer{values: withoutC, took: time.Second})
		n.fetch(t.Context()).check(t, "waited for once", answer{values: withoutC})
	})
}

// TestReassembleInTime: waiting for the nodes leaves time for the question, and the others are told how much.
func TestReassembleInTime(t *testing.T) {
	for _, timeout := range []time.Duration{800 * time.Millisecond, 5 * time.Second} {
		bubble(t, func(t *testing.T, n *network) {
			bus := &scatteredBus{}
			n.askBy(t, func(b adapter.Bus) adapter.Bus { bus.Bus = b; return bus })
			n.fetch(t.Context()).check(t, "before", answer{values: allSockets})
			n.Kill("c")
			bus.losses.Add(1)
			n.silence("b2")
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			n.acks(t, ctx, 4).check(t, "acks", answer{values: "[a/a1=a1 a/a2=a2 b/b1=b1 b/b2!]", err: context.DeadlineExceeded, took: timeout})
		})
	}
}

// forgetfulBus says nil, sends nothing, and tells after a while.
type forgetfulBus struct {
	adapter.Bus
	forgets atomic.Bool
	tells   time.Duration
}

func (b *forgetfulBus) Publish(m *adapter.Message) error {
	if !b.forgets.Load() {
		return b.Bus.Publish(m)
	}
	if sent := m.Sent; sent != nil {
		time.AfterFunc(b.tells, func() { sent(adapter.Receipt{Receivers: -1, Err: errors.New("broken pipe")}) })
	}
	return nil
}

// TestUnsent has a question that the broker never gets.
func TestUnsent(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		bus := &forgetfulBus{}
		n.askBy(t, func(b adapter.Bus) adapter.Bus { bus.Bus = b; return bus })
		bus.forgets.Store(true)
		n.fetch(t.Context()).check(t, "unsent", answer{values: "[]", missing: ids{"a", "b", "c"}, unanswered: 3, err: adapter.ErrClusterUnavailable, took: 250 * time.Millisecond})
		bus.tells = 900 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond) // between two comparisons
		defer cancel()
		n.fetch(ctx).check(t, "told late", answer{values: "[]", missing: ids{"a", "b", "c"}, unanswered: 3,
			err: adapter.ErrClusterUnavailable, took: 1200 * time.Millisecond})
		bus.forgets.Store(false)
		n.fetch(t.Context()).check(t, "sent", answer{values: allSockets})
	})
}

// TestNamelessVanish kills a node with and one without a name, while a socket of a third is slow to answer: nobody is waited for
// but the socket.
func TestNamelessVanish(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.conceal(t, "c")
		n.add(t, "d")
		n.fetch(t.Context()).check(t, "before", answer{values: "[a1 a2 b1 b2 c1 c2 d1 d2]"})
		n.Freeze("b")
		n.Freeze("c")
		n.silence("d2")
		asked := later(func() answer { return n.acks(t, t.Context(), 4) })
		n.Kill("b")
		n.Kill("c")
		time.Sleep(2 * time.Second)
		n.sockets["d2"].Disconnect()
		(<-asked).check(t, "acks", answer{values: "[/a1=a1 /a2=a2 d/d1=d1 d/d2!]", took: 2 * time.Second})
	})
}

// TestNotSoNew has a node that took the place of another some seconds ago, and is slow.
func TestNotSoNew(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.fetch(t.Context()).check(t, "before", answer{values: allSockets})
		n.Kill("c")
		time.Sleep(time.Second)
		n.add(t, "d")
		time.Sleep(4 * time.Second)
		n.Freeze("d")
		fetched := later(func() answer { return n.fetch(t.Context()) })
		time.Sleep(2 * time.Second)
		n.Thaw("d")
		(<-fetched).check(t, "fetch", answer{values: "[a1 a2 b1 b2 d1 d2]", took: 2 * time.Second})
	})
}

// mutedBus can leave the list of the nodes unanswered.
type mutedBus struct {
	adapter.Bus
	muted atomic.Bool
}

func (b *mutedBus) Nodes(ctx context.Context) ([]adapter.NodeID, error) {
	if b.muted.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return b.Bus.Nodes(ctx)
}

// TestReplacedAfterTrouble replaces a node some time after the broker did not list the nodes: it has been asked again.
func TestReplacedAfterTrouble(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		bus := &mutedBus{}
		n.askBy(t, func(b adapter.Bus) adapter.Bus { bus.Bus = b; return bus })
		bus.muted.Store(true)
		n.fetch(t.Context()).check(t, "before", answer{values: allSockets})
		time.Sleep(11 * time.Second)
		bus.muted.Store(false)
		n.Freeze("c")
		fetched := later(func() answer { return n.fetch(t.Context()) })
		n.Kill("c")
		time.Sleep(100 * time.Millisecond)
		n.add(t, "d")
		(<-fetched).check(t, "fetch", answer{values: "[a1 a2 b1 b2]", took: 250 * time.Millisecond})
	})
}
