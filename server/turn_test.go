package server_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestMaxConnecting has one client take all turns of the middlewares and ask for more. Another client's turn comes behind those that
// asked before it and in front of those that asked after it; who goes while it waits leaves nothing, and namespaces without middlewares
// are joined meanwhile.
func TestMaxConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := server.New(&server.Options{MaxConnecting: 2, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		g := newGate(srv.Of("/mw"))
		srv.OfFunc(func(_ context.Context, name string, _ json.RawMessage) bool { return name == "/made" })
		front := servertest.New(t, srv, nil)
		abuser, other, good := front.Dial(t, nil), front.Dial(t, nil), front.Dial(t, nil)
		send := func(c *servertest.Client, packet string) {
			t.Helper()
			c.Send(packet)
			synctest.Wait()
		}
		send(abuser, `40/mw,{"n":1}`)
		send(abuser, `40/mw,{"n":2}`)
		send(other, `40/mw,{"n":"other"}`)
		send(other, `40/made,{"n":"other"}`)
		send(good, `40/mw,{"n":"good"}`)
		send(abuser, `40/mw,{"n":3}`)
		running := []*visitor{<-g.entered, <-g.entered}
		if n := len(g.entered); n != 0 || srv.Stats().Connecting != 2 {
			t.Fatalf("%d more are let in, %d run", n, srv.Stats().Connecting)
		}
		good.Connect("/", nil) // needs no turn
		if kept := srv.Stats().Engine.StateBytes; kept < 5<<10 {
			t.Errorf("%d bytes are charged while two run and three wait beside a socket", kept)
		}
		if hits := srv.Stats().Limits["connecting"]; hits != 4 {
			t.Errorf("counted %d, want 4", hits)
		}
		other.Close()
		synctest.Wait()
		if len(g.entered) != 0 {
			t.Error("who has gone was let in")
		}

		running[0].decide <- nil
		first := <-g.entered
		if first.auth != `{"n":"good"}` {
			t.Errorf("the next turn is that of %s", first.auth)
		}
		first.decide <- nil
		if p := good.Next(); p.Data[:len("40/mw,")] != "40/mw," {
			t.Errorf("got %v", p)
		}
		last := <-g.entered
		if last.auth != `{"n":3}` {
			t.Errorf("the last turn is that of %s", last.auth)
		}
		running[1].decide <- nil
		last.decide <- nil
		synctest.Wait()
		good.Connect("/made", nil)
		abuser.Close()
		good.Close()
		synctest.Wait()
		if s := srv.Stats(); s.Connecting+s.Workers != 0 || s.Engine.StateBytes != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
}

// TestRecoveryWaits: a client that comes back, and goes away while it waits for its turn, has lost nothing.
func TestRecoveryWaits(t *testing.T) {
	n := start(t, &server.Options{Recovery: &server.RecoveryOptions{}, MaxConnecting: 1})
	g := newGate(n.Of("/mw"))
	var r returner
	n.come(t, &r)
	must(t, n.Of("/").Emit("a", 1))
	r.await(`["a",1]`)
	r.close()
	eventually(t, "the socket is gone", func() bool { return n.Stats().Sockets == 0 })
	slow := n.websocket(t)
	slow.send("0/mw,")
	turn := await(t, g.entered)
	waiting := n.websocket(t)
	waiting.send(`0{"pid":"` + r.pid + `"}`)
	eventually(t, "it waits", func() bool { return n.Stats().Limits["connecting"] == 1 })
	waiting.close()
	eventually(t, "it is gone", func() bool { return n.Stats().Workers == 1 })
	turn.decide <- nil
	if !n.come(t, &r) {
		t.Errorf("the client starts anew: %v", n.Stats().Recovery)
	}
}
