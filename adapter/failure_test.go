package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server/parser"
)

type ids = []adapter.NodeID

// TestKilledNode lets a node vanish while it is asked. It costs no more than until the next census, and is not missing:
// it does not exist any more.
func TestKilledNode(t *testing.T) {
	for _, tt := range []struct{ killed, took time.Duration }{{0, 250 * time.Millisecond}, {300 * time.Millisecond, 750 * time.Millisecond}} {
		bubble(t, func(t *testing.T, n *network) {
			n.Freeze("c")
			fetched := later(func() answer { return n.fetch(t.Context()) })
			emitted := later(func() answer { return n.serverSide(t.Context()) })
			if p := n.adapters["a"].Pending(); p != 2 {
				t.Errorf("%d questions are pending, want 2", p)
			}
			time.Sleep(tt.killed)
			n.Kill("c")
			(<-fetched).check(t, "fetch", answer{values: withoutC, took: tt.took})
			(<-emitted).check(t, "server-side", answer{values: "[b]", took: tt.took})
			n.fetch(t.Context()).check(t, "fetch afterwards", answer{values: withoutC})
		})
	}
}

// TestKilledInAcks lets a node vanish before it has counted its sockets, and when one of two has answered.
func TestKilledInAcks(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.Freeze("c")
		asked := later(func() answer { return n.acks(t, t.Context(), 4) })
		n.Kill("c")
		(<-asked).check(t, "before the count", answer{values: "[/a1=a1 /a2=a2 b/b1=b1 b/b2=b2]", took: 250 * time.Millisecond})
	})
	bubble(t, func(t *testing.T, n *network) {
		n.silence("c2")
		asked := later(func() answer { return n.acks(t, t.Context(), 6) })
		n.Kill("c")
		(<-asked).check(t, "after the count", answer{values: "[/a1=a1 /a2=a2 b/b1=b1 b/b2=b2 c/! c/c1=c1]",
			missing: ids{"c"}, unanswered: 1, took: 250 * time.Millisecond})
		n.sockets["c2"].Disconnect() // the killed node still owes its word
	})
}

// TestListener has something listen that is no node. It is recognised once, and later calls do not wait for it; when it
// leaves and a node comes, so that the number stays the same, that node is not forgotten.
func TestListener(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.Listen(1)
		n.fetch(t.Context()).check(t, "first", answer{values: allSockets, took: 250 * time.Millisecond})
		n.fetch(t.Context()).check(t, "second", answer{values: allSockets})
		n.serverSide(t.Context()).check(t, "server-side", answer{values: "[b c]"})
		if count, err := n.adapters["a"].ServerCount(t.Context()); err != nil || count != 3 {
			t.Errorf("%d servers, error %v", count, err)
		}
		n.Listen(-1)
		n.add(t, "d")
		n.Freeze("d")
		time.Sleep(time.Millisecond) // a list of the nodes that is just being made may be shared
		fetched := later(func() answer { return n.fetch(t.Context()) })
		time.Sleep(100 * time.Millisecond)
		n.Thaw("d")
		(<-fetched).check(t, "a node instead", answer{values: "[a1 a2 b1 b2 c1 c2 d1 d2]", took: 100 * time.Millisecond})
	})
}

// crowdedBus lists more nodes than there are, as a broker on which something else is called like a node.
type crowdedBus struct {
	adapter.Bus
	invented ids
}

func (b *crowdedBus) Nodes(ctx context.Context) ([]adapter.NodeID, error) {
	nodes, err := b.Bus.Nodes(ctx)
	return append(nodes, b.invented...), err
}

// TestListedTooMany: there are never more servers than the broker counts.
func TestListedTooMany(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		bus := new(crowdedBus)
		a := mustJoin(t, &n.Cluster, "d", adaptertest.NewNode("/"), func(b adapter.Bus) adapter.Bus { bus.Bus = b; return bus })
		synctest.Wait()
		n.adapters["d"] = a
		n.Listen(1)
		if r, err := a.FetchSockets(t.Context(), adapter.Selection{}, adapter.Flags{}); err != nil || len(r.Values) != 6 {
			t.Errorf("%d sockets, error %v", len(r.Values), err)
		}
		for _, tt := range []struct {
			invented ids
			want     int
		}{{nil, 4}, {ids{"x", "y"}, 5}} {
			time.Sleep(time.Second) // until the nodes are listed anew
			bus.invented = tt.invented
			if count, err := a.ServerCount(t.Context()); err != nil || count != tt.want {
				t.Errorf("with %q: %d servers, want %d, error %v", tt.invented, count, tt.want, err)
			}
		}
	})
}

