package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/adapter/membership"
	"github.com/sockeye-io/sockeye/server/parser"
)

// stranger is a node x that speaks for itself: it hears and says what a test wants.
type stranger struct {
	adapter.Bus
	mu     sync.Mutex
	heard  []string
	answer func(question *adapter.Message) []*adapter.Message
}

func (n *network) stranger(t *testing.T) *stranger {
	bus, err := n.Broker("x").Bus(adaptertest.NewNode("/"))
	if err != nil {
		t.Fatal(err)
	}
	s := &stranger{Bus: bus}
	err = s.Start(func(m *adapter.Message) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch m.Kind {
		case adapter.KindCount:
			s.heard = append(s.heard, fmt.Sprintf("%s has %d", m.From, m.Count))
		case adapter.KindAck:
			s.heard = append(s.heard, fmt.Sprintf("%s says %s", m.SocketID, m.Payload.JSON))
		case adapter.KindGone:
			s.heard = append(s.heard, fmt.Sprintf("%s gone %v", m.From, m.SocketIDs))
		}
		if s.answer != nil {
			for _, a := range s.answer(m) {
				s.Respond(m, a)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stranger) publish(t *testing.T, m *adapter.Message) {
	t.Helper()
	if err := s.Publish(m); err != nil {
		t.Fatal(err)
	}
}

// taken returns what has been heard of acknowledgements.
func (s *stranger) taken() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	heard := s.heard
	s.heard = nil
	return heard
}

func (s *stranger) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := s.taken(); !slices.Equal(got, want) {
		t.Errorf("%s: heard %q, want %q", what, got, want)
	}
}

// TestAnswersOfAcks looks at what a node says about its sockets: their number first, even if they have answered by then,
// and at the end of the time which ones were silent.
func TestAnswersOfAcks(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		for _, id := range []adapter.NodeID{"a", "c"} {
			if err := n.adapters[id].Close(); err != nil {
				t.Fatal(err)
			}
		}
		x := n.stranger(t)
		ask := func(timeout time.Duration, room string) {
			x.publish(t, &adapter.Message{Kind: adapter.KindBroadcast, Request: "q", Packet: question,
				Selection: adapter.Selection{Rooms: []string{room}}, Flags: adapter.Flags{Timeout: timeout}})
		}
		ask(0, "nobody")
		x.expect(t, "nobody", "b has 0")
		ask(0, "b1")
		x.expect(t, "an answer", "b has 1", "b1 says b1")
		n.silence("b2")
		for _, timeout := range []time.Duration{0, time.Minute} {
			ask(timeout, "b2")
			x.expect(t, "a silent socket", "b has 1")
			time.Sleep(max(timeout, 5*time.Second) - time.Millisecond)
			x.expect(t, "before the end")
			time.Sleep(time.Millisecond)
			x.expect(t, "at the end", "b gone [b2]")
		}
		ask(time.Minute, "b2")
		x.expect(t, "it will go", "b has 1")
		n.sockets["b2"].Disconnect()
		x.expect(t, "it disconnects", "b gone [b2]")
		time.Sleep(time.Hour)
		x.expect(t, "at the end")
		n.silence("b1")
		ask(time.Minute, "b1")
		x.expect(t, "the last one", "b has 1")
		n.hosts["b"].cancelled.Store(0)
		if err := n.adapters["b"].Close(); err != nil {
			t.Error(err)
		}
		n.sockets["b1"].Disconnect()
		time.Sleep(time.Hour)
		x.expect(t, "after Close")
		if c := n.hosts["b"].cancelled.Load(); c != 1 {
			t.Errorf("Close and what came after stopped waiting %d times, want once", c)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestStrangeAnswers has a node that answers what nobody asked, twice, and more than can be.
func TestStrangeAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		x := n.stranger(t)
		x.answer = func(q *adapter.Message) []*adapter.Message {
			id := q.Request
			ack := &adapter.Message{Kind: adapter.KindAck, Request: id, SocketID: "x1", Payload: parser.Payload{JSON: []byte("1")}}
			sockets := &adapter.Message{Kind: adapter.KindSockets, Request: id, Sockets: []adapter.SocketDetails{{ID: "x1", Rooms: []string{"x1", "odd"}}}}
			switch q.Kind {
			case adapter.KindFetch:
				return []*adapter.Message{
					{Kind: adapter.KindRooms, Request: id, Rooms: []string{"wrong"}},
					{Kind: adapter.KindCount, Request: id, Count: 1},
					{Kind: adapter.KindSockets, Request: "unknown"}, {Kind: 200, Request: id}, ack, sockets, sockets,
				}
			case adapter.KindBroadcast:
				return []*adapter.Message{
					sockets, {Kind: adapter.KindCount, Request: id, Count: -1}, {Kind: adapter.KindCount, Request: id, Count: 1},
					{Kind: adapter.KindCount, Request: id, Count: 7}, ack, ack,
					{Kind: adapter.KindGone, Request: id, SocketIDs: []string{"x1", "x2"}},
				}
			}
			return nil
		}
		n.Freeze("c") // holds the questions open until everything has been said
		fetched := later(func() answer { return n.fetch(t.Context()) })
		asked := later(func() answer { return n.acks(t, t.Context(), 7) })
		n.Thaw("c")
		(<-fetched).check(t, "fetch", answer{values: "[a1 a2 b1 b2 c1 c2 x1]"})
		(<-asked).check(t, "acks", answer{values: "[/a1=a1 /a2=a2 b/b1=b1 b/b2=b2 c/c1=c1 c/c2=c2 x/x1=1]"})
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
}

// hesitantBus stands for a broker that does not answer, or not all questions.
type hesitantBus struct {
	adapter.Bus
	count, nodes, start error // what the methods fail with; context.Canceled is silence until the context ends
}

func (b *hesitantBus) Start(receive func(*adapter.Message)) error {
	return errors.Join(b.start, b.Bus.Start(receive))
}

func (b *hesitantBus) Count(ctx context.Context) (int, error) {
	return hesitate(ctx, b.count, b.Bus.Count)
}

func (b *hesitantBus) Nodes(ctx context.Context) ([]adapter.NodeID, error) {
	return hesitate(ctx, b.nodes, b.Bus.Nodes)
}

func hesitate[T any](ctx context.Context, err error, f func(context.Context) (T, error)) (T, error) {
	if err == nil {
		return f(ctx)
	}
	if err == context.Canceled {
		<-ctx.Done()
		err = ctx.Err()
	}
	return *new(T), err
}

// TestHesitantBroker asks while the broker knows nothing about the nodes: it costs no more than the call's time.
func TestHesitantBroker(t *testing.T) {
	odd := errors.New("odd")
	bubble(t, func(t *testing.T, n *network) {
		a := mustJoin(t, &n.Cluster, "h", adaptertest.NewNode("/"), func(b adapter.Bus) adapter.Bus { return &hesitantBus{Bus: b, count: odd} })
		n.adapters["h"] = a
		if _, err := a.Rooms(t.Context()); !errors.Is(err, odd) {
			t.Errorf("the count fails: error %v", err)
		}
	})
	for name, tt := range map[string]struct {
		bus  hesitantBus
		want answer
	}{
		"no count": {hesitantBus{count: context.Canceled},
			answer{values: "[b c]", unanswered: 1, err: adapter.ErrClusterUnavailable, took: 5 * time.Second}},
		"no count, no list":    {hesitantBus{count: context.Canceled, nodes: context.Canceled}, answer{values: "[b c]", unanswered: 1, err: adapter.ErrClusterUnavailable, took: 5 * time.Second}},
		"no list":              {hesitantBus{nodes: context.Canceled}, answer{values: "[b c]", unanswered: 1, took: 5 * time.Second}},
		"list fails":           {hesitantBus{nodes: odd}, answer{values: "[b c]", unanswered: 1, took: 5 * time.Second}},
		"unavailable for list": {hesitantBus{nodes: adapter.ErrClusterUnavailable}, answer{values: "[b c]", unanswered: 1, err: adapter.ErrClusterUnavailable, took: 250 * time.Millisecond}},
	} {
		bubble(t, func(t *testing.T, n *network) {
			n.Listen(1)
			if err := n.adapters["a"].Close(); err != nil {
				t.Fatal(err)
			}
			a := mustJoin(t, &n.Cluster, "h", adaptertest.NewNode("/"), func(b adapter.Bus) adapter.Bus { tt.bus.Bus = b; return &tt.bus })
			synctest.Wait()
			n.adapters["a"] = a
			n.serverSide(t.Context()).check(t, name, tt.want)
			closing := later(func() answer { return n.serverSide(t.Context()) })
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if got := <-closing; got.err != tt.want.err && got.err != adapter.ErrClosed || got.took != 0 {
				t.Errorf("%s: while closing: %+v", name, got)
			}
		})
	}
	var c adaptertest.Cluster
	starts := func(b adapter.Bus) adapter.Bus { return &hesitantBus{Bus: b, start: odd} }
	if _, err := join(&c, "h", adaptertest.NewNode("/"), starts); !errors.Is(err, odd) {
		t.Errorf("a bus that does not start: error %v", err)
	}
}

// idle is a broker, a bus and a node that do nothing, so that what remains is the cost of the adapter.
type idle struct {
	adapter.Bus
	adapter.Local
}

type idleBroker struct{ adapter.Broker }

func (idleBroker) Bus(adapter.Local) (adapter.Bus, error)                       { return idle{}, nil }
func (idleBroker) Start(func(membership.Channel, []byte), func(), func()) error { return nil }
func (idleBroker) Tell(membership.Channel, []byte) error                        { return nil }
func (idleBroker) Close() error                                                 { return nil }
func (idle) Listening(ctx context.Context) error                                { return nil }

func (idle) Name() string                                             { return "/" }
func (idle) Start(func(*adapter.Message)) error                       { return nil }
func (idle) Publish(*adapter.Message) error                           { return nil }
func (idle) Close() error                                             { return nil }
func (idle) Deliver(*parser.Packet, adapter.Selection, adapter.Flags) {}

// BenchmarkBroadcastPublish is what a broadcast costs beside the bus and the delivery: one message.
func BenchmarkBroadcastPublish(b *testing.B) {
	a, err := joinBroker("idle", idleBroker{}, idle{})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	sel := adapter.Selection{Rooms: []string{"room"}}
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Broadcast(question, sel, adapter.Flags{}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestBroadcastAllocations holds the benchmark's promise.
func TestBroadcastAllocations(t *testing.T) {
	a, err := joinBroker("idle", idleBroker{}, idle{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	sel := adapter.Selection{Rooms: []string{"room"}}
	if n := testing.AllocsPerRun(100, func() { _ = a.Broadcast(question, sel, adapter.Flags{}) }); n > 1 {
		t.Errorf("a broadcast allocates %v times, want the message only", n)
	}
}
