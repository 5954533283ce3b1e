package forward_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/forward"
	"github.com/sockeye-io/sockeye/server/servertest"
)

const unknownSession = `{"code":1,"message":"Session ID unknown"}`

// expectUnknownSession waits until a connection ends with the reference's answer to an unknown session.
func expectUnknownSession(t *testing.T, client *servertest.Client) {
	t.Helper()
	if end := client.ExpectClosed(); end.Status != http.StatusBadRequest || end.Reason != unknownSession {
		t.Errorf("the end is %+v, want status 400 and %s", end, unknownSession)
	}
}

// TestOwnerDies: a poll that another node waits for, and what comes later, get the reference's answer.
func TestOwnerDies(t *testing.T) {
	c, link := linkedCluster(t, 2, nil)
	c.byTurn(0)
	s := c.connect(nil)
	c.byTurn(1)
	c.echo(s, 0, 10)
	eventually(t, "a poll waits", func() bool { return c.nodes[1].fwd.Stats().Forwarded > 0 })
	link.end()
	expectUnknownSession(t, s.Client())
	stats := c.nodes[1].fwd.Stats()
	if stats.Unknown[forward.OwnerFailed]+stats.Unknown[forward.OwnerUnreachable] == 0 {
		t.Errorf("counted %v, want a failure", stats.Unknown)
	}
	status, body := c.get("/socket.io/?EIO=4&transport=polling&sid="+s.Client().SID(), nil)
	if status != http.StatusBadRequest || body != unknownSession {
		t.Errorf("afterwards: %d %s", status, body)
	}
}

// get does a request by way of the load balancer.
func (c *cluster) get(target string, header http.Header) (status int, body string) {
	c.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://cluster"+target, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	resp, err := c.HTTPClient().Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestOwnerDiesInPost: the client of a POST whose body is on its way hears of it.
func TestOwnerDiesInPost(t *testing.T) {
	c, link := linkedCluster(t, 2, func(_ int, _ *forward.Options, s *server.Options) { s.Engine.HTTPRequestBodyTimeout = time.Second })
	c.byTurn(0)
	client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling, Stalled: true})
	c.byTurn(1)
	body, writer := io.Pipe()
	done := make(chan string, 1)
	go func() {
		resp, err := c.HTTPClient().Post("http://cluster/socket.io/?EIO=4&transport=polling&sid="+client.SID(), "text/plain", body)
		if err != nil {
			done <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		done <- fmt.Sprint(resp.StatusCode, " ", string(b))
	}()
	_, _ = writer.Write([]byte("40"))
	eventually(t, "the POST has reached the owner", func() bool { return bytes.Contains(link.bytes(), []byte("POST ")) })
	link.end()
	if got := <-done; got != "400 "+unknownSession {
		t.Errorf("got %q", got)
	}
	_ = writer.Close()
}

// TestOwnerDiesInUpgrade: a relayed websocket ends with its session's node, an upgrade that has not been answered is refused.
func TestOwnerDiesInUpgrade(t *testing.T) {
	c, link := linkedCluster(t, 2, nil)
	c.byTurn(0)
	s := c.connect(nil)
	other := c.connect(nil)
	c.byTurn(1)
	s.Client().Upgrade()
	c.echo(s, 0, 3)
	link.end()
	s.Client().ExpectClosed()
	eventually(t, "the relay ends", func() bool { return c.nodes[1].fwd.Stats().Relays == 0 })
	opts := &servertest.DialOptions{SessionID: other.Client().SID()}
	if _, err := c.TryDial(t, opts); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("an upgrade afterwards: %v, want status 400", err)
	}
}

// TestOwnerDiesInHandover: the upgrade is refused when the owner dies before it has given the session away.
func TestOwnerDiesInHandover(t *testing.T) {
	c, link := linkedCluster(t, 2, handingOver)
	c.byTurn(0)
	client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling, Stalled: true})
	c.byTurn(1)
	link.end()
	if _, err := c.TryDial(t, &servertest.DialOptions{SessionID: client.SID()}); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("the upgrade: %v, want status 400", err)
	}
	if n := c.nodes[1].Stats().Engine.Sessions; n != 0 {
		t.Errorf("node 1 has %d sessions", n)
	}
}