// TestNewNode starts a node while others are asked, before and after a first census: it has not been asked, and nothing waits
// for it.
func TestNewNode(t *testing.T) {
	for _, started := range []time.Duration{100 * time.Millisecond, 400 * time.Millisecond} {
		bubble(t, func(t *testing.T, n *network) {
			n.silence("c2")
			asked := later(func() answer { return n.acks(t, t.Context(), 6) })
			time.Sleep(started)
			n.add(t, "d")
			time.Sleep(time.Second - started)
			n.sockets["c2"].Disconnect()
			(<-asked).check(t, "acks", answer{values: "[/a1=a1 /a2=a2 b/b1=b1 b/b2=b2 c/c1=c1 c/c2!]", took: time.Second})
			n.fetch(t.Context()).check(t, "afterwards", answer{values: "[a1 a2 b1 b2 c1 d1 d2]"})
		})
	}
	bubble(t, func(t *testing.T, n *network) {
		n.Freeze("c")
		fetched := later(func() answer { return n.fetch(t.Context()) })
		time.Sleep(400 * time.Millisecond)
		n.add(t, "d")
		time.Sleep(600 * time.Millisecond)
		n.Thaw("c")
		(<-fetched).check(t, "fetch", answer{values: allSockets, took: time.Second})
		n.Freeze("c")
		fetched = later(func() answer { return n.fetch(t.Context()) })
		time.Sleep(400 * time.Millisecond)
		n.add(t, "e")
		n.Kill("c")
		(<-fetched).check(t, "one instead of another", answer{values: "[a1 a2 b1 b2 d1 d2]", took: 750 * time.Millisecond})
	})
}

// TestReplacedNode kills a node and starts another one before the first check: the number stays the same, and the other one has
// not been asked. It costs little, and nobody distrusts the new node afterwards.
func TestReplacedNode(t *testing.T) {
	replace := func(t *testing.T, n *network, killed, started adapter.NodeID) {
		t.Helper()
		n.Freeze(killed)
		fetched := later(func() answer { return n.fetch(t.Context()) })
		n.Kill(killed)
		time.Sleep(100 * time.Millisecond)
		n.add(t, started)
		(<-fetched).check(t, "fetch", answer{values: "[a1 a2 b1 b2]", took: 250 * time.Millisecond})
	}
	bubble(t, func(t *testing.T, n *network) {
		n.fetch(t.Context()).check(t, "before", answer{values: allSockets})
		replace(t, n, "c", "d")
		with := answer{values: "[a1 a2 b1 b2 d1 d2]"}
		n.fetch(t.Context()).check(t, "afterwards", with)
		n.Freeze("d")
		fetched := later(func() answer { return n.fetch(t.Context()) })
		time.Sleep(4 * time.Second)
		n.Thaw("d")
		with.took = 4 * time.Second
		(<-fetched).check(t, "slow later", with)
		time.Sleep(11 * time.Second)
		replace(t, n, "d", "e") // nothing was asked for a while
	})
}

// TestSlowStart has a node that starts a little before a question and takes its time to answer.
func TestSlowStart(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.fetch(t.Context()).check(t, "before", answer{values: allSockets})
		n.add(t, "d")
		settle()
		n.Freeze("d")
		fetched := later(func() answer { return n.fetch(t.Context()) })
		emitted := later(func() answer { return n.serverSide(t.Context()) })
		time.Sleep(4 * time.Second)
		n.Thaw("d")
		(<-fetched).check(t, "fetch", answer{values: "[a1 a2 b1 b2 c1 c2 d1 d2]", took: 4 * time.Second})
		(<-emitted).check(t, "server-side", answer{values: "[b c d]", took: 4 * time.Second})
	})
}

