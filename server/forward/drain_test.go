package forward_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/forward"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestDrainRelays: a node that drains ends the websockets that it relays. Their sessions end on their nodes, and the clients see a
// connection that ends; what was on its way arrives.
func TestDrainRelays(t *testing.T) {
	c := newCluster(t, 2, nil)
	reasons := make(chan server.Reason, 10)
	var sockets []*servertest.Socket
	for range 5 {
		c.byTurn(0)
		s := c.connect(nil)
		c.byTurn(1)
		s.Client().Upgrade()
		c.echo(s, 0, 3)
		sockets = append(sockets, s)
	}
	for _, s := range c.nodes[0].Of("/").Sockets() {
		s.OnDisconnect(func(_ context.Context, _ *server.Socket, reason server.Reason) { reasons <- reason })
	}
	if err := c.nodes[1].Drain(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		if end := s.Client().ExpectClosed(); end.Code != 1006 {
			t.Errorf("the client saw %v", end)
		}
		if reason := <-reasons; reason != server.ReasonTransportClose {
			t.Errorf("reason %q", reason)
		}
	}
	if n, relays := c.nodes[1].Stats().Drained, c.nodes[1].fwd.Stats().Relays; n != 5 || relays != 0 {
		t.Errorf("%d were drained, %d relays are left", n, relays)
	}
	if n := c.nodes[0].Stats().Engine.Sessions; n != 0 {
		t.Errorf("%d sessions are left at their node", n)
	}
}

// TestDrainRefusesUpgrades: an upgrade that lands on a draining node is refused, whether it would be relayed or have its session come
// there, and the session goes on polling.
func TestDrainRefusesUpgrades(t *testing.T) {
	for name, change := range map[string]func(int, *forward.Options, *server.Options){"relay": nil, "handover": handingOver} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 2, change)
			if err := c.nodes[1].Drain(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			c.byTurn(0)
			client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
			c.byTurn(1)
			var refused *servertest.CloseError
			_, err := c.TryDial(t, &servertest.DialOptions{SessionID: client.SID()})
			if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
				t.Errorf("upgrade: %v", err)
			}
			c.byTurn(1) // which passes polls on
			c.echo(client.Connect("/", nil), 0, 10)
			if a, b := c.nodes[0].fwd.Stats(), c.nodes[1].fwd.Stats(); a.Left != 0 || b.Arrived != 0 || b.Relayed != 0 || b.Forwarded == 0 {
				t.Errorf("the owner has %+v, the draining node %+v", a, b)
			}
		})
	}
}

// TestDrainStopsUpgradeUnderWay: an upgrade that waits for its session's node when the drain begins, and is answered when it has ended,
// does not begin to be relayed.
func TestDrainStopsUpgradeUnderWay(t *testing.T) {
	c, link := linkedCluster(t, 2, nil)
	c.byTurn(0)
	client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling, Stalled: true})
	c.byTurn(1)
	var drained atomic.Bool
	link.mu.Lock()
	link.dials = func() {
		if err := c.nodes[1].Drain(t.Context(), nil); err != nil {
			t.Error(err)
		}
		drained.Store(true)
	}
	link.mu.Unlock()
	var refused *servertest.CloseError
	if _, err := c.TryDial(t, &servertest.DialOptions{SessionID: client.SID()}); !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
		t.Errorf("upgrade: %v", err)
	}
	if s := c.nodes[1].fwd.Stats(); !drained.Load() || s.Relays != 0 || s.Relayed != 0 || c.nodes[1].fwd.Relays() != 0 {
		t.Errorf("the drained node has %+v", s)
	}
	c.byTurn(0)
	client.Resume()
	c.echo(client.Connect("/", nil), 0, 10)
}

// TestDrainIsKnown: the other nodes know who drains.
func TestDrainIsKnown(t *testing.T) {
	c := newCluster(t, 3, nil)
	drains := func() (names []string) {
		nodes, err := c.nodes[0].Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if n.Draining {
				names = append(names, n.Name)
			}
		}
		return names
	}
	var told atomic.Int64
	defer c.nodes[0].OnNodeChange(func(change adapter.NodeChange) {
		if change.Reason == "draining" {
			told.Add(1)
		}
	})()
	self := c.nodes[1].Node().Name
	if err := c.nodes[1].Drain(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the others know", func() bool { return slices.Equal(drains(), []string{self}) })
	c.nodes[1].Undrain()
	eventually(t, "the others know the end", func() bool { return drains() == nil })
	eventually(t, "they were told twice", func() bool { return told.Load() == 2 })
}
