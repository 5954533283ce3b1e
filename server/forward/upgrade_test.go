package forward_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/forward"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestUpgrade: the upgrade of a polling session lands on another node, which relays.
func TestUpgrade(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.byTurn(0)
	s := c.connect(nil)
	c.echo(s, 0, 3)
	c.byTurn(1)
	s.Client().Upgrade()
	c.echo(s, 3, 100)
	c.expectUnknown(0)
	stats := c.nodes[1].fwd.Stats()
	if stats.Relays != 1 || stats.Relayed != 1 {
		t.Errorf("node 1 relays %d, has relayed %d, want one", stats.Relays, stats.Relayed)
	}
	if n := c.nodes[1].Stats().Relays; n != 1 {
		t.Errorf("node 1 says that it relays %d", n)
	}
	if n := c.nodes[0].Stats().Sockets; n != 1 {
		t.Errorf("node 0 has %d sockets, want 1", n)
	}
	s.Client().Close()
	eventually(t, "the relay ends", func() bool { return c.nodes[1].fwd.Stats().Relays == 0 })
	eventually(t, "the session ends", func() bool { return c.nodes[0].Stats().Sockets == 0 })
}

func handingOver(_ int, f *forward.Options, _ *server.Options) { f.HandoverWindow = time.Second }

// TestHandover: a session whose upgrade lands elsewhere at once goes there, with the CONNECT that was sent before.
func TestHandover(t *testing.T) {
	c := newCluster(t, 3, handingOver)
	c.byTurn(0)
	client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
	c.onlyUpgrades(1, 2)
	sent := make(chan error, 1)
	go func() { sent <- client.Write(t.Context(), servertest.Packet{Data: "40"}) }()
	client.Upgrade()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if p := client.Next(); !strings.HasPrefix(p.Data, "40{") {
		t.Fatalf("got %q, want the answer to CONNECT", p.Data)
	}
	for i := range 20 {
		client.Send(fmt.Sprintf(`42["echo",%d]`, i))
		client.Expect(fmt.Sprintf(`42["echoed",%d]`, i))
	}
	c.expectUnknown(0)
	if n := c.nodes[1].Stats().Sockets; n != 1 {
		t.Errorf("node 1 has %d sockets, want 1", n)
	}
	a, b := c.nodes[0].fwd.Stats(), c.nodes[1].fwd.Stats()
	if a.Left != 1 || b.Arrived != 1 || b.Relayed != 0 {
		t.Errorf("left %d, arrived %d, relayed %d, want 1, 1 and 0", a.Left, b.Arrived, b.Relayed)
	}
}

// onlyUpgrades sends websocket requests to one node and all others to another.
func (c *cluster) onlyUpgrades(to, others int) {
	f := func(r *http.Request) *node {
		if r.Header.Get("Upgrade") != "" {
			return c.nodes[to]
		}
		return c.nodes[others]
	}
	c.route.Store(&f)
}

// TestHandoverFailedUpgrade: a session that has moved stays on polling at its new node if the upgrade comes to nothing; requests that
// land anywhere find it there.
func TestHandoverFailedUpgrade(t *testing.T) {
	c := newCluster(t, 3, handingOver)
	c.byTurn(0)
	client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
	c.onlyUpgrades(1, 2)
	client.Probe().Cut()
	s := client.Connect("/", nil)
	c.echo(s, 0, 5)
	c.route.Store(nil)
	c.echo(s, 5, 50)
	c.expectUnknown(0)
	if n := c.nodes[1].Stats().Sockets; n != 1 {
		t.Errorf("node 1 has %d sockets, want 1", n)
	}
	if n := c.nodes[0].fwd.Stats().Pointers; n != 1 {
		t.Errorf("node 0 has %d pointers, want 1", n)
	}
	s.Client().Close()
	eventually(t, "the session ends", func() bool { return c.nodes[1].Stats().Sockets == 0 })
}

// TestHandoverCrowd: CONNECT, polls and upgrade of many clients at once, on whatever nodes, some sessions old by then: nobody is
// told that there is no such session, and nothing is lost or doubled.
func TestHandoverCrowd(t *testing.T) {
	c := newCluster(t, 3, func(_ int, f *forward.Options, _ *server.Options) { f.HandoverWindow = 5 * time.Millisecond })
	var crowd sync.WaitGroup
	for range 8 {
		crowd.Go(func() {
			for range 20 {
				if err := c.visit(t); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	crowd.Wait()
	c.expectUnknown(0)
	if left := c.sum(func(s forward.Stats) uint64 { return s.Left }); left == 0 {
		t.Error("no session was handed over")
	}
}

// visit is a client that sends CONNECT and an event while it upgrades.
func (c *cluster) visit(t *testing.T) error {
	client, err := c.TryDial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
	if err != nil {
		return err
	}
	defer client.Cut()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	sent := make(chan error, 1)
	go func() {
		sent <- client.Write(ctx, servertest.Packet{Data: "40"}, servertest.Packet{Data: `42["echo",1]`})
	}()
	probe, err := c.TryDial(t, &servertest.DialOptions{SessionID: client.SID()})
	if err != nil {
		return err
	}
	defer probe.Cut()
	if err := <-sent; err != nil {
		return err
	}
	for _, want := range []string{"40{", `42["echoed",1]`} {
		p, err := client.Read(ctx)
		if err != nil || !strings.HasPrefix(p.Data, want) {
			return fmt.Errorf("got %q, %w, want %q", p.Data, err, want)
		}
	}
	return nil
}