// TestSlowStartFrozen has a node that starts and never answers: it is suspected like any other.
func TestSlowStartFrozen(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.fetch(t.Context()).check(t, "before", answer{values: allSockets})
		n.add(t, "d")
		settle()
		n.Freeze("d")
		missing := answer{values: allSockets, missing: ids{"d"}, unanswered: 1}
		first := missing
		first.took = 5 * time.Second
		n.fetch(t.Context()).check(t, "first", first)
		n.fetch(t.Context()).check(t, "second", missing)
	})
}

// TestNamelessNewcomer lets a node vanish while a newcomer, whose answers have no name, has answered and an old node has not:
// the answer does not count for the old node.
func TestNamelessNewcomer(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.conceal(t, "b")
		n.add(t, "d")
		n.fetch(t.Context()).check(t, "before", answer{values: "[a1 a2 b1 b2 c1 c2 d1 d2]"})
		n.conceal(t, "e")
		n.Freeze("c")
		n.Freeze("d")
		fetched := later(func() answer { return n.fetch(t.Context()) })
		n.Kill("d")
		time.Sleep(2 * time.Second)
		n.Thaw("c")
		(<-fetched).check(t, "fetch", answer{values: "[a1 a2 b1 b2 c1 c2 e1 e2]", took: 2 * time.Second})
	})
}

// TestReplacedAmongNameless kills a node and starts another one, while a third answers without a name, soon or late.
func TestReplacedAmongNameless(t *testing.T) {
	for _, slow := range []time.Duration{0, 500 * time.Millisecond, 3 * time.Second} {
		bubble(t, func(t *testing.T, n *network) {
			n.conceal(t, "b")
			n.fetch(t.Context()).check(t, "before", answer{values: allSockets})
			n.Freeze("c")
			if slow > 0 {
				n.Freeze("b")
			}
			fetched := later(func() answer { return n.fetch(t.Context()) })
			n.Kill("c")
			time.Sleep(100 * time.Millisecond)
			n.add(t, "d")
			time.Sleep(slow - 100*time.Millisecond)
			n.Thaw("b")
			(<-fetched).check(t, "fetch", answer{values: "[a1 a2 b1 b2]", took: max(250*time.Millisecond, slow)})
			n.fetch(t.Context()).check(t, "afterwards", answer{values: "[a1 a2 b1 b2 d1 d2]"})
		})
	}
}

// exactBus tells how many have got a question, and then lets something happen before they are counted.
type exactBus struct {
	adapter.Bus
	then func()
}

func (b *exactBus) Publish(m *adapter.Message) error {
	receivers, err := b.Count(context.Background())
	if err == nil {
		err = b.Bus.Publish(m)
	}
	if err == nil && m.Sent != nil {
		m.Sent(adapter.Receipt{Receivers: receivers})
		b.then()
	}
	return err
}

// TestStartedBeforeCount starts a node after a question has been sent and before the nodes are counted.
func TestStartedBeforeCount(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		bus := &exactBus{then: func() {}}
		n.askBy(t, func(b adapter.Bus) adapter.Bus { bus.Bus = b; return bus })
		n.fetch(t.Context()).check(t, "before", answer{values: allSockets})
		bus.then = sync.OnceFunc(func() { n.add(t, "d") })
		n.fetch(t.Context()).check(t, "meanwhile", answer{values: allSockets, missing: ids{"d"}, unanswered: 1, took: 1250 * time.Millisecond})
		n.fetch(t.Context()).check(t, "afterwards", answer{values: "[a1 a2 b1 b2 c1 c2 d1 d2]"})
		bus.then = sync.OnceFunc(func() { n.add(t, "e") })
		n.Freeze("b")
		fetched := later(func() answer { return n.fetch(t.Context()) })
		time.Sleep(3 * time.Second)
		n.Thaw("b")
		(<-fetched).check(t, "and a slow one", answer{values: "[a1 a2 b1 b2 c1 c2 d1 d2]", missing: ids{"e"}, unanswered: 1, took: 3 * time.Second})
	})
}

