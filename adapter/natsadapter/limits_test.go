package natsadapter

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// TestLeastPermissions gives a node the rights that the package's documentation names, and then takes away the one that it can do
// without.
func TestLeastPermissions(t *testing.T) {
	for name, rights := range map[string]string{"all": `"TestLeastPermissions.>", "sockeye.hello"`, "without hello": `"TestLeastPermissions.>"`} {
		t.Run(name, func(t *testing.T) {
			server := natstest.Single(t, fmt.Sprintf("authorization { users: [ {user: u, password: p, permissions: { publish: [%s], subscribe: [%s] } } ] }", rights, rights))
			connect := []nats.Option{nats.UserInfo("u", "p")}
			build := func() *Builder {
				return New(&Options{Servers: []string{server.URL}, Connect: connect, Prefix: prefixOf(t), Logger: quiet()})
			}
			a, b := join(t, build(), "/chat"), join(t, build(), "/chat")
			a.connect(t, "a", "room")
			a.knows(t, b)
			crosses(t, a, b)
			if absent, err := a.builder.servers.Open()[0].hub.unheard(within(t), []adapter.NodeID{"nobody", b.cluster.Self().ID}); err != nil || len(absent) != 1 {
				t.Errorf("absent are %q, %v", absent, err)
			}
			refused := a.builder.Stats().Failed[troublePermission]
			if s := a.builder.Stats(); s.State != Up || s.StateChanges != 1 || (refused > 0) != (name != "all") {
				t.Errorf("%+v", s)
			}
			var stores []*UserStore
			for range 2 {
				s, err := NewUserStore(&UserStoreOptions{Servers: []string{server.URL}, Connect: connect, Prefix: prefixOf(t), Logger: quiet()})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				stores = append(stores, s)
			}
			agree(t, stores)
			for _, s := range stores {
				if _, err := s.Enrol(within(t), "/", "l-1", "n"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestQueueLimits: what waits for NATS is bounded in bytes and in time.
func TestQueueLimits(t *testing.T) {
	server := natstest.Single(t)
	b := New(&Options{Servers: []string{server.URL}, Prefix: prefixOf(t), Logger: quiet(), QueueLimit: 20_000, QueueAge: 500 * time.Millisecond})
	m := join(t, b, "/chat")
	server.Kill()
	m.awaits(t, Down)
	taken := 0
	var err error
	for err == nil && taken < 100 {
		if err = m.adapter.Broadcast(chat(t, "/chat", "n", strings.Repeat("x", 1000)), adapter.Selection{}, adapter.Flags{}); err == nil {
			taken++
		}
	}
	if !errors.Is(err, adapter.ErrQueueFull) || taken < 5 || taken > 20 {
		t.Errorf("%d were taken, and then %v", taken, err)
	}
	// What the node itself had to say when the server died waits too.
	if s := b.Stats(); s.QueuedBytes > 20_000 || s.Queued < taken || s.Dropped[outflow.Full] == 0 {
		t.Errorf("%+v", s)
	}
	redistest.Eventually(t, "they are too old", func() bool { return b.Stats().Queued == 0 })
	if s := b.Stats(); s.Dropped[outflow.Stale] < uint64(taken) || s.QueuedBytes != 0 {
		t.Errorf("%+v", s)
	}
	server.Start()
	m.awaits(t, Up)
	crosses(t, m)
}

// TestOverrun has more messages come than can be sorted, because what sorts them stands still: they are counted, and a loss.
func TestOverrun(t *testing.T) {
	server := natstest.Single(t)
	a, b := pairOn(t, server.URL, server.URL)
	hub := b.builder.servers.Open()[0].hub
	standstill := make(chan struct{})
	var release sync.Once
	goOn := func() { release.Do(func() { close(standstill) }) }
	t.Cleanup(goOn)
	hub.subs.want("test.overrun", false, func(*nats.Msg) { <-standstill })
	if err := hub.subs.wait(within(t), nil, "test.overrun"); err != nil {
		t.Fatal(err)
	}
	losses := hub.losses()
	nc := server.Client()
	const lost = 5000 - 1 // one is being sorted
	for range inbound + 1 + lost {
		if err := nc.Publish("test.overrun", nil); err != nil {
			t.Fatal(err)
		}
	}
	redistest.Eventually(t, "it is noticed", func() bool { return b.builder.Stats().Overrun > 0 })
	if hub.losses() == losses || b.builder.Stats().Losses == 0 {
		t.Errorf("no loss: %+v", b.builder.Stats())
	}
	redistest.Eventually(t, "all have come", func() bool { return droppedOf(hub.session()) >= lost })
	goOn()
	redistest.Eventually(t, "all that is lost is counted", func() bool { return b.builder.Stats().Overrun >= lost })
	b.awaits(t, Up)
	redistest.Eventually(t, "it goes on", func() bool {
		send(t, a, "after")
		return b.count(textOf(chat(t, "/chat", "after"))) > 0
	})
}

// droppedOf returns how many messages were lost because they came too fast.
func droppedOf(s *session) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.dropped {
		if total, err := sub.Dropped(); err == nil {
			n += total
		}
	}
	return n
}

// TestFeedLimit has a namespace whose messages are handled too slowly: what waits is bounded, and others do not suffer.
func TestFeedLimit(t *testing.T) {
	server := natstest.Single(t)
	slow := New(&Options{Servers: []string{server.URL}, Prefix: prefixOf(t), Logger: quiet(), FeedLimit: 50_000})
	from, to := join(t, of(t, server.URL), "/slow"), join(t, slow, "/chat")
	fromChat := also(t, from, "/chat")
	gate := &gated{witness: newWitness("/slow"), open: make(chan struct{})}
	a, err := to.cluster.New(gate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if err := errors.Join(from.builder.Ready(within(t)), slow.Ready(within(t))); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		send(t, from, fmt.Sprint(i, strings.Repeat("x", 1000)))
	}
	redistest.Eventually(t, "some are dropped", func() bool { return slow.Stats().FeedDropped > 0 })
	send(t, fromChat, "of others")
	to.hears(t, 1)
	close(gate.open)
	redistest.Eventually(t, "the others arrive", func() bool { return uint64(len(gate.got()))+slow.Stats().FeedDropped == 500 })
}

// gated is a namespace that delivers nothing until it is opened.
type gated struct {
	*witness
	open chan struct{}
}

func (g *gated) Deliver(p *parser.Packet, sel adapter.Selection, flags adapter.Flags) {
	<-g.open
	g.witness.Deliver(p, sel, flags)
}

// TestStateChanges: the application is told of each change.
func TestStateChanges(t *testing.T) {
	server := natstest.Single(t)
	changes := make(chan string, 10)
	b := New(&Options{Servers: []string{server.URL}, Prefix: prefixOf(t), Logger: quiet(), OnStateChange: func(state State, reason error) {
		changes <- fmt.Sprint(state, " ", reason != nil)
	}})
	m := join(t, b, "/chat")
	server.Kill()
	m.awaits(t, Down)
	server.Start()
	m.awaits(t, Up)
	for _, want := range []string{"up false", "down true", "up false"} {
		if got := <-changes; got != want {
			t.Errorf("told %q, not %q", got, want)
		}
	}
	stats := m.cluster.(adapter.ClusterReporter).Stats().Broker
	if stats == nil || !stats.Up || stats.Reconnects != 1 || stats.Resubscribed == 0 {
		t.Errorf("%+v", stats)
	}
	if s := b.Stats(); s.Connections != 1 || s.Wanted == 0 || s.Confirmed != s.Wanted {
		t.Errorf("%+v", s)
	}
}

// TestCloseWhileAway: closing waits for no NATS that is frozen, or was never there.
func TestCloseWhileAway(t *testing.T) {
	server := natstest.Single(t)
	for name, url := range map[string]string{"frozen": server.URL, "nobody there": "nats://" + redistest.FreeAddr(t)} {
		t.Run(name, func(t *testing.T) {
			b := of(t, url)
			c, err := b.Open(adapter.Node{ID: adapter.NewNodeID(), Name: "n"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			store := userStore(t, url, prefixOf(t))
			a, err := c.New(newWitness("/chat"))
			if err != nil {
				t.Fatal(err)
			}
			if name == "frozen" {
				if err := b.Ready(within(t)); err != nil {
					t.Fatal(err)
				}
				agree(t, []*UserStore{store})
				server.Freeze()
				defer server.Thaw()
			}
			began := time.Now()
			if err := errors.Join(a.Close(), c.Close(), store.Close()); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("after %v", took)
			}
		})
	}
}