// TestNobodysSession: an id of a Node.js node, one that was made up, and one of this node whose session has ended, get what the
// reference says.
func TestNobodysSession(t *testing.T) {
	c := newCluster(t, 2, nil)
	ended := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
	ended.Close()
	for sid, reason := range map[string]forward.Reason{
		"lpX3TbGZ0sSlDnkCAAAB":  forward.NoOwner,
		"short":                 forward.NoOwner,
		strings.Repeat("x", 21): forward.NoOwner,
		"%00%0a":                forward.NoOwner,
		ended.SID():             forward.OwnerUnknown,
	} {
		before := c.sum(func(s forward.Stats) uint64 { return s.Unknown[reason] })
		for range 2 {
			if status, body := c.get("/socket.io/?EIO=4&transport=polling&sid="+sid, nil); status != http.StatusBadRequest || body != unknownSession {
				t.Errorf("%s: %d %s", sid, status, body)
			}
		}
		if after := c.sum(func(s forward.Stats) uint64 { return s.Unknown[reason] }); after == before {
			t.Errorf("%s: not counted as %s", sid, reason)
		}
	}
}

// TestForged: the private listener takes nothing without a pass, nothing twice, and no pass of somebody else.
func TestForged(t *testing.T) {
	c, link := linkedCluster(t, 2, nil)
	c.byTurn(0)
	s := c.connect(nil)
	c.byTurn(1)
	c.echo(s, 0, 1)
	sent := link.bytes()
	at := bytes.Index(sent, []byte("POST "))
	head := sent[at : at+bytes.Index(sent[at:], []byte("\r\n\r\n"))+4]
	replayed := append(append([]byte(nil), head...), make([]byte, 100)...)
	for what, request := range map[string]string{
		"replay":    string(replayed),
		"malformed": "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n",
		"signature": strings.Replace(string(head), "sid=", "Sid=", 1),
	} {
		before := c.nodes[0].fwd.Stats().Refused[what]
		resp := raw(t, c.nodes[0].fwd.Listening(), request)
		if resp.StatusCode != http.StatusForbidden || resp.Header.Get(forward.HeaderName) != "refused "+what {
			t.Errorf("%s: status %d, %q", what, resp.StatusCode, resp.Header)
		}
		if after := c.nodes[0].fwd.Stats().Refused[what]; after != before+1 {
			t.Errorf("%s: counted %d times", what, after-before)
		}
	}
	if resp := raw(t, c.nodes[0].fwd.Listening(), "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n"); resp.StatusCode != 431 {
		t.Errorf("an oversized head: status %d", resp.StatusCode)
	}
	// The other node gets what was meant for this one.
	if resp := raw(t, c.nodes[1].fwd.Listening(), string(head)); resp.StatusCode != http.StatusForbidden {
		t.Errorf("at another node: status %d", resp.StatusCode)
	}
	c.echo(s, 1, 5)
}

// raw writes a request and reads the head of the answer.
func raw(t *testing.T, address, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, request)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestSecrets: nodes with the same secret work together, one with another secret refuses and is refused.
func TestSecrets(t *testing.T) {
	c := newCluster(t, 3, func(i int, f *forward.Options, _ *server.Options) {
		f.ClusterSecret = "the secret of this cluster"
		if i == 2 {
			f.ClusterSecret = "the secret of another cluster"
		}
	})
	c.byTurn(0)
	s := c.connect(nil)
	c.byTurn(1)
	c.echo(s, 0, 3)
	c.byTurn(2)
	status, body := c.get("/socket.io/?EIO=4&transport=polling&sid="+s.Client().SID(), nil)
	if status != http.StatusBadRequest || body != unknownSession {
		t.Errorf("got %d %s", status, body)
	}
	if n := c.nodes[2].fwd.Stats().Unknown[forward.PeerRefused]; n == 0 {
		t.Error("the refusal was not counted where the request came from")
	}
	if n := c.nodes[0].fwd.Stats().Refused["signature"]; n == 0 {
		t.Error("the refusal was not counted where the session is")
	}
}

// TestSilentOwner: nothing waits for a node of which nothing is heard; its sessions are there again when it is.
func TestSilentOwner(t *testing.T) {
	c := newCluster(t, 2, nil)
	c.byTurn(0)
	s := c.connect(nil)
	c.echo(s, 0, 1)
	c.byTurn(1)
	c.bus.Cut("node0")
	c.awaitState(c.nodes[1], "node0", adapter.NodeSilent)
	status, body := c.get("/socket.io/?EIO=4&transport=polling&sid="+s.Client().SID(), nil)
	if status != http.StatusBadRequest || body != unknownSession {
		t.Errorf("got %d %s", status, body)
	}
	if n := c.nodes[1].fwd.Stats().Unknown[forward.OwnerSilent]; n == 0 {
		t.Error("not counted as silent")
	}
}