// TestFrozenNode has a node that exists but does not answer. It costs the timeout once, and is missing until it speaks.
func TestFrozenNode(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		missing := answer{values: withoutC, missing: ids{"c"}, unanswered: 1}
		n.Freeze("c")
		first := missing
		first.took = 5 * time.Second
		n.fetch(t.Context()).check(t, "first", first)
		n.fetch(t.Context()).check(t, "second", missing)
		n.acks(t, t.Context(), 4).check(t, "acks", answer{values: "[/a1=a1 /a2=a2 b/b1=b1 b/b2=b2]", missing: ids{"c"}, unanswered: 1})
		n.Thaw("c")
		synctest.Wait() // its late answers
		n.fetch(t.Context()).check(t, "thawed", answer{values: allSockets})
		n.Freeze("c")
		n.fetch(t.Context()).check(t, "frozen again", first)
		n.Kill("c")
		n.fetch(t.Context()).check(t, "killed", answer{values: withoutC})
	})
}

// TestShortPatience asks with so little time that a node's silence says nothing about it, and that it is named all the same.
func TestShortPatience(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.Freeze("c")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		n.fetch(ctx).check(t, "deadline", answer{values: withoutC, missing: ids{"c"}, unanswered: 1,
			err: context.DeadlineExceeded, took: 50 * time.Millisecond})
		ctx, cancel = context.WithCancel(t.Context())
		fetched := later(func() answer { return n.fetch(ctx) })
		cancel()
		(<-fetched).check(t, "cancelled", answer{values: withoutC, missing: ids{"c"}, unanswered: 1, err: context.Canceled})
		fetched = later(func() answer { return n.fetch(t.Context()) })
		time.Sleep(time.Second)
		n.Thaw("c")
		(<-fetched).check(t, "patient", answer{values: allSockets, took: time.Second})
	})
}

// TestSilentServer has a handler that never replies: the node is missing, but nothing is wrong with it.
func TestSilentServer(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.hosts["c"].reply = nil
		for range 2 {
			n.serverSide(t.Context()).check(t, "silent", answer{values: "[b]", missing: ids{"c"}, unanswered: 1, took: 5 * time.Second})
		}
	})
}

// TestSilentSockets names the sockets of other nodes that let the time run out, and waits no longer than it is allowed to.
func TestSilentSockets(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.silence("a2", "b2", "c1", "c2")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n.acks(t, ctx, 6).check(t, "named", answer{values: "[/a1=a1 /a2! b/b1=b1 b/b2! c/c1! c/c2!]",
			err: context.DeadlineExceeded, took: 10 * time.Second})
		n.acks(t, t.Context(), 6).check(t, "without a deadline", answer{values: "[/a1=a1 /a2! b/b1=b1 b/b2! c/c1! c/c2!]", took: 5 * time.Second})
		n.conceal(t, "b")
		n.silence("b2")
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n.acks(t, ctx, 6).check(t, "one is nameless", answer{values: "[/! /=b1 /a1=a1 /a2! c/c1! c/c2!]",
			unanswered: 1, err: context.DeadlineExceeded, took: 10 * time.Second})
	})
}

// TestUnavailable does everything while the broker is down: this node's part is done, and the error comes at once.
func TestUnavailable(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		for id := range n.adapters {
			n.Cut(id)
		}
		own := answer{values: "[a1 a2]", missing: ids{"b", "c"}, unanswered: 2, err: adapter.ErrClusterUnavailable}
		n.fetch(t.Context()).check(t, "fetch", own)
		n.serverSide(t.Context()).check(t, "server-side", answer{values: "[]", missing: ids{"b", "c"}, unanswered: 2, err: adapter.ErrClusterUnavailable})
		a := n.adapters["a"]
		rooms, err := a.Rooms(t.Context())
		if sorted(rooms.Values) != "[a1 a2 room]" || rooms.Complete() || !errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Errorf("rooms: %+v, error %v", rooms, err)
		}
		n.silence("a2")
		asked := later(func() answer { return n.acks(t, t.Context(), 2) })
		n.sockets["a2"].Disconnect()
		(<-asked).check(t, "acks", answer{values: "[/a1=a1 /a2!]", missing: ids{"b", "c"}, unanswered: 2, err: adapter.ErrClusterUnavailable})
		sel := adapter.Selection{Rooms: []string{"a1"}}
		_, countErr := a.ServerCount(t.Context())
		for name, err := range map[string]error{
			"count":      countErr,
			"broadcast":  a.Broadcast(question, sel, adapter.Flags{}),
			"join":       a.SocketsJoin(sel, adapter.Flags{}, []string{"new"}),
			"leave":      a.SocketsLeave(sel, adapter.Flags{}, []string{"room"}),
			"side":       a.ServerSideEmit(question.Payload),
			"disconnect": a.DisconnectSockets(adapter.Selection{Rooms: []string{"nobody"}}, adapter.Flags{}, false),
		} {
			if !errors.Is(err, adapter.ErrClusterUnavailable) {
				t.Errorf("%s: error %v", name, err)
			}
		}
		if got := sorted(n.sockets["a1"].Rooms()); got != "[a1 new]" {
			t.Errorf("a1 is in %s", got)
		}
		if err := a.Broadcast(question, sel, adapter.Flags{Local: true}); err != nil {
			t.Errorf("on this node only: %v", err)
		}
		for id := range n.adapters {
			n.Heal(id)
		}
		n.fetch(t.Context()).check(t, "healed", answer{values: "[a1 b1 b2 c1 c2]"})
	})
}

// TestBecomesUnavailable cuts the asking node off while it waits: no answer can come any more.
func TestBecomesUnavailable(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.Freeze("c")
		fetched := later(func() answer { return n.fetch(t.Context()) })
		n.Cut("a")
		(<-fetched).check(t, "fetch", answer{values: withoutC, missing: ids{"c"}, unanswered: 1, err: adapter.ErrClusterUnavailable, took: 250 * time.Millisecond})
	})
}

// TestCutForAMoment cuts the asking node off for so short that no census notices: answers may be lost all the same. What is
// asked afterwards is none the worse.
func TestCutForAMoment(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.silence("c2")
		asked := later(func() answer { return n.acks(t, t.Context(), 6) })
		time.Sleep(300 * time.Millisecond)
		n.Cut("a")
		n.Heal("a")
		(<-asked).check(t, "acks", answer{values: "[/a1=a1 /a2=a2 b/b1=b1 b/b2=b2 c/! c/c1=c1]", missing: ids{"c"}, unanswered: 1,
			err: adapter.ErrClusterUnavailable, took: 750 * time.Millisecond})
		n.fetch(t.Context()).check(t, "afterwards", answer{values: allSockets})
		n.sockets["c2"].Disconnect()
	})
}

// TestNamelessNodes has nodes whose answers do not say who they are.
func TestNamelessNodes(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.conceal(t, "b")
		n.conceal(t, "c")
		n.fetch(t.Context()).check(t, "fetch", answer{values: allSockets})
		n.serverSide(t.Context()).check(t, "server-side", answer{values: "[b c]"})
		n.acks(t, t.Context(), 6).check(t, "acks", answer{values: "[/=b1 /=b2 /=c1 /=c2 /a1=a1 /a2=a2]"})
		n.Freeze("c")
		n.fetch(t.Context()).check(t, "frozen", answer{values: withoutC, unanswered: 1, took: 5 * time.Second})
		n.fetch(t.Context()).check(t, "frozen, again", answer{values: withoutC, unanswered: 1})
		n.Kill("c")
		n.fetch(t.Context()).check(t, "killed", answer{values: withoutC})
		n.silence("b2")
		asked := later(func() answer { return n.acks(t, t.Context(), 4) })
		n.Kill("b")
		(<-asked).check(t, "killed in acks", answer{values: "[/! /=b1 /a1=a1 /a2=a2]", unanswered: 1, took: 250 * time.Millisecond})
		n.sockets["b2"].Disconnect()
	})
}

// TestNamelessSilent has a nameless node whose socket stays silent. It is waited for longer than until a census, although
// everybody has told the number of sockets.
func TestNamelessSilent(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.conceal(t, "b")
		n.silence("b2")
		n.acks(t, t.Context(), 6).check(t, "acks", answer{values: "[/! /=b1 /a1=a1 /a2=a2 c/c1=c1 c/c2=c2]", unanswered: 1, took: 5 * time.Second})
	})
}