func (c *cluster) awaitState(at *node, name string, state adapter.NodeState) {
	c.t.Helper()
	eventually(c.t, fmt.Sprint(name, " is ", state), func() bool {
		nodes, _ := at.Nodes(context.Background())
		for _, n := range nodes {
			if n.Name == name {
				return n.State == state
			}
		}
		return false
	})
}

// TestRestart: a node that comes back under its name gets the requests of its former life, and does not know them.
func TestRestart(t *testing.T) {
	c := newCluster(t, 2, nil)
	c.byTurn(0)
	client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling, Stalled: true})
	_ = c.nodes[0].Close()
	c.nodes[0] = c.start("node0", func(*forward.Options, *server.Options) {})
	eventually(t, "the nodes know each other", func() bool { return c.nodes[0].fwd.Stats().Peers == 1 && c.nodes[1].fwd.Stats().Peers == 1 })
	c.byTurn(1)
	if status, body := c.get("/socket.io/?EIO=4&transport=polling&sid="+client.SID(), nil); status != http.StatusBadRequest || body != unknownSession {
		t.Errorf("got %d %s", status, body)
	}
	c.byTurn(0)
	s := c.connect(nil)
	c.byTurn(1)
	c.echo(s, 0, 3)
}

// TestShutdown: a node that shuts down closes the websockets that it relays, and the sessions of its own.
func TestShutdown(t *testing.T) {
	c := newCluster(t, 2, nil)
	c.byTurn(0)
	relayed, own := c.connect(nil), c.connect(nil)
	c.byTurn(1)
	relayed.Client().Upgrade()
	c.echo(relayed, 0, 2)
	c.byTurn(0) // as a load balancer does with a node that is not ready any more
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.nodes[1].Shutdown(ctx); err != nil {
		t.Error(err)
	}
	relayed.Client().ExpectClosed()
	eventually(t, "the relayed session has ended", func() bool { return c.nodes[0].Stats().Sockets == 1 })
	c.echo(own, 0, 2)
}

// TestSomebodyElse: what answers at the address of a node, and is another one, tells clients nothing.
func TestSomebodyElse(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "not for you")
	}))
	defer other.Close()
	c := newCluster(t, 2, func(i int, f *forward.Options, _ *server.Options) {
		if i == 0 {
			f.Advertise = other.Listener.Addr().String()
		}
	})
	c.byTurn(0)
	client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling, Stalled: true})
	c.byTurn(1)
	if status, body := c.get("/socket.io/?EIO=4&transport=polling&sid="+client.SID(), nil); status != http.StatusBadRequest || body != unknownSession {
		t.Errorf("a poll: %d %s", status, body)
	}
	_, err := c.TryDial(t, &servertest.DialOptions{SessionID: client.SID()})
	if end := (*servertest.CloseError)(nil); !errors.As(err, &end) || end.Status != http.StatusBadRequest || end.Reason != "Session ID unknown" {
		t.Errorf("an upgrade: %v", err)
	}
	if n := c.nodes[1].fwd.Stats().Unknown[forward.OwnerUnreachable]; n != 2 {
		t.Errorf("%d counted as unreachable, want 2", n)
	}
}

// TestUnknownUpgrade: the node of a session says of an upgrade, too, that it does not know the session any more.
func TestUnknownUpgrade(t *testing.T) {
	c := newCluster(t, 2, nil)
	c.byTurn(0)
	client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
	client.Close()
	c.byTurn(1)
	if _, err := c.TryDial(t, &servertest.DialOptions{SessionID: client.SID()}); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("the upgrade: %v, want status 400", err)
	}
	if n := c.nodes[1].fwd.Stats().Unknown[forward.OwnerUnknown]; n != 1 {
		t.Errorf("%d counted as unknown to the owner, want 1", n)
	}
}

// TestNobodyToHandOverTo: sessions wait for no upgrade where no other node can ask for them.
func TestNobodyToHandOverTo(t *testing.T) {
	c := newCluster(t, 1, handingOver)
	without, err := server.New(&server.Options{Adapter: c.bus.Node("without")})
	if err != nil {
		t.Fatal(err)
	}
	defer without.Close()
	without.Of("/")
	c.awaitState(c.nodes[0], "without", adapter.NodeAlive)
	if wait := c.nodes[0].fwd.HoldYoung(nil); wait != 0 {
		t.Errorf("waits %v", wait)
	}
	c.nodes = append(c.nodes, c.start("with", func(*forward.Options, *server.Options) {}))
	eventually(t, "a node can ask", func() bool { return c.nodes[0].fwd.HoldYoung(nil) == time.Second })
}