// TestNamelessAndNamed freezes each kind of node among both.
func TestNamelessAndNamed(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.conceal(t, "b")
		n.fetch(t.Context()).check(t, "all", answer{values: allSockets})
		n.Freeze("c")
		n.fetch(t.Context()).check(t, "named", answer{values: withoutC, missing: ids{"c"}, unanswered: 1, took: 5 * time.Second})
		for range 2 {
			n.fetch(t.Context()).check(t, "named, again", answer{values: withoutC, missing: ids{"c"}, unanswered: 1})
		}
		n.Thaw("c")
		synctest.Wait()
		n.Freeze("b")
		withoutB := answer{values: "[a1 a2 c1 c2]", unanswered: 1, took: 5 * time.Second}
		n.fetch(t.Context()).check(t, "nameless", withoutB)
		withoutB.took = 0
		n.fetch(t.Context()).check(t, "nameless, again", withoutB)
		n.Thaw("b")
		synctest.Wait()
		n.fetch(t.Context()).check(t, "all again", answer{values: allSockets})
	})
}

// TestCloseWhileWaiting closes the asking node, and then one that still owes acknowledgements.
func TestCloseWhileWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		n.Freeze("c")
		n.silence("b1", "b2")
		fetched := later(func() answer { return n.fetch(t.Context()) })
		emitted := later(func() answer { return n.serverSide(t.Context()) })
		asked := later(func() answer { return n.acks(t, t.Context(), 4) })
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := n.adapters["a"].Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		(<-fetched).check(t, "fetch", answer{values: withoutC, missing: ids{"c"}, unanswered: 1, err: adapter.ErrClosed})
		(<-emitted).check(t, "server-side", answer{values: "[b]", missing: ids{"c"}, unanswered: 1, err: adapter.ErrClosed})
		(<-asked).check(t, "acks", answer{values: "[/a1=a1 /a2=a2 b/! b/!]", missing: ids{"b", "c"}, unanswered: 2, err: adapter.ErrClosed})
		if err := n.adapters["b"].Close(); err != nil {
			t.Error(err)
		}
		n.sockets["b1"].Disconnect()
		n.Thaw("c")
	})
}

// crowdBus answers each question in many names, of which none exists, and without a name.
type crowdBus struct {
	adapter.Bus
	kind    adapter.Kind // of the answers
	answers int
	count   int // of the sockets of each
	receive func(*adapter.Message)
}

func (b *crowdBus) Start(receive func(*adapter.Message)) error {
	b.receive = receive
	return b.Bus.Start(receive)
}

func (b *crowdBus) Publish(m *adapter.Message) error {
	for i := range b.answers {
		for _, from := range []adapter.NodeID{"", adapter.NodeID(fmt.Sprint("invented", i))} {
			b.receive(&adapter.Message{Kind: b.kind, From: from, Request: m.Request, Count: b.count, Sockets: []adapter.SocketDetails{{ID: "s"}}})
		}
	}
	return b.Bus.Publish(m)
}

// TestInventedNodes: who can publish can answer for nodes that do not exist. There is an end to what is kept of them, unless
// the broker counts as many.
func TestInventedNodes(t *testing.T) {
	const kept = 4096
	synctest.Test(t, func(t *testing.T) {
		var c adaptertest.Cluster
		for _, tt := range []struct {
			answers, want int
		}{{10, 20}, {kept, kept}} {
			bus := &crowdBus{kind: adapter.KindSockets, answers: tt.answers}
			a := mustJoin(t, &c, "h", adaptertest.NewNode("/"), func(b adapter.Bus) adapter.Bus { bus.Bus = b; return bus })
			r, err := a.FetchSockets(t.Context(), adapter.Selection{}, adapter.Flags{})
			if err != nil || len(r.Values) != tt.want {
				t.Errorf("%d answers of %d were kept, want %d, error %v", len(r.Values), 2*tt.answers, tt.want, err)
			}
			bus.kind, bus.count = adapter.KindCount, 1
			s := new(sink)
			if _, err := a.BroadcastWithAck(t.Context(), question, adapter.Selection{}, adapter.Flags{}, s); err != nil || s.expected != tt.want {
				t.Errorf("sockets of %d nodes are expected, want %d, error %v", s.expected, tt.want, err)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// tally counts what sink records.
type tally struct{ expected, events int }

func (y *tally) Expected(n int)                             { y.expected += n }
func (y *tally) Ack(adapter.NodeID, string, parser.Payload) { y.events++ }
func (y *tally) Gone(adapter.NodeID, string)                { y.events++ }

// TestInventedSockets: nothing waits for more sockets than there can be, and tells of each of them that it is gone.
func TestInventedSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c adaptertest.Cluster
		bus := &crowdBus{kind: adapter.KindCount, answers: 1, count: 1 << 25}
		a := mustJoin(t, &c, "h", adaptertest.NewNode("/"), func(b adapter.Bus) adapter.Bus { bus.Bus = b; return bus })
		var s tally
		if _, err := a.BroadcastWithAck(t.Context(), question, adapter.Selection{}, adapter.Flags{}, &s); err != nil || s != (tally{}) {
			t.Errorf("%d sockets are expected, %d are gone, error %v", s.expected, s.events, err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
}

// closingBus is closed just before it would have published.
type closingBus struct {
	adapter.Bus
	close func() error
}

func (b *closingBus) Publish(*adapter.Message) error {
	return errors.Join(adapter.ErrClusterUnavailable, b.close())
}

// TestCloseBeforePublish closes the adapter when a question is on its way to the bus.
func TestCloseBeforePublish(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		bus := new(closingBus)
		a := mustJoin(t, &n.Cluster, "h", adaptertest.NewNode("/"), func(b adapter.Bus) adapter.Bus { bus.Bus = b; return bus })
		bus.close = a.Close
		if _, err := a.FetchSockets(t.Context(), adapter.Selection{}, adapter.Flags{}); !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
}

// TestCloseFromReceive closes the adapter while it does what another node has asked for, as the last socket of a dynamic
// namespace does when it is disconnected.
func TestCloseFromReceive(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		counted := make(chan struct{})
		n.hosts["b"].disconnected = func() {
			<-counted
			if err := n.adapters["b"].Close(); err != nil {
				t.Error(err)
			}
		}
		if err := n.adapters["a"].DisconnectSockets(adapter.Selection{Rooms: []string{"b1"}}, adapter.Flags{}, false); err != nil {
			t.Fatal(err)
		}
		if count, err := n.adapters["a"].ServerCount(t.Context()); err != nil || count != 3 {
			t.Errorf("before: %d servers, error %v", count, err)
		}
		close(counted)
		synctest.Wait()
		if count, err := n.adapters["a"].ServerCount(t.Context()); err != nil || count != 2 {
			t.Errorf("afterwards: %d servers, error %v", count, err)
		}
	})
}

// TestStress asks from all sides while nodes freeze, are cut off, leave and come.
func TestStress(t *testing.T) {
	var c adaptertest.Cluster
	c.Listen(1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, id := range []adapter.NodeID{"a", "b", "c", "d"} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					live(t, &c, id)
				}
			}
		})
	}
	for range 300 {
		id := adapter.NodeID('a' + rune(rand.IntN(4)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		switch rand.IntN(4) {
		case 0:
			c.Freeze(id)
		case 1:
			c.Cut(id)
		case 2:
			c.Kill(id)
		case 3:
			c.Conceal(id)
		}
		<-ctx.Done()
		cancel()
		c.Thaw(id)
		c.Heal(id)
	}
	close(stop)
	wg.Wait()
}

// live is the life of a node: it joins, asks everything at once, and leaves.
func live(t *testing.T, c *adaptertest.Cluster, id adapter.NodeID) {
	n := adaptertest.NewNode("/")
	for _, sid := range []string{"1", "2"} {
		s := n.Connect(string(id) + sid)
		if sid == "1" {
			s.Answer(func(*parser.Packet) (parser.Payload, bool) { return parser.Payload{JSON: []byte("1")}, true })
		}
	}
	a, err := join(c, id, n, nil)
	if err != nil {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { _, _ = a.FetchSockets(ctx, adapter.Selection{}, adapter.Flags{}) })
		wg.Go(func() { _, _ = a.Rooms(ctx) })
		wg.Go(func() { _, _ = a.ServerSideEmitWithAck(ctx, question.Payload) })
		wg.Go(func() {
			s := new(sink)
			_, _ = a.BroadcastWithAck(ctx, question, adapter.Selection{}, adapter.Flags{}, s)
			before, _ := s.taken()
			if after, _ := s.taken(); after != before {
				t.Error("the sink was called after the end")
			}
		})
		wg.Go(func() { _ = a.Broadcast(question, adapter.Selection{}, adapter.Flags{}) })
	}
	if rand.IntN(2) == 0 {
		wg.Wait()
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if p := a.Pending(); p != 0 {
		t.Errorf("%d questions are pending", p)
	}
}
